/*
 * admin_spi.h
 *	  SQL that the extension runs for itself.
 */
#ifndef QUEUE_ADMIN_SPI_H
#define QUEUE_ADMIN_SPI_H

#include "compat.h"

#define QUEUE_SCHEMA "queue"

/* What admin_enter changed and admin_leave gives back */
typedef struct AdminContext
{
	Oid			caller;
	int			sec_context;
	int			guc_level;
} AdminContext;

extern void admin_enter(AdminContext *ctx, bool as_owner);
extern void admin_leave(AdminContext *ctx);
extern void admin_set_local(const char *name, const char *value);
extern void admin_run(const char *format,...) pg_attribute_printf(1, 2);
extern uint64 admin_query(const char *sql, int nargs, Oid *types,
						  Datum *values, const char *nulls);
extern uint64 admin_query_id(const char *sql, int32 id);
extern Datum admin_result(int row, int column, bool *isnull);
extern Oid	admin_extension_owner(void);
extern char *admin_qualified_name(Oid relid);
extern bool admin_relation_exists(Oid relid);
pg_noreturn extern void admin_no_such_queue(const char *name);
pg_noreturn extern void admin_no_such_table(const char *name);

#endif							/* QUEUE_ADMIN_SPI_H */
