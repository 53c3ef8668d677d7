/*
 * admin_spi.c
 *	  SQL that the extension runs for itself.
 *
 * Owns the change of user and settings around it.  Statements about a queue's
 * tables run as the extension's owner in a security-restricted operation with
 * pg_catalog as search path, so that nothing the caller set up decides what
 * they mean.  User, search path and the other settings go back in
 * admin_leave, or by abort of the (sub)transaction after an error.
 *
 * Catalog tables are read with the latest snapshot whatever the isolation
 * level, so that a REPEATABLE READ caller does not act on what is gone.
 *
 * Takes no locks but those of the statements it runs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "admin_spi.h"
#include "properties.h"

/* Names at a greater distance are no hint */
#define MAX_NAME_DISTANCE 3

/*
 * Connects to SPI with search path and table defaults pinned, and as the
 * extension's owner in a restricted operation if asked.
 */
void
admin_enter(AdminContext *ctx, bool as_owner)
{
	Oid			owner = as_owner ? admin_extension_owner() : InvalidOid;

	GetUserIdAndSecContext(&ctx->caller, &ctx->sec_context);
	if (as_owner)
		SetUserIdAndSecContext(owner, ctx->sec_context |
							   SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	ctx->guc_level = NewGUCNestLevel();
	admin_set_local("search_path", "pg_catalog, pg_temp");
	admin_set_local("default_tablespace", "");
	admin_set_local("default_table_access_method", "heap");
	admin_set_local("client_min_messages", "warning");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* Undoes admin_enter; the results of queries are gone afterwards */
void
admin_leave(AdminContext *ctx)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	AtEOXact_GUC(false, ctx->guc_level);
	SetUserIdAndSecContext(ctx->caller, ctx->sec_context);
}

/*
 * Raises 42704 for a queue that does not exist, with the nearest name as a
 * hint when there is one near; 22023 when no queue can have the name.
 */
void
admin_no_such_queue(const char *name)
{
	AdminContext ctx;
	char	   *nearest = NULL;
	int			len = strlen(name);
	int			limit = Min(MAX_NAME_DISTANCE, len / 2);
	uint64		count;

	property_check_queue_name(name, "queue");

	admin_enter(&ctx, true);
	count = admin_query("SELECT d.name FROM " QUEUE_SCHEMA ".queue_def d "
						"ORDER BY d.name USING OPERATOR(pg_catalog.<)",
						0, NULL, NULL, NULL);
	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;
		char	   *other = TextDatumGetCString(admin_result(i, 1, &isnull));
		int			distance;

		distance = varstr_levenshtein_less_equal(name, len, other,
												 strlen(other), 1, 1, 1,
												 limit, true);
		if (distance > limit)
			continue;
		nearest = other;
		limit = distance - 1;	/* only a nearer one from here on */
		if (limit < 0)
			break;
	}

	/* the hint's text must outlive SPI's memory: no admin_leave before */
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("queue \"%s\" does not exist", name),
			 nearest != NULL ?
			 errhint("Perhaps you meant the queue \"%s\".", nearest) : 0));
}

/* Raises 42704 for a queue whose parent somebody dropped with DROP TABLE */
void
admin_no_such_table(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("the table of queue \"%s\" does not exist", name),
			 errdetail("It was dropped without queue.drop()."),
			 errhint("queue.create() makes the queue anew, and a "
					 "superuser can clear it away with queue.drop().")));
}

/* The role that owns the extension, and its segments */
Oid
admin_extension_owner(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("queue"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" does not exist", "queue")));
	owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

/* Sets a parameter until admin_leave */
void
admin_set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* Runs a utility statement; the caller has quoted every name in it */
void
admin_run(const char *format,...)
{
	StringInfoData sql;
	int			rc;

	initStringInfo(&sql);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&sql, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&sql, needed);
	}
	rc = SPI_execute(sql.data, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute returned %s for: %s",
			 SPI_result_code_string(rc), sql.data);
	pfree(sql.data);
}

/*
 * Runs a query with parameters under the latest snapshot, own changes
 * included.  Returns the number of rows; admin_result() reads them until the
 * next statement.
 */
uint64
admin_query(const char *sql, int nargs, Oid *types, Datum *values,
			const char *nulls)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);
	int			rc;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare returned %s for: %s",
			 SPI_result_code_string(SPI_result), sql);
	CommandCounterIncrement();
	rc = SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(),
							  InvalidSnapshot, false, true, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot returned %s for: %s",
			 SPI_result_code_string(rc), sql);
	return SPI_processed;
}

/* The same with a queue's number as the only parameter */
uint64
admin_query_id(const char *sql, int32 id)
{
	Oid			type = INT4OID;
	Datum		value = Int32GetDatum(id);

	return admin_query(sql, 1, &type, &value, NULL);
}

/* A value of the last query's result; columns count from 1 */
Datum
admin_result(int row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, isnull);
}

/* A relation's name for use in SQL and in messages */
char *
admin_qualified_name(Oid relid)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relid));
	char	   *name = get_rel_name(relid);

	if (schema == NULL || name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid)));
	return quote_qualified_identifier(schema, name);
}

/* Is there a relation of this OID? */
bool
admin_relation_exists(Oid relid)
{
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid));
}
