/*
 * archive.c
 *	  Keeps copies of acked messages.
 *
 * A queue with the property "archive" has a third chain of segments.  Whoever
 * acks or pops messages of it appends copies there in the same transaction.
 * Owns these copies, and the decisions when a segment of the archive is
 * closed and when its time is over; rotate.c carries them out.
 *
 * Invariants
 *	- A message is in the queue or in the archive, never in both or in neither:
 *	  its copy commits with its deletion.
 *	- Nothing of an archive segment is ever delivered or counted: the catalog
 *	  keeps these segments apart from the others (Queue.nsegments), and no page
 *	  of theirs has a word in the ready map.
 *	- No row is ever changed or deleted.  A segment is closed by size or by the
 *	  age of what is in it, and truncated as a whole.
 *	- A copy's visible_at is the time of the ack.  What is in a sealed segment
 *	  was acked before sealed_at: a session that read the catalog before had
 *	  the time of its ack by then.
 *
 * Locks: those of append.c.  Copies are made under the buffer lock of the
 * page that the message is on, into memory reserved before; the rest is done
 * without one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "append.h"
#include "archive.h"
#include "layout.h"
#include "readymap.h"

/* So many copies are appended at once, memory allowing */
#define BATCH_COPIES	1000

/* Copies are kept in pieces of memory of this size */
#define PIECE_BYTES		(8 * BLCKSZ)

/* What the copies of one page can take */
#define PAGE_BYTES		(BLCKSZ + RECEIPT_MAX_OFFSET * \
						 (HEAPTUPLESIZE + MAXIMUM_ALIGNOF))

/* A segment is closed when what is in it covers this part of the interval */
#define INTERVAL_PARTS	8

/* But not before this time has passed */
#define LEAST_SPAN_USECS (5 * USECS_PER_SEC)

/* Between the ack of the last message in a segment and its sealing, at most */
#define SEAL_SLACK_USECS USECS_PER_SEC

/* Copies on their way to the archive */
struct ArchiveBatch
{
	MemoryContext context;
	TimestampTz now;			/* the time of the acks */
	char	   *piece;			/* where the next copy goes */
	Size		left;
	int			kept;			/* copies of messages that are deleted */
	int			n;				/* and of those about to be */
	int			max;
	HeapTuple  *tuple;
};

/*
 * Starts a batch of copies, NULL when the queue has no archive.
 */
ArchiveBatch *
archive_begin(Queue *q, TimestampTz now)
{
	ArchiveBatch *batch;

	if (q->archive == 0)
		return NULL;
	batch = palloc0(sizeof(ArchiveBatch));
	batch->context = AllocSetContextCreate(CurrentMemoryContext,
										   "queue archive",
										   ALLOCSET_DEFAULT_SIZES);
	batch->now = now;
	return batch;
}

/*
 * Makes room for the copies of one page, whose lock is not held yet.
 */
void
archive_page(ArchiveBatch *batch)
{
	if (batch->kept + RECEIPT_MAX_OFFSET > batch->max)
	{
		batch->max = Max(2 * batch->max, 2 * RECEIPT_MAX_OFFSET);
		batch->tuple = batch->tuple == NULL ?
			MemoryContextAlloc(batch->context,
							   batch->max * sizeof(HeapTuple)) :
			repalloc_huge(batch->tuple, batch->max * sizeof(HeapTuple));
	}
	if (batch->left < PAGE_BYTES)
	{
		batch->piece = MemoryContextAlloc(batch->context, PIECE_BYTES);
		batch->left = PIECE_BYTES;
	}
	batch->n = batch->kept;
}

/*
 * Copies a message that is about to be deleted.  Allocates nothing.
 */
void
archive_copy(ArchiveBatch *batch, HeapTuple tup)
{
	HeapTuple	copy = (HeapTuple) batch->piece;
	Size		size = HEAPTUPLESIZE + MAXALIGN(tup->t_len);

	Assert(size <= batch->left && batch->n < batch->max);
	*copy = *tup;
	copy->t_data = (HeapTupleHeader) (batch->piece + HEAPTUPLESIZE);
	memcpy(copy->t_data, tup->t_data, tup->t_len);
	batch->piece += size;
	batch->left -= size;
	batch->tuple[batch->n++] = copy;
}

/*
 * The messages copied since archive_page() were deleted.
 */
void
archive_keep(ArchiveBatch *batch)
{
	for (; batch->kept < batch->n; batch->kept++)
	{
		MessageHead *head = message_head(batch->tuple[batch->kept]->t_data);

		head->visible_at = batch->now;
		head->lease = 0;
	}
}

/* Is it time to append what was kept? */
bool
archive_is_full(ArchiveBatch *batch)
{
	return batch->kept >= BATCH_COPIES;
}

/*
 * Appends the copies to the archive in the current transaction.  Values out
 * of line are read and stored again.  The queue may be read anew.
 */
void
archive_flush(ArchiveBatch *batch, Queue *q)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	if (batch->kept > 0)
		append_messages(q, QUEUE_ARCHIVE_CHAIN, TXN_APPENDED, batch->tuple,
						batch->kept, 0);
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->context);
	batch->tuple = NULL;
	batch->piece = NULL;
	batch->left = 0;
	batch->kept = batch->n = batch->max = 0;
}

/*
 * Ends a batch.
 */
void
archive_end(ArchiveBatch *batch, Queue *q)
{
	archive_flush(batch, q);
	MemoryContextDelete(batch->context);
	pfree(batch);
}

/*
 * The time of the first ack on a page, 0 when nothing is on it.  The message
 * need not be committed.
 */
static TimestampTz
first_ack(Relation rel, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Page		page = BufferGetPage(buffer);
	TimestampTz at = 0;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page) && layout_item_is_message(page, FirstOffsetNumber))
	{
		ItemId		lp = PageGetItemId(page, FirstOffsetNumber);

		at = message_head((HeapTupleHeader) PageGetItem(page, lp))->visible_at;
	}
	UnlockReleaseBuffer(buffer);
	return at;
}

/*
 * Has a segment, smaller than the greatest, been filled for long enough?  Or
 * is the archive switched off?  The first page with a message has one of the
 * oldest; pages without any are few, since they are added 128 at most.
 */
bool
archive_wants_segment(Queue *q, Relation rel, int64 bytes)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	int64		span = Max(q->archive / INTERVAL_PARTS, LEAST_SPAN_USECS);
	TimestampTz at = 0;

	if (bytes == 0)
		return false;
	if (q->archive == 0)
		return true;
	for (BlockNumber block = 0; block < nblocks && at == 0; block++)
		at = first_ack(rel, block);
	return at != 0 && GetCurrentTimestamp() - at > span;
}

/*
 * Is all that is in the sealed segment older than the queue keeps it?
 */
bool
archive_expired(Queue *q, QueueSegment *seg)
{
	return q->archive == 0 || GetCurrentTimestamp() - seg->sealed_at >
		q->archive + SEAL_SLACK_USECS;
}

/*
 * Gives up the slot of a segment to which nothing is appended any more.  Its
 * tail is of no use, and there may be many such segments.
 */
void
archive_release_slot(Queue *q, QueueSegment *seg)
{
	MapSlot    *slot = catalog_slot(q, seg);

	if (slot == NULL || !ConditionalLockRelationOid(seg->relid, ShareLock))
		return;
	if (q->valid && map_slot_valid(slot, seg->relnumber))
		map_slot_forget(slot);
	seg->slot = NULL;
	UnlockRelationOid(seg->relid, ShareLock);
}
