/*
 * fn_views.c
 *	  SQL functions behind the views in_flight, segments, workers and
 *	  consumers.
 *
 * Owns the making of their rows.  They write nothing and work on a standby,
 * where what only the ready map knows is NULL.  Privileges are those of the
 * functions themselves, which PUBLIC cannot execute.  A queue or segment that
 * is dropped meanwhile has no row.
 *
 * Locks: AccessShareLock on one segment at a time, never waited for;
 * queue_shmem->lock or waiters_lock while an array is copied.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "browse.h"
#include "catalog.h"
#include "compat.h"
#include "guc.h"
#include "readymap.h"

PG_FUNCTION_INFO_V1(queue__in_flight);
PG_FUNCTION_INFO_V1(queue__segments);
PG_FUNCTION_INFO_V1(queue__workers);
PG_FUNCTION_INFO_V1(queue__consumers);

/* A row's values; what is not put stays NULL */
#define MAX_COLS 12
typedef struct Row
{
	Datum		values[MAX_COLS];
	bool		nulls[MAX_COLS];
} Row;

/* Makes all columns NULL */
static void
clear_row(Row *row)
{
	memset(row->nulls, true, sizeof(row->nulls));
}

/* Sets a column, counted from 0 */
static void
put(Row *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

/* A time of shared memory, where 0 and the end of time mean none */
static void
put_time(Row *row, int column, TimestampTz time)
{
	if (time != 0 && time != QUEUE_NO_DUE)
		put(row, column, TimestampTzGetDatum(time));
}

/* Adds the row to the result */
static void
return_row(FunctionCallInfo fcinfo, Row *row)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row->values,
						 row->nulls);
}

/* The rows of _in_flight() of one queue */
static void
in_flight_of_queue(FunctionCallInfo fcinfo, Queue *q)
{
	Browse		browse = {.state = BROWSE_LEASED,.nowait = true};
	Datum		name = CStringGetTextDatum(q->name);
	HeapTuple	tuple;

	browse_begin(&browse, q, GetActiveSnapshot());
	while ((tuple = browse_next(&browse)) != NULL)
	{
		MessageHead *head = message_head(tuple->t_data);
		Row			row;

		clear_row(&row);
		put(&row, 0, name);
		put(&row, 1, Int64GetDatum(head->id));
		put(&row, 2, Int32GetDatum(abs(head->holder)));
		put_time(&row, 3, message_leased_at(head));
		put(&row, 4, TimestampTzGetDatum(head->visible_at));
		put(&row, 5, Int32GetDatum(head->deliveries));
		put(&row, 6, Int32GetDatum(head->failures));
		return_row(fcinfo, &row);
	}
	browse_end(&browse);
}

/*
 * _in_flight(): one row for each lease that is running
 */
Datum
queue__in_flight(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	queue_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, catalog_queue_ids())
	{
		Queue	   *q = catalog_queue_by_id(lfirst_int(lc));

		if (q != NULL)
			in_flight_of_queue(fcinfo, q);
	}
	PG_RETURN_NULL();
}

/* segment_def.state for people */
static const char *
segment_state(char state)
{
	switch (state)
	{
		case SEGMENT_OPEN:
			return "open";
		case SEGMENT_SEALED:
			return "sealed";
		default:
			return "free";
	}
}

/* Fills the columns of _segments() that the ready map knows */
static void
put_map_columns(Row *row, MapSlot *slot, BlockNumber nblocks)
{
	int64		dead = 0;
	int64		ready = 0;
	int64		pending = 0;

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		MapPage		page;

		if (!map_read_page(slot, block, &page))
			break;
		ready += (page.flags & MAP_READY) != 0;
		pending += (page.flags & MAP_PENDING) != 0;
		dead += page.flags == 0 && page.facts.delayed == 0 &&
			page.facts.leased == 0 && page.facts.dead == 0;
	}
	put(row, 7, Int64GetDatum((int64) (pg_atomic_read_u64(&slot->ready) +
									   pg_atomic_read_u64(&slot->delayed) +
									   pg_atomic_read_u64(&slot->leased) +
									   pg_atomic_read_u64(&slot->dead))));
	put(row, 8, Int64GetDatum(dead));
	put(row, 9, Int64GetDatum(ready));
	put(row, 10, Int64GetDatum(pending));
	put_time(row, 11, (TimestampTz) pg_atomic_read_u64(&slot->due));
}

