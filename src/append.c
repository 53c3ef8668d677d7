/*
 * append.c
 *	  Puts new messages at the end of a chain of segments.
 *
 * Owns the choice of the page: a segment offers a few tail pages; a producer
 * takes the first that nobody else is writing to and fills it.  Pages come
 * from a range that was added to the file ahead of need, so that concurrent
 * producers do not queue up for the extension lock.  Pages are used forward
 * only, and a page found unusable is left behind.
 *
 * Also owns ids: a range of them is reserved in the queue's sequence, whose
 * WAL record precedes that of any message that uses them, and handed out from
 * shared memory.  A crash or a restart skips the rest of a range.
 *
 * In a fifo queue sessions take turns, so that ids and places ascend together,
 * and one page is filled after the other.  A turn ends with the call, not with
 * the transaction.  It begins when nothing long is left to do, and brings news
 * of the segment that is open now.
 *
 * Locks, in this order: RowExclusiveLock on the sequence, when ids are
 * reserved there, and on the segment (both kept to the end of the transaction;
 * in a fifo queue the segment comes first); in a fifo queue ExclusiveLock on
 * the parent as an object, with ORDER_LOCK_SUBID; the segment's extension
 * lock; one buffer lock; to find a slot that the segment got meanwhile,
 * queue_shmem->lock shared.
 * The spinlocks protect a few assignments each.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "port.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "admin_spi.h"
#include "append.h"
#include "debug.h"
#include "page.h"
#include "readymap.h"

/* Pages added to a file at once, at most; and how many left call for more */
#define EXTEND_MAX		128
#define EXTEND_LOW		16

/* The lock that makes those who append to a fifo queue take turns */
#define ORDER_LOCK_SUBID 1

/* How long a tail is waited for: a hundred times 50 ms */
#define TAIL_TRIES		100
#define TAIL_PAUSE_USECS 50000

/* Where one call of append_messages() writes to */
typedef struct AppendTarget
{
	Queue	   *q;
	Relation	rel;
	MapSlot    *slot;
	TailState  *tail;
	BlockNumber max_pages;		/* of the segment */
	bool		ordered;		/* of a fifo queue: one page after the other */
} AppendTarget;

/* Takes n ids from the reserved range; false when it has too few */
static bool
take_ids(QueueShared *qs, int n, int64 *first)
{
	bool		taken;

	SpinLockAcquire(&qs->id_mutex);
	taken = qs->id_end - qs->id_next >= n;
	if (taken)
	{
		*first = qs->id_next;
		qs->id_next += n;
	}
	SpinLockRelease(&qs->id_mutex);
	return taken;
}

/*
 * Makes sure that a reservation outlives a crash.  Messages of a logged queue
 * see to that with their own WAL.
 */
static void
flush_reservation(Oid sequence)
{
	Relation	rel = relation_open(sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	XLogRecPtr	lsn;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	lsn = PageGetLSN(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	relation_close(rel, NoLock);
	XLogFlush(lsn);
}

/*
 * Locks the sequence as nextval() will, for which it is an internal error that
 * the queue has been dropped meanwhile
 */
static void
lock_sequence(Queue *q)
{
	LockRelationOid(q->sequence, RowExclusiveLock);
	if (!admin_relation_exists(q->sequence))
		admin_no_such_queue(q->name);
}

/*
 * Reserves n ids, at most APPEND_MAX_IDS, and returns the first.  They ascend
 * in the order of these calls; a rollback does not give them back.
 */
int64
append_reserve_ids(Queue *q, int n)
{
	QueueShared *qs = q->shared;
	int64		first;

	Assert(n <= APPEND_MAX_IDS);
	while (!take_ids(qs, n, &first))
	{
		int64		start;

		lock_sequence(q);
		start = nextval_internal(q->sequence, false);
		if (q->unlogged)
			flush_reservation(q->sequence);
		SpinLockAcquire(&qs->id_mutex);
		if (start > qs->id_end)
			qs->id_next = start;
		if (start >= qs->id_end)
			qs->id_end = start + APPEND_MAX_IDS;
		SpinLockRelease(&qs->id_mutex);
	}
	return first;
}

/*
 * The tail of a segment without a slot: this session's own.  Where order
 * matters it is used for one call, since others append behind it.
 */
static TailState *
private_tail(RelFileNumber relnumber, BlockNumber nblocks, bool ordered)
{
	static TailState tail;
	static RelFileNumber owner = InvalidOid;

	if (owner != relnumber || ordered)
	{
		shmem_init_tail(&tail);
		tail.fresh = tail.extended = nblocks;
		owner = relnumber;
	}
	return &tail;
}

/*
 * Notices when the file became shorter behind our back.  The range is read
 * before the file's length, which is never behind it otherwise.
 */
static void
check_tail(AppendTarget *target)
{
	TailState  *tail = target->tail;
	BlockNumber extended;
	BlockNumber nblocks;

	SpinLockAcquire(&tail->mutex);
	extended = tail->extended;
	SpinLockRelease(&tail->mutex);
	nblocks = RelationGetNumberOfBlocks(target->rel);
	if (nblocks >= extended)
		return;

	/* first the pages: whoever reads the new length does not come here */
	for (int i = 0; i < QUEUE_TAIL_PAGES; i++)
		pg_atomic_write_u32(&tail->pages[i], InvalidBlockNumber);
	SpinLockAcquire(&tail->mutex);
	if (tail->extended == extended)
		tail->fresh = tail->extended = nblocks;
	SpinLockRelease(&tail->mutex);
}

/* Takes a page of the range; *left says how many remain */
static bool
take_fresh(TailState *tail, BlockNumber *block, int *left)
{
	bool		taken;

	SpinLockAcquire(&tail->mutex);
	taken = tail->fresh < tail->extended;
	if (taken)
		*block = tail->fresh++;
	*left = tail->extended - tail->fresh;
	SpinLockRelease(&tail->mutex);
	return taken;
}

/* Raises 53400: the worker has not opened a new segment */
static void
segment_full(Queue *q)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("segment of queue \"%s\" has reached its greatest size",
					q->name),
			 errhint("The queue's worker opens new segments: see that it "
					 "runs (view queue.workers, max_worker_processes).")));
}

