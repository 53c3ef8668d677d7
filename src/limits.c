/*
 * limits.c
 *	  How much is in a queue that has max_messages or max_bytes.
 *
 * Owns the totals in shared memory: messages in whatever state, those of
 * transactions that have not ended included, and their bytes: the size of
 * body, payload, headers and key as max_message_bytes counts it.
 *
 * Invariants
 *	- A sender adds to the totals before it appends, so they are never less
 *	  than what is in the queue.  A rollback, also to a savepoint, gives back.
 *	- Deletes are subtracted when they have committed.
 *	- A transaction that has added to or is about to subtract from the totals
 *	  has a share in the queue (limit_shares).  The totals are corrected only
 *	  while there is none, and none came and went during the count.
 *	- After a start the totals are not known; the first sender counts, and
 *	  nobody sends before.  What is deleted meanwhile may be counted: too much
 *	  is no harm.
 *	- Nothing allocates or can fail in a callback.
 *
 * What goes wrong is put right by a count: transactions that were prepared,
 * and rows that went without our knowledge.  Senders who find the queue full
 * ask the worker for it.
 *
 * Locks: the queue's limit_mutex, for a few assignments.  A count takes
 * RowExclusiveLock on one segment at a time and a share lock on one buffer.
 * Who waits for room may hold locks from what his transaction did before.  The
 * deadlock detector does not see what he waits for, so he asks himself whether
 * somebody waits for these locks.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "debug.h"
#include "limits.h"
#include "page.h"
#include "waiters.h"

/* For how long, and how often, a sender looks for DDL that was announced */
#define CHANGE_WATCH_USECS	USECS_PER_SEC
#define CHANGE_POLL_MS		10

/* A sender looks this often although nobody woke it */
#define LONGEST_NAP_MS		1000

/* What one (sub)transaction did to the totals of one queue */
typedef struct Share
{
	QueueShared *qs;
	SubTransactionId subid;
	Room		added;			/* to be given back by a rollback */
	Room		removed;		/* to be subtracted by a commit */
} Share;

static Share *shares = NULL;
static int	nshares = 0;
static int	max_shares = 0;

/*
 * Makes room for one more share.
 */
void
limits_prepare(void)
{
	int			want = Max(16, max_shares * 2);

	if (nshares < max_shares)
		return;
	if (shares == NULL)
		shares = MemoryContextAlloc(TopMemoryContext, want * sizeof(Share));
	else
		shares = repalloc(shares, want * sizeof(Share));
	max_shares = want;
}

/* The share of the current subtransaction, NULL if it has none */
static Share *
find_share(QueueShared *qs)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	for (int i = nshares - 1; i >= 0; i--)
		if (shares[i].qs == qs && shares[i].subid == subid)
			return &shares[i];
	return NULL;
}

/* Notes a share that was counted in limit_shares; room was made */
static Share *
add_share(QueueShared *qs)
{
	Share	   *share = &shares[nshares++];

	Assert(nshares <= max_shares);
	memset(share, 0, sizeof(Share));
	share->qs = qs;
	share->subid = GetCurrentSubTransactionId();
	return share;
}

/* The share of the current subtransaction.  NULL: no room was made for it */
static Share *
my_share(QueueShared *qs)
{
	Share	   *share = find_share(qs);

	if (share != NULL || nshares == max_shares)
		return share;
	SpinLockAcquire(&qs->limit_mutex);
	qs->limit_shares++;
	qs->limit_moves++;
	SpinLockRelease(&qs->limit_mutex);
	return add_share(qs);
}

/* Changes the totals; wakes a sender when there is less.  Callback. */
static void
change(QueueShared *qs, int64 messages, int64 bytes)
{
	SpinLockAcquire(&qs->limit_mutex);
	if (qs->limit_known)
	{
		qs->limit_messages += messages;
		qs->limit_bytes += bytes;
	}
	qs->limit_moves++;
	SpinLockRelease(&qs->limit_mutex);
	if (messages < 0 || bytes < 0)
		waiters_wake_sender(qs);
}

/* The share has no more to do.  Callback. */
static void
end_share(QueueShared *qs)
{
	SpinLockAcquire(&qs->limit_mutex);
	qs->limit_shares--;
	SpinLockRelease(&qs->limit_mutex);
}