static const char *const chain_names[QUEUE_CHAINS] = {
	[QUEUE_MAIN_CHAIN] = "main",
	[QUEUE_PARKING_CHAIN] = "parking",
	[QUEUE_ARCHIVE_CHAIN] = "archive"
};

/* The row of _segments() of one segment */
static void
return_segment(FunctionCallInfo fcinfo, Queue *q, QueueSegment *seg)
{
	Relation	rel = browse_open_segment(seg, false);
	MapSlot    *slot = NULL;
	Row			row;

	clear_row(&row);
	put(&row, 0, CStringGetTextDatum(q->name));
	put(&row, 1, Int32GetDatum(seg->life));
	put(&row, 2, ObjectIdGetDatum(seg->relid));
	put(&row, 3, CStringGetTextDatum(chain_names[seg->chain]));
	put(&row, 4, CStringGetTextDatum(segment_state(seg->state)));
	if (rel != NULL)
	{
		BlockNumber nblocks = RelationGetNumberOfBlocks(rel);

		put(&row, 5, Int64GetDatum(nblocks));
		put(&row, 6, DirectFunctionCall1(pg_table_size,
										 ObjectIdGetDatum(seg->relid)));
		if (!RecoveryInProgress())
			slot = map_slot(rel, q->id, false);
		if (slot != NULL && seg->chain != QUEUE_ARCHIVE_CHAIN)
			put_map_columns(&row, slot, nblocks);
		relation_close(rel, AccessShareLock);
	}
	return_row(fcinfo, &row);
}

/*
 * _segments(): one row for each segment, free ones included
 */
Datum
queue__segments(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	queue_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, catalog_queue_ids())
	{
		Queue	   *q = catalog_queue_by_id(lfirst_int(lc));

		for (int i = 0; q != NULL && i < q->ntables; i++)
		{
			CHECK_FOR_INTERRUPTS();
			return_segment(fcinfo, q, &q->segments[i]);
		}
	}
	PG_RETURN_NULL();
}

/* What _workers() copies of a database's part of shared memory */
typedef struct WorkerRow
{
	Oid			dboid;
	WorkerState state;
	pid_t		pid;
	TimestampTz started_at;
	TimestampTz last_activity;
	TimestampTz sleep_until;
	uint64		loops;
} WorkerRow;

/* Copies the databases that have a worker or should; returns their number */
static int
copy_workers(WorkerRow *rows)
{
	int			n = 0;

	LWLockAcquire(queue_shmem->lock, LW_SHARED);
	for (int i = 0; i < queue_shmem->max_databases; i++)
	{
		DatabaseShared *db = &queue_shmem->databases[i];

		if (!OidIsValid(db->dboid) || db->state == WORKER_NONE)
			continue;
		rows[n].dboid = db->dboid;
		rows[n].state = db->state;
		rows[n].pid = db->pid;
		rows[n].started_at = db->started_at;
		rows[n].last_activity =
			(TimestampTz) pg_atomic_read_u64(&db->last_activity);
		rows[n].sleep_until =
			(TimestampTz) pg_atomic_read_u64(&db->sleep_until);
		rows[n].loops = pg_atomic_read_u64(&db->loops);
		n++;
	}
	LWLockRelease(queue_shmem->lock);
	return n;
}

/*
 * _workers(): one row for each database with a worker, or that should have one
 */
Datum
queue__workers(PG_FUNCTION_ARGS)
{
	WorkerRow  *rows;
	int			n;

	queue_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	rows = palloc(queue_shmem->max_databases * sizeof(WorkerRow));
	n = copy_workers(rows);
	for (int i = 0; i < n; i++)
	{
		char	   *database = get_database_name(rows[i].dboid);
		bool		running = rows[i].state == WORKER_RUNNING;
		Row			row;

		if (database == NULL)
			continue;			/* dropped */
		clear_row(&row);
		put(&row, 0, DirectFunctionCall1(namein, CStringGetDatum(database)));
		put(&row, 2, CStringGetTextDatum(running ? "running" :
										 rows[i].state == WORKER_STARTING ?
										 "starting" : "wanted"));
		if (running)
		{
			put(&row, 1, Int32GetDatum(rows[i].pid));
			put_time(&row, 3, rows[i].started_at);
			put_time(&row, 5, rows[i].sleep_until);
		}
		put_time(&row, 4, rows[i].last_activity);
		put(&row, 6, Int64GetDatum((int64) rows[i].loops));
		return_row(fcinfo, &row);
	}
	PG_RETURN_NULL();
}