/*
 * Adds pages to the file; the caller holds the extension lock.  When no page
 * is left to add, that is an error only if one is needed now.
 */
static void
extend(AppendTarget *target, bool needed)
{
	TailState  *tail = target->tail;
	BlockNumber nblocks = RelationGetNumberOfBlocks(target->rel);
	int			n = Min(EXTEND_MAX, nblocks / 8 + 1);

	if (nblocks >= target->max_pages)
	{
		if (needed)
			segment_full(target->q);
		return;
	}
	n = Min(n, (int) (target->max_pages - nblocks));
	/* what a call does not use would never be used */
	if (target->ordered && target->slot == NULL)
		n = 1;
	compat_extend_zeroed(target->rel, nblocks, n);
	if (target->slot != NULL)
		map_extended(target->slot, nblocks, n);

	SpinLockAcquire(&tail->mutex);
	/* pages of somebody else's extension are left alone */
	if (tail->extended != nblocks)
		tail->fresh = nblocks;
	tail->extended = nblocks + n;
	SpinLockRelease(&tail->mutex);
}

/* A page that nobody else has been given */
static BlockNumber
fresh_page(AppendTarget *target)
{
	BlockNumber block;
	int			left;

	while (!take_fresh(target->tail, &block, &left))
	{
		LockRelationForExtension(target->rel, ExclusiveLock);
		/* the one before us in the line may have extended */
		if (!take_fresh(target->tail, &block, &left))
		{
			extend(target, true);
			UnlockRelationForExtension(target->rel, ExclusiveLock);
			continue;
		}
		UnlockRelationForExtension(target->rel, ExclusiveLock);
		return block;
	}
	if (left == EXTEND_LOW && left < EXTEND_MAX &&
		ConditionalLockRelationForExtension(target->rel, ExclusiveLock))
	{
		extend(target, false);
		UnlockRelationForExtension(target->rel, ExclusiveLock);
	}
	return block;
}

/* Reads and locks a page; Invalid when wait is false and it is busy */
static Buffer
lock_page(Relation rel, BlockNumber block, bool wait)
{
	Buffer		buffer = ReadBuffer(rel, block);

	if (wait)
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	else if (!ConditionalLockBuffer(buffer))
	{
		ReleaseBuffer(buffer);
		return InvalidBuffer;
	}
	return buffer;
}

/*
 * Can a tuple that needs this much space be added to the page?  With a line
 * pointer that VACUUM made free it would not be the last one there.
 */
static bool
has_room(AppendTarget *target, Page page, Size need)
{
	if (PageIsNew(page))
		return true;
	if (target->ordered && PageHasFreeLinePointers(page))
		return false;
	return !PageIsAllVisible(page) &&
		PageGetMaxOffsetNumber(page) < RECEIPT_MAX_OFFSET &&
		PageGetHeapFreeSpace(page) >= need;
}

/*
 * A locked tail page with room for a tuple of this size.  The first tail page
 * is used unless another producer is writing to it, and so on.  Where order
 * matters there is one tail page, and it is left for good when it is full.
 */
