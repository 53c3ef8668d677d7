/*
 * admin.h
 *	  Making, changing and dropping queues.
 */
#ifndef QUEUE_ADMIN_H
#define QUEUE_ADMIN_H

#include "admin_spi.h"

/* admin.c */
extern void admin_check_manage(Oid relid, const char *name,
							   const char *what);

/* admin_tables.c */
extern bool admin_create_segment(int32 queue_id, char chain);
extern bool admin_adopt_segment(int32 queue_id, int32 life);
extern bool admin_note_priorities(int32 queue_id);

#endif							/* QUEUE_ADMIN_H */
