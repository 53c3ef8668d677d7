/*
 * worker.c
 *	  The process that keeps one database's queues going.
 *
 * In each turn it releases the leases of aborted transactions, looks at pages
 * whose deadline has passed (delayed messages that are due, expired leases),
 * whose facts are stale, or whose pending transactions have ended, wakes
 * consumers, and sends NOTIFY.  Once a second it tends segments, see tend.c.
 * Between turns it sleeps until the next deadline.
 *
 * Consumers go on without it: it is the clock, not the gate.
 *
 * It leaves when the extension is gone, and when somebody wants to drop, copy
 * or move the database: no process may be connected to that.  The launcher
 * starts it again.
 *
 * Everything runs in transactions without an xid unless something must be
 * written to a table; those that have one commit asynchronously.  A failure
 * with one queue ends that piece of work only.
 *
 * Locks: none that it would have to wait for, but buffer locks.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/bufmgr.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "claim.h"
#include "compat.h"
#include "deadletter.h"
#include "dedup_rotate.h"
#include "guc.h"
#include "look.h"
#include "mapwalk.h"
#include "page.h"
#include "readymap.h"
#include "settle.h"
#include "shmem.h"
#include "tend.h"
#include "waiters.h"
#include "worker.h"

/* Housekeeping, and the look whether somebody wants the database */
#define TEND_USECS		USECS_PER_SEC

/* Facts that are out of date are brought up to date this often */
#define STALE_USECS		(USECS_PER_SEC / 2)

/* Ends of deciding transactions are polled at intervals between these */
#define PENDING_MIN_USECS (USECS_PER_SEC / 10)
#define PENDING_MAX_USECS USECS_PER_SEC

/* Pages looked at in one go, so that no queue keeps the others waiting */
#define PAGES_PER_TURN	4096

/* After an error with a queue it is left alone for this long */
#define ERROR_PAUSE_USECS (5 * USECS_PER_SEC)

/* The same when DDL holds a lock on a segment */
#define BUSY_PAUSE_USECS (USECS_PER_SEC / 50)

PGDLLEXPORT void queue_worker_main(Datum arg);

static DatabaseShared *my_db = NULL;
static MemoryContext turn_context = NULL;

/* When each kind of work is to be done next */
static TimestampTz tend_at = 0;
static TimestampTz stale_at = 0;
static TimestampTz pending_at = 0;
static int64 pending_interval = PENDING_MIN_USECS;

/* Is there more to do at once? */
static bool unfinished = false;

/* At exit: the launcher may start another worker */
static void
detach(int code, Datum arg)
{
	SpinLockAcquire(&my_db->ring_mutex);
	my_db->latch = NULL;
	SpinLockRelease(&my_db->ring_mutex);

	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	my_db->pid = 0;
	if (my_db->state == WORKER_NONE && !my_db->asked)
		my_db->dboid = InvalidOid;	/* gives the place back */
	else
	{
		my_db->state = WORKER_WANTED;
		my_db->retry_at = GetCurrentTimestamp() + USECS_PER_SEC;
	}
	LWLockRelease(queue_shmem->lock);
	shmem_wake_launcher();
}

/* Becomes the one worker of its database, or ends */
static void
attach(Oid dboid)
{
	bool		second;

	my_db = shmem_database(dboid, true);
	if (my_db == NULL)
		ereport(FATAL,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases have queues"),
				 errhint("Increase queue.max_databases.")));
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	second = my_db->pid != 0;
	if (!second)
	{
		my_db->pid = MyProcPid;
		my_db->state = WORKER_RUNNING;
		my_db->asked = false;
		my_db->started_at = GetCurrentTimestamp();
	}
	LWLockRelease(queue_shmem->lock);
	if (second)
		proc_exit(0);

	before_shmem_exit(detach, (Datum) 0);
	pg_atomic_write_u64(&my_db->sleep_until, QUEUE_NO_DUE);
	SpinLockAcquire(&my_db->ring_mutex);
	my_db->latch = MyLatch;
	SpinLockRelease(&my_db->ring_mutex);
}