/* Can a queue that is empty take so much at once? */
bool
limits_fits(Queue *q, const Room *need)
{
	return (q->max_messages == 0 || need->messages <= q->max_messages) &&
		(q->max_bytes == 0 || need->bytes <= q->max_bytes);
}

/*
 * Adds to the totals if there is room, and a share if that is wanted; else
 * says how much is missing.
 */
static bool
try_reserve(Queue *q, const Room *need, Room *missing, bool add)
{
	QueueShared *qs = q->shared;
	bool		ok;

	missing->messages = missing->bytes = 0;
	SpinLockAcquire(&qs->limit_mutex);
	if (q->max_messages > 0)
		missing->messages = Max(0, qs->limit_messages + need->messages -
								q->max_messages);
	if (q->max_bytes > 0)
		missing->bytes = Max(0, qs->limit_bytes + need->bytes - q->max_bytes);
	ok = missing->messages == 0 && missing->bytes == 0;
	if (ok)
	{
		qs->limit_messages += need->messages;
		qs->limit_bytes += need->bytes;
		qs->limit_moves++;
		if (add)
			qs->limit_shares++;
	}
	SpinLockRelease(&qs->limit_mutex);
	return ok;
}

/* Counts what one page has, whoever has not decided about it yet */
static void
count_page(Relation rel, BlockNumber block, Room *total)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Page		page = BufferGetPage(buffer);
	OffsetNumber max;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	max = PageIsNew(page) ? InvalidOffsetNumber :
		PageGetMaxOffsetNumber(page);
	for (OffsetNumber offset = FirstOffsetNumber; offset <= max; offset++)
	{
		HeapTupleData tup;
		MessageDecider decider;

		if (!layout_item_is_message(page, offset) ||
			page_message_status(page, offset, rel, buffer, &tup,
								&decider) == MESSAGE_GONE)
			continue;
		total->messages++;
		total->bytes += message_size(tup.t_data);
	}
	UnlockReleaseBuffer(buffer);
}

/* Counts what the queue has; false when it changed, or a lock is busy */
static bool
count_queue(Queue *q, bool wait, Room *total)
{
	total->messages = total->bytes = 0;
	for (int i = 0; i < q->nsegments; i++)
	{
		QueueSegment *seg = &q->segments[i];
		Relation	rel;
		BlockNumber nblocks;

		if (seg->state == SEGMENT_FREE)
			continue;
		rel = catalog_open_segment(q, seg, wait);
		if (rel == NULL)
			return false;
		nblocks = RelationGetNumberOfBlocks(rel);
		for (BlockNumber block = 0; block < nblocks; block++)
		{
			CHECK_FOR_INTERRUPTS();
			count_page(rel, block, total);
		}
		relation_close(rel, RowExclusiveLock);
	}
	return true;
}

/* Are the totals known now?  Only if we may not wait, they may not be. */
static bool
ensure_known(Queue *q, bool wait)
{
	QueueShared *qs = q->shared;
	Room		total;

	/* nobody else keeps the totals of a queue without a place */
	if (qs->limit_known && !shmem_queue_is_private(qs))
		return true;
	while (!count_queue(q, wait, &total))
	{
		if (!wait)
			return false;
		q = catalog_queue_reload(q);
	}
	QUEUE_DEBUG_POINT("counted");
	SpinLockAcquire(&qs->limit_mutex);
	if (!qs->limit_known || shmem_queue_is_private(qs))
	{
		qs->limit_messages = total.messages;
		qs->limit_bytes = total.bytes;
		qs->limit_known = true;
	}
	SpinLockRelease(&qs->limit_mutex);
	pg_atomic_write_u32(&qs->limit_suspect, 1);
	return true;
}

/*
 * Reserves room for messages that the current subtransaction is about to
 * append.  False when there is none: *missing says how much.  To count what is
 * in the queue it may have to wait for DDL; without wait it is all missing
 * then.
 */
bool
limits_reserve(Queue *q, const Room *need, bool wait, Room *missing)
{
	Share	   *share;

	if (!ensure_known(q, wait))
	{
		*missing = *need;
		return false;
	}
	limits_prepare();
	/* one who waits has no share: the totals can be corrected meanwhile */
	share = find_share(q->shared);
	if (!try_reserve(q, need, missing, share == NULL))
	{
		pg_atomic_write_u32(&q->shared->limit_suspect, 1);
		return false;
	}
	if (share == NULL)
		share = add_share(q->shared);
	share->added.messages += need->messages;
	share->added.bytes += need->bytes;
	return true;
}

