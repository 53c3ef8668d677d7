/*
 * tend.c
 *	  What the worker does for its queues once a second, and less often.
 *
 * Opens, adopts, parks and truncates segments, each in a transaction of its
 * own; finds queues that nobody has used since the server started; computes
 * the rates of the views; gives up places in shared memory of what is gone.
 *
 * Locks: none that would have to be waited for, see rotate.c.
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "admin.h"
#include "catalog.h"
#include "deadletter.h"
#include "debug.h"
#include "dedup_rotate.h"
#include "keys.h"
#include "limits.h"
#include "readymap.h"
#include "rotate.h"
#include "shmem.h"
#include "tend.h"
#include "worker.h"

/* All queues are looked at this often, also when no table has changed */
#define FULL_USECS		(60 * USECS_PER_SEC)

/* Longest pause after failures with a queue */
#define MAX_PAUSE_USECS (600 * USECS_PER_SEC)

/* Places of dropped queues are looked for this often */
#define FORGET_USECS	(60 * USECS_PER_SEC)

static TimestampTz full_at = 0;
static TimestampTz forget_at = 0;
static TimestampTz sampled_at = 0;

/* segment_def's names of the chains */
static const char chain_letter[QUEUE_CHAINS] = {
	[QUEUE_MAIN_CHAIN] = 'm',
	[QUEUE_PARKING_CHAIN] = 'p',
	[QUEUE_ARCHIVE_CHAIN] = 'a'
};

/* One step of tending a queue: a segment and what to do with it */
typedef enum TendStep
{
	TEND_ADOPT,
	TEND_NOTE_PRIORITIES,
	TEND_OPEN,
	TEND_PARK,
	TEND_TRUNCATE
} TendStep;

typedef struct TendWork
{
	int32		queue_id;
	int32		life;			/* of the segment */
	TendStep	step;
	bool		done;
	bool		no_tail;		/* of some chain */
} TendWork;

/* Does one thing with one segment */
static void
tend_segment(void *arg)
{
	TendWork   *work = arg;
	Queue	   *q = catalog_queue_by_id(work->queue_id);
	QueueSegment *seg = NULL;

	for (int i = 0; q != NULL && i < q->ntables; i++)
		if (q->segments[i].life == work->life)
			seg = &q->segments[i];
	if (seg == NULL)
		return;
	switch (work->step)
	{
		case TEND_ADOPT:
			work->done = rotate_adopt(q, seg);
			break;
		case TEND_NOTE_PRIORITIES:
			work->done = admin_note_priorities(q->id);
			break;
		case TEND_OPEN:
			work->done = admin_create_segment(q->id, chain_letter[seg->chain]);
			break;
		case TEND_PARK:
			work->done = rotate_park(q, seg) > 0;
			break;
		case TEND_TRUNCATE:
			work->done = rotate_truncate(q, seg);
			break;
	}
}

/* Has the segment had a message with a priority, the first of the queue? */
static bool
has_unnoted_priorities(Queue *q, QueueSegment *seg)
{
	MapSlot    *slot = q->priorities ? NULL : catalog_slot(q, seg);

	return slot != NULL &&
		pg_atomic_read_u32(&slot->lanes) >> map_lane(1) != 0;
}

/* Is there something to do about the segment?  Sets *step. */
static bool
needs_tending(Queue *q, QueueSegment *seg, TendStep *step)
{
	if (!seg->adopted && seg->state != SEGMENT_FREE)
		*step = TEND_ADOPT;
	else if (has_unnoted_priorities(q, seg))
		*step = TEND_NOTE_PRIORITIES;
	else if (rotate_wants_segment(q, seg))
		*step = TEND_OPEN;
	else if (rotate_wants_parking(q, seg))
		*step = TEND_PARK;
	else if (rotate_drained(q, seg))
		*step = TEND_TRUNCATE;
	else
		return false;
	return true;
}

/* The segment of the least life number behind this one */
static QueueSegment *
next_segment(Queue *q, int32 life)
{
	QueueSegment *next = NULL;

	for (int i = 0; i < q->ntables; i++)
	{
		QueueSegment *seg = &q->segments[i];

		if (seg->life > life && (next == NULL || seg->life < next->life))
			next = seg;
	}
	return next;
}

/* Is there a chain without a segment to append to, also one to be adopted? */
static bool
lacks_tail(Queue *q)
{
	bool		has[QUEUE_CHAINS] = {[QUEUE_ARCHIVE_CHAIN] = q->archive == 0};

	for (int i = 0; i < q->ntables; i++)
		has[q->segments[i].chain] |= q->segments[i].state == SEGMENT_OPEN;
	for (int chain = 0; chain < QUEUE_CHAINS; chain++)
		if (!has[chain])
			return q->valid;
	return false;
}