/* Ends the process, and says how the launcher is to take it */
static void
leave(WorkerState state)
{
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	my_db->state = state;
	LWLockRelease(queue_shmem->lock);
	proc_exit(0);
}

/*
 * DROP DATABASE and its like hold a lock on the database, and fail when
 * anybody is still connected after five seconds.
 */
static void
leave_if_database_is_wanted(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	if (LockAcquire(&tag, RowExclusiveLock, false, true) ==
		LOCKACQUIRE_NOT_AVAIL)
		leave(WORKER_WANTED);
	LockRelease(&tag, RowExclusiveLock, false);
}

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(turn_context);
}

static void
commit(void)
{
	CommitTransactionCommand();
	MemoryContextSwitchTo(turn_context);
}

/*
 * Runs a piece of work in a transaction of its own; an error ends it alone.
 */
bool
worker_attempt(void (*work) (void *), void *arg)
{
	volatile bool ok = true;

	begin();
	PG_TRY();
	{
		work(arg);
		commit();
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		MemoryContextSwitchTo(turn_context);
		RESUME_INTERRUPTS();
		ok = false;
	}
	PG_END_TRY();
	return ok;
}

/* Work that runs SQL */
typedef struct SqlWork
{
	void		(*work) (void *);
	void	   *arg;
} SqlWork;

/* Runs the work under a snapshot */
static void
with_snapshot(void *arg)
{
	SqlWork    *sql = arg;

	PushActiveSnapshot(GetTransactionSnapshot());
	sql->work(sql->arg);
	PopActiveSnapshot();
}

