/*
 * admin_tables.h
 *	  The tables of a queue.
 */
#ifndef QUEUE_ADMIN_TABLES_H
#define QUEUE_ADMIN_TABLES_H

/* segment_def.chain */
#define CHAIN_MAIN		'm'
#define CHAIN_PARKING	'p'
#define CHAIN_ARCHIVE	'a'

extern void tables_keep_key_plain(Oid parent);
extern Oid	tables_make_parent(const char *name, int32 id, Oid schema,
							   Oid owner, Oid *ids);
extern void tables_make_segment(int32 id, Oid parent, int32 life, char chain);
extern void tables_ensure_archive(int32 id, Oid parent);
extern uint64 tables_lock(int32 id, Oid **segments);
extern void tables_drop(int32 id, Oid parent);

#endif							/* QUEUE_ADMIN_TABLES_H */