static Buffer
tail_page(AppendTarget *target, Size need)
{
	TailState  *tail = target->tail;
	int			npages = target->ordered ? 1 : QUEUE_TAIL_PAGES;

	for (;;)
	{
		for (int i = 0; i < npages; i++)
		{
			bool		wait = i == npages - 1;
			uint32		block = pg_atomic_read_u32(&tail->pages[i]);
			Buffer		buffer;

			if (block == InvalidBlockNumber)
			{
				BlockNumber fresh = fresh_page(target);

				/* when somebody else was quicker, ours fills once */
				pg_atomic_compare_exchange_u32(&tail->pages[i], &block, fresh);
				block = fresh;
			}
			buffer = lock_page(target->rel, block, wait);
			if (!BufferIsValid(buffer))
				continue;
			if (has_room(target, BufferGetPage(buffer), need))
				return buffer;
			UnlockReleaseBuffer(buffer);
			pg_atomic_compare_exchange_u32(&tail->pages[i], &block,
										   InvalidBlockNumber);
			break;				/* look at the same place again */
		}
	}
}

/* Moves what is too long for a page out of line */
static HeapTuple
toast_message(Relation rel, HeapTuple tuple)
{
	if (tuple->t_len <= TOAST_TUPLE_THRESHOLD &&
		!HeapTupleHasExternal(tuple))
		return tuple;
	tuple = heap_toast_insert_or_update(rel, tuple, NULL,
										HEAP_INSERT_SKIP_FSM |
										HEAP_INSERT_NO_LOGICAL);
	if (MAXALIGN(tuple->t_len) > MaxHeapTupleSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("message is too long: %zu bytes of it cannot be "
						"stored out of line", (Size) tuple->t_len)));
	return tuple;
}

/* The pages that a segment may have: no more than the ready map covers */
static BlockNumber
max_pages(int chain)
{
	return chain == QUEUE_ARCHIVE_CHAIN ? RECEIPT_MAX_BLOCKS : MAP_SLOT_PAGES;
}

/* Is the segment about to reach its greatest size? */
static bool
almost_full(QueueSegment *seg)
{
	return seg->slot != NULL &&
		seg->slot->tail.extended > max_pages(seg->chain) - EXTEND_MAX;
}

/*
 * Opens the tail of a chain.  A catalog that changes under us is read again.
 * After a restore or a rewrite there is no tail until the worker made one,
 * which is waited for a while, as is a new tail when this one is full.  The
 * worker itself does not wait for the latter.
 */
static QueueSegment *
open_tail(Queue **q, int chain, Relation *rel, bool is_worker)
{
	bool		full = false;

	for (int tries = 0; tries < TAIL_TRIES;)
	{
		QueueSegment *seg = catalog_tail(*q, chain);

		full = false;
		if (seg != NULL)
		{
			*rel = catalog_open_segment(*q, seg, true);
			if (*rel != NULL && (is_worker || !almost_full(seg)))
				return seg;
			if (*rel != NULL)
			{
				relation_close(*rel, RowExclusiveLock);
				full = true;
			}
		}
		if (seg == NULL || full)
		{
			shmem_want_full_pass();
			pg_usleep(TAIL_PAUSE_USECS);
			CHECK_FOR_INTERRUPTS();
			(*q)->valid = false;
			tries++;
		}
		*q = catalog_queue_reload(*q);
	}
	if (full)
		segment_full(*q);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("queue \"%s\" has no segment to write to", (*q)->name),
			 errdetail("Its tables were restored or rewritten, and the queue's "
					   "worker has not made a new segment yet."),
			 errhint("See that the worker runs (view queue.workers, "
					 "max_worker_processes).")));
}

/* Notes when the first of the messages appended to a page expires */
static void
note_expiry(HeapTuple *tuples, int n)
{
	TimestampTz first = QUEUE_NO_EXPIRY;

	for (int i = 0; i < n; i++)
		first = Min(first, message_expires_at(tuples[i]->t_data));
	if (first != QUEUE_NO_EXPIRY)
		txn_note_expiry(first);
}

/*
 * Notes messages that were just written to a page, whose buffer lock is still
 * held.
 */
