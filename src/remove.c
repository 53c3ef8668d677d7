/*
 * remove.c
 *	  Deletes messages on behalf of whoever manages a queue.
 *
 * Owns the deletes that are no settling of a lease: one message by its id
 * (cancel), and all of them (purge).  Both commit with the caller.
 *
 * What a look without a lock found is only a place to look at again: a
 * message is deleted in the same lock cycle that finds it live, with the id
 * and in the state wanted.  A message that another transaction is deleting or
 * has locked is waited for by cancel, with no buffer lock held, and left by
 * purge.
 *
 * Locks: RowExclusiveLock on a segment, kept to the end of the transaction
 * when something was deleted in it; one exclusive buffer lock at a time.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "browse.h"
#include "debug.h"
#include "limits.h"
#include "look.h"
#include "page.h"
#include "remove.h"
#include "txn.h"

/* What is to be done about the message at an address */
typedef enum Verdict
{
	VERDICT_GONE,				/* there is no such message any more */
	VERDICT_REFUSED,			/* leased, or deleted by this transaction */
	VERDICT_WAIT,				/* for the transaction that decides */
	VERDICT_DELETE
} Verdict;

/*
 * Where the message with this id is, by a snapshot of this moment; NULL when
 * there is none.
 */
static QueueSegment *
find_message(Queue *q, int64 id, ItemPointer address)
{
	Browse		browse = {.by_id = true,.id = id};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	QueueSegment *seg = NULL;
	HeapTuple	tuple;

	browse_begin(&browse, q, snapshot);
	tuple = browse_next(&browse);
	if (tuple != NULL)
	{
		*address = tuple->t_self;
		seg = &q->segments[browse.segment];
	}
	browse_end(&browse);
	UnregisterSnapshot(snapshot);
	return seg;
}

/* Judges what is at the address now.  Exclusive lock held. */
static Verdict
judge(Relation rel, Buffer buffer, OffsetNumber offset, int64 id,
	  HeapTuple tup, MessageDecider *decider)
{
	Page		page = BufferGetPage(buffer);
	MessageStatus status;
	MessageHead *head;

	if (PageIsNew(page) || !layout_item_is_message(page, offset))
		return VERDICT_GONE;
	status = page_message_status(page, offset, rel, buffer, tup, decider);
	head = message_head(tup->t_data);
	if (status == MESSAGE_GONE || head->id != id)
		return VERDICT_GONE;
	if (browse_state(tup->t_data, GetCurrentTimestamp()) == BROWSE_LEASED)
		return VERDICT_REFUSED;
	if (status == MESSAGE_LIVE)
		return VERDICT_DELETE;
	if (!decider->is_multi &&
		TransactionIdIsCurrentTransactionId(decider->xid))
		return VERDICT_REFUSED;
	return VERDICT_WAIT;
}

/* Notes the deletes of a page for the end of the transaction */
static void
note_removed(Queue *q, QueueSegment *seg, BlockNumber block,
			 OffsetNumber *offsets, int n)
{
	txn_note_page(TXN_REMOVED, q->shared, seg->slot, block, n,
				  MAP_TOP_LANE, 0);
	if (q->tracked)
	{
		KeyPlace	place = queue_place(q, seg, block);

		txn_note_gone(&place, offsets, n, 0);
	}
}

/*
 * Deletes the message at an address of an open segment.
 */
static Verdict
remove_at(Queue *q, QueueSegment *seg, Relation rel, ItemPointer address,
		  int64 id)
{
	BlockNumber block = ItemPointerGetBlockNumber(address);
	OffsetNumber offset = ItemPointerGetOffsetNumber(address);
	Buffer		vmbuffer = InvalidBuffer;
	Buffer		buffer;
	Verdict		verdict;

	if (block >= RelationGetNumberOfBlocks(rel))
		return VERDICT_GONE;
	txn_reserve_pages(1);
	txn_reserve_gone();
	limits_prepare_removed(q);
	buffer = ReadBuffer(rel, block);
	do
	{
		HeapTupleData tup;
		MessageDecider decider;

		CHECK_FOR_INTERRUPTS();
		(void) GetCurrentTransactionId();	/* not under a buffer lock */
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		page_prepare_delete(rel, buffer, &vmbuffer);
		verdict = judge(rel, buffer, offset, id, &tup, &decider);
		QUEUE_DEBUG_POINT("judged");
		if (verdict == VERDICT_DELETE)
		{
			page_delete(rel, buffer, &offset, 1, GetCurrentTransactionId(),
						GetCurrentCommandId(true), vmbuffer);
			note_removed(q, seg, block, &offset, 1);
			limits_note_removed(q, BufferGetPage(buffer), &offset, 1);
		}
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (verdict == VERDICT_WAIT)
			page_wait_for_decider(rel, &decider, address);
	} while (verdict == VERDICT_WAIT);
	ReleaseBuffer(buffer);
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
	return verdict;
}