/*
 * The current subtransaction does not need room that it reserved, or has made
 * room by deletes: the totals become less at once, and more again with its
 * rollback.
 */
void
limits_give_back(Queue *q, const Room *room)
{
	Share	   *share;

	limits_prepare();
	share = my_share(q->shared);
	share->added.messages -= room->messages;
	share->added.bytes -= room->bytes;
	change(q->shared, -room->messages, -room->bytes);
}

/*
 * How much of what is in the queue only the current transaction can see.
 */
Room
limits_own(Queue *q)
{
	Room		own = {0, 0};

	for (int i = 0; i < nshares; i++)
	{
		if (shares[i].qs != q->shared)
			continue;
		own.messages += shares[i].added.messages;
		own.bytes += shares[i].added.bytes;
	}
	return own;
}

/* See limits_note_removed(), which is called under a buffer lock */
void
limits_removed(Queue *q, Page page, const OffsetNumber *offsets, int n)
{
	Share	   *share = my_share(q->shared);

	/* who made no room leaves it to a count */
	if (share == NULL)
	{
		pg_atomic_write_u32(&q->shared->limit_suspect, 1);
		return;
	}
	share->removed.messages += n;
	for (int i = 0; i < n; i++)
		share->removed.bytes +=
			message_size((HeapTupleHeader)
						 PageGetItem(page, PageGetItemId(page, offsets[i])));
}

/*
 * How much room messages take.
 */
Room
limits_room_of(HeapTuple *tuples, int n)
{
	Room		room = {n, 0};

	for (int i = 0; i < n; i++)
		room.bytes += message_size(tuples[i]->t_data);
	return room;
}

/* See limits_note_moved_within() */
void
limits_moved_within(Queue *q, HeapTuple *tuples, int n)
{
	Room		room = limits_room_of(tuples, n);
	Share	   *share;

	limits_prepare();
	share = my_share(q->shared);
	/* their deletes were noted before: it comes to nothing */
	share->removed.messages -= room.messages;
	share->removed.bytes -= room.bytes;
}

/* How long a sender may sleep, in milliseconds; 0 = its time is up */
static long
nap(TimestampTz deadline, TimestampTz watch_until)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		ms = LONGEST_NAP_MS;

	if (now >= deadline)
		return 0;
	if (deadline != DT_NOEND)
		ms = Min(ms, (deadline - now + 999) / 1000);
	if (now < watch_until)
		ms = Min(ms, CHANGE_POLL_MS);
	return (long) Max(ms, 1);
}

/*
 * Raises 40P01 when somebody waits for a lock of this transaction: he drops
 * the queue, or what he does to a segment keeps others from acking.
 */
static void
check_deadlock(Queue *q)
{
	for (int i = -1; i < q->ntables; i++)
	{
		Oid			relid = i < 0 ? q->sequence : q->segments[i].relid;
		LOCKTAG		tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
		if (!compat_lock_held(&tag, RowExclusiveLock))
			continue;
		/* what ours lets in is refused only for somebody who waits */
		if (ConditionalLockRelationOid(relid, RowShareLock))
			UnlockRelationOid(relid, RowShareLock);
		else
			ereport(ERROR,
					(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
					 errmsg("deadlock detected"),
					 errdetail("This transaction waits for room in queue "
							   "\"%s\", and another one waits for a lock "
							   "that it holds on table \"%s\".",
							   q->name, get_rel_name(relid)),
					 errhint("Send to a queue that may be full at the start "
							 "of a transaction.")));
	}
}

