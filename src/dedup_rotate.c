/*
 * dedup_rotate.c
 *	  Empties and switches the tables of dedup_ids; for the worker.
 *
 * Owns the rows of dedup_def, and the state in shared memory once there is
 * one.  When the current table of a class has been so for the longest window
 * in use, nobody asks for the entries of the other one any more: that is
 * emptied and becomes the current one.  So an entry is stored for one window
 * at least and for two at most, unless a transaction that entered a dedup_id
 * stays open: it keeps its table from being emptied.
 *
 * Invariants
 *	- The row in dedup_def is written before shared memory, and says a time
 *	  that lies ahead by more than the switch takes: no entry in the other
 *	  table is younger, also after a crash in between.
 *	- The table that becomes the current one is empty.
 *
 * Locks: never waits for one.  AccessExclusiveLock on a table and its index,
 * to empty it, asked for only when nobody is in the way.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/index.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "catalog_rows.h"
#include "compat.h"
#include "debug.h"
#include "dedup.h"
#include "dedup_rotate.h"
#include "rotate.h"
#include "worker.h"

/* How far ahead of the switch the time is that it is said to happen */
#define SWITCH_SLACK_USECS	(10 * USECS_PER_SEC)

/* How often the classes are looked at, and switched, at most */
#define DEDUP_ROTATE_USECS	(60 * USECS_PER_SEC)

static TimestampTz rotate_at = 0;

/* What is known of a class, and what was done */
typedef struct DedupWork
{
	int			dclass;
	TimestampTz now;
	DedupState	state;
	bool		filled[DEDUP_TABLES];
	int64		window;			/* the longest in use */
	bool		done;
} DedupWork;

/* Has the table any page?  True when somebody has locked it for good. */
static bool
is_filled(int dclass, int which)
{
	Oid			relid = dedup_table(dclass, which);
	Relation	rel;
	bool		filled;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return true;
	rel = try_relation_open(relid, NoLock);
	filled = rel != NULL && RelationGetNumberOfBlocks(rel) > 0;
	if (rel != NULL)
		relation_close(rel, NoLock);
	UnlockRelationOid(relid, AccessShareLock);
	return filled;
}

/* The longest window of the queues that use a class */
static int64
longest_window(int dclass)
{
	int64		longest = 0;
	ListCell   *lc;

	/* any queue may use the default */
	if (dclass == 0)
		return dedup_longest_window(0);
	foreach(lc, catalog_queue_ids())
	{
		Queue	   *q = catalog_queue_by_id(lfirst_int(lc));

		if (q != NULL && q->dedup_window > 0 &&
			dedup_class(q->dedup_window) == dclass)
			longest = Max(longest, q->dedup_window);
	}
	return longest;
}

/* Finds out how a class stands */
static void
inspect(void *arg)
{
	DedupWork  *work = arg;
	pg_atomic_uint64 *shared = shmem_dedup_state(work->dclass);

	for (int i = 0; i < DEDUP_TABLES; i++)
		work->filled[i] = is_filled(work->dclass, i);
	if (!work->filled[0] && !work->filled[1])
		return;
	work->window = longest_window(work->dclass);
	work->state = dedup_read_state(work->dclass);
	/* they differ after a restore into a running server */
	if (shared != NULL)
		pg_atomic_write_u64(shared, work->state);
}

/* Locks a table and its indexes, or nothing that matters */
static bool
lock_table(Oid relid, Relation *rel)
{
	Relation	probe = try_relation_open(relid, AccessShareLock);
	List	   *wanted;
	ListCell   *lc;

	if (probe == NULL)
		return false;
	wanted = lcons_oid(relid, RelationGetIndexList(probe));
	relation_close(probe, AccessShareLock);
	foreach(lc, wanted)
		if (rotate_somebody_in_the_way(lfirst_oid(lc)))
			return false;
	foreach(lc, wanted)
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessExclusiveLock))
			return false;		/* the end of the transaction unlocks */
	*rel = try_relation_open(relid, NoLock);
	return *rel != NULL;
}

/*
 * Empties the table that is not the current one, in the current transaction.
 * It gets new files: in place, its index would be broken if the server crashed
 * in between.
 */
static void
empty_other(void *arg)
{
	DedupWork  *work = arg;
	Oid			relid = dedup_table(work->dclass,
									1 - dedup_current(work->state));
	ReindexParams params = {0};
	Relation	rel;

	if (!lock_table(relid, &rel))
		return;
	compat_set_new_file(rel);
	relation_close(rel, NoLock);
	compat_reindex(relid, 0, &params);
	work->done = true;
}

/* Writes the row that says what is the current table */
static void
write_state(void *arg)
{
	DedupWork  *work = arg;
	CatalogRows rows;
	bool		exists;

	rows_open(&rows, "dedup_def", work->dclass);
	exists = rows_next(&rows);
	rows_set(&rows, Anum_dedup_def_class, Int32GetDatum(work->dclass));
	rows_set(&rows, Anum_dedup_def_current,
			 Int32GetDatum(dedup_current(work->state)));
	rows_set(&rows, Anum_dedup_def_since,
			 TimestampTzGetDatum(dedup_since(work->state)));
	if (exists)
		rows_update(&rows);
	else
		rows_insert(&rows);
	rows_close(&rows);
	work->done = true;
}

/* Empties and switches the tables of one class when it is time */
static void
rotate_class(int dclass, TimestampTz now)
{
	DedupWork	work = {.dclass = dclass,.now = now};
	pg_atomic_uint64 *shared = shmem_dedup_state(dclass);
	int			current;

	if (shared == NULL || !worker_attempt(inspect, &work) || work.state == 0)
		return;
	current = dedup_current(work.state);
	if (debug_dedup_period() == 0 &&
		now - dedup_since(work.state) < work.window)
		return;
	if (work.filled[1 - current] &&
		(!worker_attempt(empty_other, &work) || !work.done))
		return;
	if (!work.filled[current])
		return;
	work.state = dedup_make_state(1 - current, GetCurrentTimestamp() +
								  SWITCH_SLACK_USECS);
	work.done = false;
	if (worker_attempt_sql(write_state, &work) && work.done)
	{
		QUEUE_DEBUG_POINT("dedup_switch");
		pg_atomic_write_u64(shared, work.state);
		pg_memory_barrier();
	}
}

/*
 * Looks after the tables of all classes, once a minute.
 */
void
dedup_rotate(TimestampTz now)
{
	if (now < rotate_at)
		return;
	for (int dclass = 0; dclass < DEDUP_CLASSES; dclass++)
		rotate_class(dclass, now);
	rotate_at = now + (debug_dedup_period() > 0 ?
					   debug_dedup_period() * INT64CONST(1000) :
					   DEDUP_ROTATE_USECS);
}

/*
 * The clock was set back: do not wait for the time that was planned.
 */
void
dedup_clock_set_back(void)
{
	rotate_at = 0;
}