/*
 * Deletes the message with this id unless it is leased.  Returns whether it
 * did.  A message that is moved to another segment meanwhile is looked for
 * again.
 */
bool
remove_message(Queue *q, int64 id)
{
	for (;;)
	{
		ItemPointerData address;
		QueueSegment *seg;
		Relation	rel;

		seg = find_message(q, id, &address);
		if (seg == NULL)
			return false;
		rel = catalog_open_segment(q, seg, true);
		if (rel != NULL)
		{
			Verdict		verdict = remove_at(q, seg, rel, &address, id);

			relation_close(rel, verdict == VERDICT_DELETE ? NoLock :
						   RowExclusiveLock);
			if (verdict != VERDICT_GONE)
				return verdict == VERDICT_DELETE;
		}
		q = catalog_queue_reload(q);
	}
}

/* Deletes what is live on one page; returns how many messages that were */
static int
remove_from_page(Queue *q, QueueSegment *seg, Relation rel, BlockNumber block,
				 Buffer *vmbuffer)
{
	Buffer		buffer = ReadBuffer(rel, block);
	TimestampTz now = GetCurrentTimestamp();
	OffsetNumber offsets[RECEIPT_MAX_OFFSET];
	PageLook	look;
	HeapTupleData tup;
	int			n = 0;

	txn_reserve_pages(1);
	txn_reserve_gone();
	limits_prepare_removed(q);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page_prepare_delete(rel, buffer, vmbuffer);
	look_begin(&look, rel, seg->slot, buffer);
	while (look_next(&look, &tup))
	{
		if (n < (int) lengthof(offsets))
			offsets[n++] = look.offset;
		else
			look_count(&look, message_head(tup.t_data), tup.t_len, now);
	}
	page_delete(rel, buffer, offsets, n, GetCurrentTransactionId(),
				GetCurrentCommandId(true), *vmbuffer);
	limits_note_removed(q, BufferGetPage(buffer), offsets, n);
	if (n > 0)
		note_removed(q, seg, block, offsets, n);
	look_end(&look);
	UnlockReleaseBuffer(buffer);
	return n;
}

/* The same for all pages of a segment */
static int64
remove_from_segment(Queue *q, QueueSegment *seg, Relation rel)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	Buffer		vmbuffer = InvalidBuffer;
	int64		removed = 0;

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		removed += remove_from_page(q, seg, rel, block, &vmbuffer);
	}
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
	return removed;
}

/*
 * Deletes all messages of a queue but those that other running transactions
 * are sending or deleting.  Returns their number.
 */
int64
remove_all(Queue *q)
{
	List	   *done = NIL;		/* lives of segments */
	int64		removed = 0;

	(void) GetCurrentTransactionId();	/* not under a buffer lock */
	for (int i = 0; i < q->nsegments; i++)
	{
		QueueSegment *seg = &q->segments[i];
		Relation	rel;
		int64		n;

		if (seg->state == SEGMENT_FREE || list_member_int(done, seg->life))
			continue;
		rel = catalog_open_segment(q, seg, true);
		if (rel == NULL)
		{
			/* the catalog changed under us */
			q = catalog_queue_reload(q);
			i = -1;
			continue;
		}
		done = lappend_int(done, seg->life);
		n = remove_from_segment(q, seg, rel);
		relation_close(rel, n > 0 ? NoLock : RowExclusiveLock);
		removed += n;
	}
	return removed;
}