/* Gives back what aborted transactions had claimed */
static void
release_aborted(void *arg)
{
	AbortedClaim claim;

	while (shmem_pop_aborted(my_db, &claim))
	{
		Queue	   *q = catalog_queue_by_id(claim.queue_id);

		if (q != NULL)
			settle_aborted(q, &claim);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The same as look_at_page() does for other queues, but ready messages that
 * cannot be had are no news, and the end of a lease is.  A page of a fifo
 * queue may be ready for other reasons than messages that can be had.
 */
static void
announce_tracked(Queue *q, KeyPage *keys, bool known)
{
	int			n = keys->freed;

	if (!known || keys->place.ordered)
		n += keys->claimable;
	if (n > 0)
		waiters_announce(q->shared, n);
}

/*
 * Looks at one page: declares messages dead, tells the map what is there,
 * and wakes consumers for what became ready.
 */
static void
look_at_page(Queue *q, QueueSegment *seg, Relation rel, BlockNumber block,
			 TimestampTz now)
{
	Buffer		buffer = ReadBuffer(rel, block);
	PageLook	look;
	KeyPage		keys;
	PageWrite	write = {0};
	HeapTupleData tup;
	int			dead = 0;
	int			leases = 0;
	bool		known;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	look_begin(&look, rel, seg->slot, buffer);
	if (q->tracked)
	{
		KeyPlace	place = queue_place(q, seg, block);

		look_track(&look, &keys, &place);
	}
	while (look_next(&look, &tup))
	{
		MessageHead *head = message_head(tup.t_data);
		DeathReason death = claim_death(q, tup.t_data, now);

		if (death != DEATH_UNKNOWN)
		{
			if (!write.begun)
				page_write_begin(&write, rel, buffer);
			head = page_write_head(&write, look.offset);
			leases += head->lease != 0;
			claim_kill(head, death);
			dead++;
		}
		else if (message_is_orphan(head, queue_shmem->started_at))
		{
			/* as if its time were over: that counts as a failure */
			if (!write.begun)
				page_write_begin(&write, rel, buffer);
			head = page_write_head(&write, look.offset);
			head->visible_at = Min(head->visible_at, now);
			head->holder = 0;
		}
		look_count(&look, head, tup.t_len, now);
	}
	if (write.begun)
		page_write_end(&write);
	look_end(&look);
	UnlockReleaseBuffer(buffer);

	claim_count_deaths(q, dead, leases, look.result.facts.droppable);
	/* also those found after a start, or left by an earlier attempt */
	if (dead == 0 && look.result.facts.dead > 0 &&
		(q->dead_letter[0] != '\0' || look.result.facts.droppable))
		shmem_want_reaping(q->shared);
	/* what was ready for long was announced when it became so */
	known = look.map.covered && (look.map.word & MAP_READY) != 0 &&
		(look.map.word & MAP_COLD) == 0 && !look.map.due_passed;
	if (q->tracked)
		announce_tracked(q, &keys, known);
	else if (look.result.facts.ready > 0 && !known)
		waiters_announce(q->shared, look.result.facts.ready);
}

/* What to look at in one slot */
typedef struct SlotWork
{
	MapSlot    *slot;
	bool		stale;
} SlotWork;

/*
 * Opens the segment that a slot belongs to.  NULL when that cannot be: then
 * the slot is left alone for a while, a short one if a lock is in the way.
 */
static Relation
open_slot(MapSlot *slot, Queue **q, QueueSegment **which)
{
	int64		pause = ERROR_PAUSE_USECS;
	Relation	rel = NULL;

	*q = catalog_queue_by_id(slot->queue_id);
	for (int i = 0; *q != NULL && i < (*q)->nsegments; i++)
	{
		QueueSegment *seg = &(*q)->segments[i];

		if (seg->relnumber == slot->relnumber)
		{
			rel = catalog_open_segment(*q, seg, false);
			*which = seg;
			pause = BUSY_PAUSE_USECS;
			break;
		}
	}
	if (rel == NULL)
		slot->error_until = GetCurrentTimestamp() + pause;
	return rel;
}

/* Forgets pages that VACUUM cut off, whose deadlines nobody would look at */
static void
forget_cut_pages(MapSlot *slot, Relation rel)
{
	BlockNumber nblocks;

	if (RelationGetNumberOfBlocks(rel) >= pg_atomic_read_u32(&slot->npages) ||
		!ConditionalLockRelationForExtension(rel, ExclusiveLock))
		return;
	nblocks = RelationGetNumberOfBlocks(rel);
	map_shortened(slot, nblocks);
	UnlockRelationForExtension(rel, ExclusiveLock);
}

/* Looks at the pages of a segment that need it */
static void
look_at_slot(void *arg)
{
	SlotWork   *work = arg;
	TimestampTz now = GetCurrentTimestamp();
	MapWalk		walk;
	Queue	   *q;
	QueueSegment *seg;
	Relation	rel = open_slot(work->slot, &q, &seg);
	BlockNumber block;
	int			budget = PAGES_PER_TURN;
	bool		more = false;

	if (rel == NULL)
		return;
	forget_cut_pages(work->slot, rel);
	map_walk_begin(&walk, work->slot, rel,
				   work->stale ? MAP_WALK_STALE : 0, 0, now + 1);
	while ((block = map_walk_next(&walk)) != InvalidBlockNumber)
	{
		CHECK_FOR_INTERRUPTS();
		look_at_page(q, seg, rel, block, now);
		if (--budget > 0)
			continue;
		/* pages without a word are looked at by consumers, not without end */
		if (block < pg_atomic_read_u32(&work->slot->npages))
		{
			map_walk_stop(&walk);
			unfinished = more = true;
		}
		break;
	}
	if (!more)
		map_recompute_due(work->slot, now);
	relation_close(rel, RowExclusiveLock);
}

static bool
has_deciders(MapSlot *slot)
{
	return slot->ndeciders > 0 || slot->more_deciders;
}

/* The next used slot of this database behind *index */
MapSlot *
worker_next_slot(int *index)
{
	int			used = pg_atomic_read_u32(&queue_shmem->used_slots);

	while (++*index < used)
	{
		MapSlot    *slot = &queue_shmem->slots[*index];

		if (slot->in_use && slot->dboid == MyDatabaseId)
			return slot;
	}
	return NULL;
}

/*
 * Pages turned ready since a transaction ended: whoever waits shall look.  It
 * is not known here how many messages there are, if any.
 */
static void
announce_decided(MapSlot *slot)
{
	QueueShared *qs = shmem_queue(slot->queue_id);

	if (qs != NULL)
		waiters_announce(qs, PG_INT32_MAX);
}

/* Looks at what is due, stale or decided in any slot */
static void
look_at_slots(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		do_stale = now >= stale_at;
	bool		do_pending = now >= pending_at;
	bool		any_pending = false;
	MapSlot    *slot;

	for (int i = -1; (slot = worker_next_slot(&i)) != NULL;)
	{
		SlotWork	work = {slot, do_stale};

		if (do_pending && has_deciders(slot))
		{
			any_pending = true;
			if (map_resolve_pending(slot, pending_interval >=
									PENDING_MAX_USECS) > 0)
			{
				announce_decided(slot);
				work.stale = true;
				pending_interval = PENDING_MIN_USECS;
			}
		}
		if ((TimestampTz) pg_atomic_read_u64(&slot->due) > now &&
			!(work.stale && pg_atomic_read_u32(&slot->stale) != 0))
			continue;
		if (slot->error_until > now)
			continue;
		if (!worker_attempt(look_at_slot, &work))
			slot->error_until = now + ERROR_PAUSE_USECS;
	}
	if (do_stale)
		stale_at = now + STALE_USECS;
	if (do_pending)
	{
		pending_interval = any_pending ?
			Min(pending_interval * 2, PENDING_MAX_USECS) : PENDING_MIN_USECS;
		pending_at = now + pending_interval;
	}
}

/* The same for work that runs SQL, which needs a snapshot */
bool
worker_attempt_sql(void (*work) (void *), void *arg)
{
	SqlWork		sql = {work, arg};

	return worker_attempt(with_snapshot, &sql);
}

/* Is there still something to do in this database, and may we stay? */
static void
check_extension(void *arg)
{
	*(bool *) arg = catalog_extension_exists();
	leave_if_database_is_wanted();
}

/* Once a second */
static void
tend(TimestampTz now)
{
	bool		full = pg_atomic_exchange_u32(&my_db->full_pass, 0) != 0;
	bool		exists = false;

	if (worker_attempt(check_extension, &exists) && !exists)
	{
		/* nobody else would give up what the queues had */
		tend_forget();
		leave(WORKER_NONE);
	}
	if (catalog_take_news())
		full = true;
	tend_queues(now, full);
	tend_at = now + TEND_USECS;
}

/*
 * The channel of a queue's NOTIFY: its name, or its number when the name is
 * longer than a channel's may be.
 */
static void
channel_name(Queue *q, char *channel)
{
	if (snprintf(channel, NAMEDATALEN, "queue.%s", q->name) >= NAMEDATALEN)
		snprintf(channel, NAMEDATALEN, "queue.%d", q->id);
}

/* Is a NOTIFY wanted and, by the interval, allowed?  Sets *next otherwise. */
static bool
notify_is_due(QueueShared *qs, TimestampTz now, TimestampTz *next)
{
	TimestampTz at = qs->last_notify + (int64) queue_notify_interval * 1000;

	if (!qs->in_use || qs->dboid != MyDatabaseId ||
		queue_notify_interval < 0 ||
		pg_atomic_read_u32(&qs->notify) == 0)
		return false;
	if (at > now)
	{
		*next = Min(*next, at);
		return false;
	}
	return true;
}

/* Sends the NOTIFY of a list of queues */
static void
notify(void *arg)
{
	List	   *ids = *(List **) arg;
	ListCell   *lc;

	foreach(lc, ids)
	{
		Queue	   *q = catalog_queue_by_id(lfirst_int(lc));
		char		channel[NAMEDATALEN];

		if (q == NULL)
			continue;
		channel_name(q, channel);
		Async_Notify(channel, "");
	}
}

/*
 * Sends one NOTIFY for each queue in which something became ready, all in one
 * transaction.  Returns when the next one is allowed.
 */
static TimestampTz
send_notifications(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = QUEUE_NO_DUE;
	List	   *ids = NIL;

	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (!notify_is_due(qs, now, &next))
			continue;
		pg_atomic_exchange_u32(&qs->notify, 0);
		qs->last_notify = now;
		ids = lappend_int(ids, qs->id);
	}
	if (ids != NIL)
		worker_attempt(notify, &ids);
	return next;
}

/* When the next thing is to be done */
static TimestampTz
next_turn(TimestampTz at)
{
	TimestampTz next = Min(tend_at, at);
	TimestampTz now = GetCurrentTimestamp();
	MapSlot    *slot;

	for (int i = -1; (slot = worker_next_slot(&i)) != NULL;)
	{
		TimestampTz due = (TimestampTz) pg_atomic_read_u64(&slot->due);

		if (slot->error_until > now)
			due = Max(due, slot->error_until);
		next = Min(next, due);
		if (pg_atomic_read_u32(&slot->stale) != 0)
			next = Min(next, Max(stale_at, slot->error_until));
		if (has_deciders(slot))
			next = Min(next, pending_at);
	}
	return next;
}

/*
 * Sleeps until the next turn.  The time is published before it is computed
 * for good, so that a deadline set meanwhile is either counted or wakes us.
 */
static void
sleep_until_next(TimestampTz at)
{
	TimestampTz next = next_turn(at);
	TimestampTz now;

	pg_atomic_write_u64(&my_db->sleep_until, next);
	pg_memory_barrier();
	next = Min(next, next_turn(at));
	now = GetCurrentTimestamp();
	if (next > now && !unfinished)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) ((next - now + 999) / 1000),
						 compat_wait_event("QueueWorker"));
	}
	ResetLatch(MyLatch);
	pg_atomic_write_u64(&my_db->sleep_until, QUEUE_NO_DUE);
	pg_memory_barrier();
}