/* Finds the next thing to do for a queue */
static void
find_work(void *arg)
{
	TendWork   *work = arg;
	Queue	   *q = catalog_queue_by_id(work->queue_id);
	QueueSegment *seg;
	int			start = work->life; /* behind this one */

	work->life = 0;
	if (q == NULL)
		return;
	work->no_tail = lacks_tail(q);
	while (q->valid && (seg = next_segment(q, start)) != NULL)
	{
		start = seg->life;
		if (needs_tending(q, seg, &work->step))
		{
			work->life = start;
			return;
		}
	}
}

/* A chain that has no open segment any more gets one */
static void
ensure_tails(void *arg)
{
	QUEUE_DEBUG_POINT("tails");
	for (int chain = 0; chain < QUEUE_CHAINS; chain++)
	{
		Queue	   *q = catalog_queue_by_id(*(int32 *) arg);

		if (chain == QUEUE_ARCHIVE_CHAIN && q != NULL && q->archive == 0)
			continue;
		if (q != NULL && catalog_tail(q, chain) == NULL)
			admin_create_segment(q->id, chain_letter[chain]);
	}
}

/* Fills the slots of a queue's segments, also when nobody used it yet */
static void
fill_slots(void *arg)
{
	Queue	   *q = catalog_queue_by_id(*(int32 *) arg);

	for (int i = 0; q != NULL && q->valid && i < q->nsegments; i++)
	{
		QueueSegment *seg = &q->segments[i];

		if (seg->state != SEGMENT_FREE && catalog_slot(q, seg) == NULL)
		{
			Relation	rel = catalog_open_segment(q, seg, false);

			if (rel != NULL)
				relation_close(rel, RowExclusiveLock);
		}
	}
}

/*
 * Tends all segments of a queue, each thing in a transaction of its own.
 * Returns false when something failed.
 */
static bool
tend_segments(int32 queue_id, bool full)
{
	TendWork	work = {.queue_id = queue_id};
	bool		adopted = false;

	if (full && !worker_attempt(fill_slots, &queue_id))
		return false;
	for (int i = 0; i < 1000; i++)
	{
		if (!worker_attempt(find_work, &work))
			return false;
		if (work.life == 0)
			break;
		work.done = false;
		if (!worker_attempt_sql(tend_segment, &work))
			return false;
		adopted |= work.done && work.step == TEND_ADOPT;
	}
	return !(adopted || work.no_tail) ||
		worker_attempt_sql(ensure_tails, &queue_id);
}

/*
 * The same, but a queue with which something is wrong is left alone for a
 * while, longer each time, so that it does not fill the server's log.
 */
static void
tend_queue(int32 queue_id, bool full, TimestampTz now)
{
	QueueShared *qs = shmem_queue(queue_id);

	if (qs != NULL && qs->failed_until > now)
		return;
	if (tend_segments(queue_id, full))
	{
		if (qs != NULL)
			qs->failures = 0;
		return;
	}
	qs = shmem_queue(queue_id);
	if (qs != NULL)
	{
		qs->failures = Min(qs->failures + 1, 10);
		qs->failed_until = now + Min((1 << qs->failures) * USECS_PER_SEC,
									 MAX_PAUSE_USECS);
	}
}

/* A check of what is in a queue with limits */
typedef struct LimitWork
{
	int32		queue_id;
	bool		done;
} LimitWork;

/* Counts what is in a queue */
static void
check_limits(void *arg)
{
	LimitWork  *work = arg;
	Queue	   *q = catalog_queue_by_id(work->queue_id);

	work->done = q == NULL || !q->limited || limits_check(q);
}

/*
 * Corrects the totals of queues with limits where that was asked for.  It
 * takes one part in a hundred of the worker's time at most.
 */
static void
tend_limits(TimestampTz now)
{
	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];
		LimitWork	work = {qs->id, false};

		if (!qs->in_use || qs->dboid != MyDatabaseId ||
			pg_atomic_read_u32(&qs->limit_suspect) == 0 ||
			qs->limit_check_at > now)
			continue;
		pg_atomic_exchange_u32(&qs->limit_suspect, 0);
		if (!worker_attempt(check_limits, &work) || !work.done)
			pg_atomic_write_u32(&qs->limit_suspect, 1);
		qs->limit_check_at = GetCurrentTimestamp() +
			(GetCurrentTimestamp() - now) * 100;
	}
}

/* A list that outlives the transaction in which it is made */
typedef struct IdList
{
	MemoryContext context;
	List	   *list;
} IdList;