static void
note_page(AppendTarget *target, TxnPageKind kind, BlockNumber block,
		  HeapTuple *tuples, int n, TimestampTz due)
{
	int64		least = PG_INT64_MAX;
	int64		greatest = 0;
	int			lane = 0;

	for (int i = 0; i < n; i++)
	{
		MessageHead *head = message_head(tuples[i]->t_data);

		least = Min(least, head->id);
		greatest = Max(greatest, head->id);
		lane = Max(lane, queue_lane(target->q, head));
	}
	map_added_ids(target->slot, block, least, greatest);
	map_use_lane(target->slot, lane);
	txn_note_page(kind, target->q->shared, target->slot, block, n, lane, due);
	note_expiry(tuples, n);
	/* uncommitted ones keep back others that come later */
	if (target->ordered || (target->slot != NULL && target->slot->ordered))
		map_bump(target->slot, block, true, lane, QUEUE_NO_DUE);
}

/*
 * Takes the turn of this session; false, without it, when the catalog changed
 * meanwhile.  The lock brought news of each segment that is open now.
 */
static bool
begin_turn(Queue *q)
{
	LockDatabaseObject(RelationRelationId, q->relid, ORDER_LOCK_SUBID,
					   ExclusiveLock);
	if (q->valid)
		return true;
	UnlockDatabaseObject(RelationRelationId, q->relid, ORDER_LOCK_SUBID,
						 ExclusiveLock);
	return false;
}

/* Lets the next session append, long before this transaction ends */
static void
end_turn(Queue *q)
{
	UnlockDatabaseObject(RelationRelationId, q->relid, ORDER_LOCK_SUBID,
						 ExclusiveLock);
}

/* Gives messages that have none their ids, in the order of their places */
static void
number_messages(Queue *q, HeapTuple *tuples, int n)
{
	int64		id;

	if (message_head(tuples[0]->t_data)->id != 0)
		return;
	id = append_reserve_ids(q, n);
	for (int i = 0; i < n; i++)
		message_head(tuples[i]->t_data)->id = id++;
}

/*
 * Opens the tail of a chain and moves out of line what is too long.  For a
 * fifo queue's main chain this session's turn begins.
 */
static int32
open_target(AppendTarget *target, Queue *q, int chain, TxnPageKind kind,
			HeapTuple *tuples, int n)
{
	bool		ordered = q->kind == 'f' && chain == QUEUE_MAIN_CHAIN;

	for (;;)
	{
		QueueSegment *seg = open_tail(&q, chain, &target->rel,
									  kind == TXN_MOVED_IN);
		int32		life = seg->life;

		target->q = q;
		target->ordered = ordered;
		target->slot = seg->slot;
		for (int i = 0; i < n; i++)
			tuples[i] = toast_message(target->rel, tuples[i]);
		QUEUE_DEBUG_POINT("append");
		if (!ordered || begin_turn(q))
			return life;
		relation_close(target->rel, NoLock);
		q = catalog_queue_reload(q);
	}
}

/*
 * Appends n formed messages to a chain, in order, as part of the current
 * transaction.  due is the earliest visible_at among them, 0 when they can be
 * delivered at once.  Waits only for the extension lock, for a lock on the
 * segment that DDL holds, and in a fifo queue for others that append.  Those
 * that have the id 0 get theirs there.  Sets the tuples' t_self and returns
 * the life number of the segment that took them.
 */
int32
append_messages(Queue *q, int chain, TxnPageKind kind, HeapTuple *tuples,
				int n, TimestampTz due)
{
	AppendTarget target;
	TransactionId xid = GetCurrentTransactionId();
	CommandId	cid = GetCurrentCommandId(true);
	int32		life = open_target(&target, q, chain, kind, tuples, n);
	int			done = 0;

	q = target.q;
	target.max_pages = max_pages(chain);
	target.tail = target.slot != NULL ? &target.slot->tail :
		private_tail(compat_rel_number(target.rel),
					 RelationGetNumberOfBlocks(target.rel), target.ordered);
	check_tail(&target);
	if (target.ordered)
		number_messages(q, tuples, n);

	while (done < n)
	{
		Buffer		buffer;
		int			inserted;

		CHECK_FOR_INTERRUPTS();
		txn_reserve_pages(1);
		buffer = tail_page(&target, MAXALIGN(tuples[done]->t_len));
		/* who looks at the page for a new slot looks after us, or is told */
		if (target.slot == NULL)
			target.slot = map_slot_find(compat_rel_number(target.rel));
		if (target.slot != NULL)
			pg_atomic_fetch_add_u32(&target.slot->appends, 1);
		inserted = page_insert(target.rel, buffer, tuples + done, n - done,
							   xid, cid);
		if (inserted > 0 && chain != QUEUE_ARCHIVE_CHAIN)
			note_page(&target, kind, BufferGetBlockNumber(buffer),
					  tuples + done, inserted, due);
		UnlockReleaseBuffer(buffer);
		done += inserted;
	}
	if (target.ordered)
		end_turn(q);
	relation_close(target.rel, NoLock);
	return life;
}