/*
 * The clock was set back: all that was to be done later is done now, else it
 * would have to wait for as long again.
 */
static void
clock_set_back(void)
{
	MapSlot    *slot;

	tend_at = stale_at = pending_at = 0;
	for (int i = -1; (slot = worker_next_slot(&i)) != NULL;)
		slot->error_until = slot->drained_at = 0;
	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (qs->in_use && qs->dboid == MyDatabaseId)
			qs->last_notify = qs->failed_until = qs->reap_at =
				qs->limit_check_at = 0;
	}
	tend_clock_set_back();
	dedup_clock_set_back();
}

/* One round of everything, and the sleep behind it */
static void
turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz notify_at;
	TimestampTz reap_at;

	unfinished = false;
	pg_atomic_fetch_add_u64(&my_db->loops, 1);
	/* it may be that of the worker before this one */
	if (now < (TimestampTz) pg_atomic_read_u64(&my_db->last_activity))
		clock_set_back();
	pg_atomic_write_u64(&my_db->last_activity, now);

	if (my_db->ring_head != my_db->ring_tail)
		worker_attempt(release_aborted, NULL);
	look_at_slots();
	if (GetCurrentTimestamp() >= tend_at ||
		pg_atomic_read_u32(&my_db->full_pass) != 0)
		tend(GetCurrentTimestamp());
	reap_at = deadletter_reap(GetCurrentTimestamp());
	notify_at = send_notifications();
	pgstat_report_stat(false);
	MemoryContextReset(turn_context);
	sleep_until_next(Min(notify_at, reap_at));
}

/*
 * Main function of a worker; the argument is the database.
 */
void
queue_worker_main(Datum arg)
{
	Oid			dboid = DatumGetObjectId(arg);

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET,
					PGC_S_OVERRIDE);
	pgstat_report_appname("queue worker");
	attach(dboid);
	turn_context = AllocSetContextCreate(TopMemoryContext, "queue worker turn",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(turn_context);

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		turn();
	}
}