/* The ids of all queues */
static void
find_queues(void *arg)
{
	IdList	   *ids = arg;
	List	   *all = catalog_queue_ids();
	MemoryContext old = MemoryContextSwitchTo(ids->context);

	ids->list = list_copy(all);
	MemoryContextSwitchTo(old);
}

/* The queues that have slots, which are those in use */
static List *
active_queues(void)
{
	List	   *ids = NIL;
	MapSlot    *slot;

	for (int i = -1; (slot = worker_next_slot(&i)) != NULL;)
		ids = list_append_unique_int(ids, slot->queue_id);
	return ids;
}

/* Computes the rates that the views show */
static void
sample_rates(TimestampTz now)
{
	int64		elapsed = now - sampled_at;

	if (elapsed < USECS_PER_SEC)
		return;
	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (!qs->in_use || qs->dboid != MyDatabaseId)
			continue;
		for (int c = 0; c < QUEUE_COUNTERS; c++)
		{
			uint64		count = pg_atomic_read_u64(&qs->counter[c]);
			uint64		before = pg_atomic_read_u64(&qs->sampled[c]);

			pg_atomic_write_u64(&qs->sampled[c], count);
			pg_atomic_write_u64(&qs->rate[c], (count - before) * 1000 *
								USECS_PER_SEC / elapsed);
		}
	}
	sampled_at = now;
}

/* Gives up slots whose file nobody knows any more */
static void
forget_slots(void *arg)
{
	MapSlot    *slot;

	for (int i = -1; (slot = worker_next_slot(&i)) != NULL;)
	{
		Oid			relid = slot->relid;
		Relation	rel;
		bool		gone;

		/* claims would pass over a segment that we lock */
		if (catalog_relation_file(relid) == slot->relnumber)
			continue;
		/* who makes or uses the table holds a lock that this respects */
		if (!ConditionalLockRelationOid(relid, ShareLock))
			continue;
		QUEUE_DEBUG_POINT("forget_slot");
		rel = try_relation_open(relid, NoLock);
		gone = rel == NULL || compat_rel_number(rel) != slot->relnumber;
		if (rel != NULL)
			relation_close(rel, NoLock);
		if (gone)
			map_slot_forget(slot);
		UnlockRelationOid(relid, ShareLock);
	}
}

/* Is the table gone?  Not if somebody is about to make it. */
static bool
is_gone(Oid relid)
{
	bool		gone;

	/* who makes or uses the table holds a lock that this respects */
	if (!ConditionalLockRelationOid(relid, ShareLock))
		return false;
	gone = !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid));
	UnlockRelationOid(relid, ShareLock);
	return gone;
}

/* Gives up the places of queues that are gone, and what we know of them */
static void
forget_queues(void *arg)
{
	List	   *ids = catalog_queue_ids();

	/* this transaction has used no queue */
	catalog_forget_others(ids);
	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (qs->in_use && qs->dboid == MyDatabaseId &&
			pg_atomic_read_u32(&qs->waiters) == 0 &&
			pg_atomic_read_u32(&qs->senders) == 0 &&
			!list_member_int(ids, qs->id) && is_gone(qs->relid))
		{
			keys_forget_queue(qs);
			shmem_queue_forget(MyDatabaseId, qs->id);
		}
	}
}

/*
 * Gives up what is gone, except what somebody still uses.
 */
void
tend_forget(void)
{
	worker_attempt(forget_slots, NULL);
	worker_attempt(forget_queues, NULL);
}

/* Drops forwarding rows that have served */
static void
forget_forwarding(void *arg)
{
	Queue	   *q = catalog_queue_by_id(*(int32 *) arg);

	if (q != NULL)
		rotate_forget_forwarding(q);
}

/*
 * One round.  With full set all queues are looked at, else those in use,
 * except now and then.
 */
void
tend_queues(TimestampTz now, bool full)
{
	IdList		ids = {CurrentMemoryContext, NIL};
	ListCell   *lc;
	bool		forget = now >= forget_at;

	sample_rates(now);
	dedup_rotate(now);
	tend_limits(now);
	full = full || now >= full_at;
	if (full)
	{
		worker_attempt(find_queues, &ids);
		full_at = now + FULL_USECS;
	}
	else
		ids.list = active_queues();

	foreach(lc, ids.list)
	{
		int32		id = lfirst_int(lc);

		tend_queue(id, full, now);
		if (forget)
			deadletter_reap_unmapped(id);
		if (forget)
			worker_attempt_sql(forget_forwarding, &id);
	}
	if (forget)
	{
		tend_forget();
		forget_at = now + FORGET_USECS;
	}
}

/*
 * The clock was set back: do not wait for the times that were planned.
 */
void
tend_clock_set_back(void)
{
	full_at = forget_at = 0;
	/* the next sample is for the time from here */
	sampled_at = GetCurrentTimestamp();
}