/* A session that waits for a queue of this database */
typedef struct WaiterRow
{
	int32		queue_id;
	int			pid;
	TimestampTz since;
} WaiterRow;

/*
 * The place of a queue in shared memory, by its address alone; a queue
 * without one lies in the memory of its session, where we cannot look.
 */
static bool
is_shared(QueueShared *qs)
{
	return qs >= queue_shmem->queues &&
		qs < queue_shmem->queues + queue_shmem->max_queues;
}

/* Copies who waits for what; returns the number of rows */
static int
copy_waiters(WaiterRow **result)
{
	int			max = 1024;
	int			n;
	WaiterRow  *rows = palloc(max * sizeof(WaiterRow));

	for (;;)
	{
		n = 0;
		LWLockAcquire(queue_shmem->waiters_lock, LW_SHARED);
		for (int i = 0; i < queue_shmem->max_waiters; i++)
		{
			WaiterShared *waiter = &queue_shmem->waiters[i];

			for (int j = 0; j < waiter->nqueues; j++)
			{
				QueueShared *qs = waiter->queue[j];

				if (waiter->sender || !is_shared(qs) ||
					qs->dboid != MyDatabaseId)
					continue;
				if (n < max)
				{
					rows[n].queue_id = qs->id;
					rows[n].pid = waiter->pid;
					rows[n].since = waiter->since;
				}
				n++;
			}
		}
		LWLockRelease(queue_shmem->waiters_lock);
		if (n <= max)
			break;
		max = n * 2;
		rows = repalloc(rows, max * sizeof(WaiterRow));
	}
	*result = rows;
	return n;
}

/* A row of _consumers() */
static void
return_consumer(FunctionCallInfo fcinfo, Datum name, int pid,
				const char *state, TimestampTz since, int active)
{
	Row			row;

	clear_row(&row);
	put(&row, 0, name);
	put(&row, 1, Int32GetDatum(pid));
	put(&row, 2, CStringGetTextDatum(state));
	put_time(&row, 3, since);
	put(&row, 4, BoolGetDatum(pid == active));
	return_row(fcinfo, &row);
}

/*
 * The process ids in the leases of a queue, each once.
 */
static List *
lease_holders(Queue *q)
{
	Browse		browse = {.state = BROWSE_LEASED,.nowait = true};
	List	   *pids = NIL;
	int			last = 0;
	HeapTuple	tuple;

	browse_begin(&browse, q, GetActiveSnapshot());
	while ((tuple = browse_next(&browse)) != NULL)
	{
		int			pid = abs(message_head(tuple->t_data)->holder);

		/* leases of one session stand together, mostly */
		if (pid != last)
			pids = list_append_unique_int(pids, pid);
		last = pid;
	}
	browse_end(&browse);
	return pids;
}

/* The rows of _consumers() of one queue */
static void
consumers_of_queue(FunctionCallInfo fcinfo, Queue *q, WaiterRow *waiters,
				   int nwaiters)
{
	Datum		name = CStringGetTextDatum(q->name);
	int			active = (int) pg_atomic_read_u32(&q->shared->active_pid);
	List	   *waiting = NIL;
	List	   *holders;
	ListCell   *lc;

	for (int i = 0; i < nwaiters; i++)
	{
		if (waiters[i].queue_id != q->id)
			continue;
		return_consumer(fcinfo, name, waiters[i].pid, "waiting",
						waiters[i].since, active);
		waiting = lappend_int(waiting, waiters[i].pid);
	}
	if (RecoveryInProgress())
		return;					/* the holders are the primary's sessions */
	holders = lease_holders(q);
	if (active != 0)
		holders = list_append_unique_int(holders, active);
	foreach(lc, holders)
	{
		int			pid = lfirst_int(lc);

		/* a lease may be older than its holder's end */
		if (!list_member_int(waiting, pid) && BackendPidGetProc(pid) != NULL)
			return_consumer(fcinfo, name, pid, "active", 0, active);
	}
}

/*
 * _consumers(): one row for each queue and session that waits for its
 * messages or holds leases of it
 */
Datum
queue__consumers(PG_FUNCTION_ARGS)
{
	WaiterRow  *waiters;
	int			nwaiters;
	ListCell   *lc;

	queue_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	nwaiters = copy_waiters(&waiters);
	foreach(lc, catalog_queue_ids())
	{
		Queue	   *q = catalog_queue_by_id(lfirst_int(lc));

		if (q != NULL)
			consumers_of_queue(fcinfo, q, waiters, nwaiters);
	}
	PG_RETURN_NULL();
}