/* Looks and sleeps in turn until there is room, or the queue has changed */
static bool
wait_loop(Queue *q, const Room *need)
{
	QueueShared *qs = q->shared;
	uint32		changes = pg_atomic_read_u32(&qs->changes);
	TimestampTz deadline = DT_NOEND;
	TimestampTz watch_until = 0;
	Room		missing;
	long		ms;

	if (LockTimeout > 0)
		deadline = GetCurrentTimestamp() + LockTimeout * INT64CONST(1000);
	for (;;)
	{
		waiters_rearm();
		AcceptInvalidationMessages();
		if (!q->valid)
			return false;
		if (limits_reserve(q, need, true, &missing))
			return true;
		/* another one may need less, if there is room at all */
		if (missing.messages < need->messages &&
			(need->bytes == 0 || missing.bytes < need->bytes))
			waiters_wake_next_sender(qs);
		check_deadlock(q);
		ms = nap(deadline, watch_until);
		if (ms == 0)
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("canceling statement due to lock timeout"),
					 errdetail("Queue \"%s\" is full.", q->name)));
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 ms, compat_wait_event("QueueSend"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (pg_atomic_read_u32(&qs->changes) != changes)
		{
			/* its locks may be held for a moment yet */
			changes = pg_atomic_read_u32(&qs->changes);
			watch_until = GetCurrentTimestamp() + CHANGE_WATCH_USECS;
		}
	}
}

/*
 * Waits until there is room, and reserves it.  False when the definition of
 * the queue has changed meanwhile.  Can be cancelled; raises 55P03 after
 * lock_timeout.
 */
bool
limits_wait(Queue *q, const Room *need)
{
	volatile bool reserved = false;

	waiters_join_sender(q->shared);
	PG_TRY();
	{
		reserved = wait_loop(q, need);
	}
	PG_FINALLY();
	{
		/* there may be room for another one as well */
		waiters_leave(true);
	}
	PG_END_TRY();
	return reserved;
}

/*
 * Counts again, if that can be done right now, and corrects the totals.
 * Returns false when it must be tried again.
 */
bool
limits_check(Queue *q)
{
	QueueShared *qs = q->shared;
	uint64		moves;
	bool		quiet;
	bool		less = false;
	Room		total;

	SpinLockAcquire(&qs->limit_mutex);
	moves = qs->limit_moves;
	quiet = qs->limit_shares == 0;
	SpinLockRelease(&qs->limit_mutex);
	if (!quiet || !count_queue(q, false, &total))
		return false;

	SpinLockAcquire(&qs->limit_mutex);
	quiet = qs->limit_shares == 0 && qs->limit_moves == moves;
	if (quiet)
	{
		less = total.messages < qs->limit_messages ||
			total.bytes < qs->limit_bytes;
		qs->limit_messages = total.messages;
		qs->limit_bytes = total.bytes;
	}
	SpinLockRelease(&qs->limit_mutex);
	if (less)
		waiters_wake_sender(qs);
	return quiet;
}

/* Gives back what a share added.  Callback. */
static void
undo(Share *share)
{
	if (share->added.messages != 0 || share->added.bytes != 0)
		change(share->qs, -share->added.messages, -share->added.bytes);
	end_share(share->qs);
}

/* Subtracts what a share removed.  Callback. */
static void
settle(Share *share)
{
	if (share->removed.messages != 0 || share->removed.bytes != 0)
		change(share->qs, -share->removed.messages, -share->removed.bytes);
	end_share(share->qs);
}

/* End of a top-level transaction */
static void
xact_callback(XactEvent event, void *arg)
{
	if (nshares == 0 ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT &&
		 event != XACT_EVENT_PREPARE))
		return;
	debug_forbid_allocation();
	for (int i = 0; i < nshares; i++)
	{
		if (event == XACT_EVENT_COMMIT)
			settle(&shares[i]);
		else if (event == XACT_EVENT_ABORT)
			undo(&shares[i]);
		else
		{
			/* its end will not be known: count then */
			end_share(shares[i].qs);
			pg_atomic_write_u32(&shares[i].qs->limit_suspect, 1);
		}
	}
	nshares = 0;
	debug_allow_allocation();
}

/* End of a savepoint: its shares go to its parent, or are undone */
static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	int			kept = 0;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (int i = 0; i < nshares; i++)
	{
		if (shares[i].subid == subid && event == SUBXACT_EVENT_ABORT_SUB)
		{
			undo(&shares[i]);
			continue;
		}
		if (shares[i].subid == subid)
			shares[i].subid = parent;
		shares[kept++] = shares[i];
	}
	nshares = kept;
}

/*
 * Called once a process, when the library is loaded.
 */
void
limits_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
