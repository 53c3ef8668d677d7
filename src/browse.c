/*
 * browse.c
 *	  Reads messages without taking them.
 *
 * Owns the walk over a queue that peek(), get(), cancel() and the views make:
 * oldest segment first, page by page, the messages that a snapshot sees.  Of
 * each message the state of this moment is told, since leases are written in
 * place.  Nothing is written, so that it works on a standby too.
 *
 * Where one state is asked for, a page is passed over when the map knows that
 * no message in it is there; where one id is asked for, when it does not lie
 * between those of the page.  What the map cannot know, messages that this
 * transaction appended, is announced to it before.  During recovery there is
 * no map.
 *
 * A walk is no serializable read: it takes no predicate locks, as claims take
 * none.
 *
 * Locks: AccessShareLock on one segment at a time, kept to the end of the
 * transaction if the caller says so; a share lock on one buffer, under which
 * messages are copied and nothing is detoasted.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "browse.h"
#include "layout.h"
#include "readymap.h"
#include "txn.h"

/*
 * The state of a message at the given time.  One whose time to live is over
 * is dead, whether that was noted already or not.
 */
BrowseState
browse_state(HeapTupleHeader tup, TimestampTz now)
{
	const MessageHead *head = message_head(tup);

	if (head->lease != 0 && head->visible_at > now)
		return BROWSE_LEASED;
	if (MESSAGE_IS_DEAD(head) || message_expires_at(tup) <= now)
		return BROWSE_DEAD;
	return head->visible_at <= now ? BROWSE_READY : BROWSE_DELAYED;
}

/*
 * Opens a segment for reading.  NULL when it is gone, or, where wait is
 * false, when DDL has it locked or has changed it, or it is unlogged and this
 * is a standby: what one owner did to his queue is no reason to show nothing
 * of the others.
 */
Relation
browse_open_segment(QueueSegment *seg, bool wait)
{
	Relation	rel;

	if (wait)
		rel = try_relation_open(seg->relid, AccessShareLock);
	else
	{
		if (!ConditionalLockRelationOid(seg->relid, AccessShareLock))
			return NULL;
		rel = try_relation_open(seg->relid, NoLock);
		if (rel == NULL)
			UnlockRelationOid(seg->relid, AccessShareLock);
	}
	if (rel != NULL && RecoveryInProgress() && !RelationNeedsWAL(rel))
	{
		/* a standby has no file of it */
		relation_close(rel, AccessShareLock);
		if (!wait)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot read an unlogged queue during recovery"),
				 errdetail("Its messages are not sent to standby servers.")));
	}
	if (rel != NULL && !seg->checked)
	{
		if (!wait && layout_problem(rel, seg->layout) != NULL)
		{
			relation_close(rel, AccessShareLock);
			return NULL;
		}
		layout_check(rel, seg->layout);
		seg->checked = true;
	}
	return rel;
}

/*
 * Starts a walk over a queue.  The snapshot is registered or active until
 * browse_end(), and the queue is not looked up again meanwhile.
 */
void
browse_begin(Browse *browse, Queue *q, Snapshot snapshot)
{
	browse->q = q;
	browse->snapshot = snapshot;
	browse->now = GetCurrentTimestamp();
	browse->segment = -1;
	browse->rel = NULL;
	browse->ntuples = browse->next = 0;
	browse->context = AllocSetContextCreate(CurrentMemoryContext,
											"queue browse",
											ALLOCSET_DEFAULT_SIZES);
	(void) txn_show_own_appends(q->shared);
}

/* Closes the segment, if one is open */
static void
close_segment(Browse *browse)
{
	if (browse->rel == NULL)
		return;
	relation_close(browse->rel, browse->keep_lock ? NoLock : AccessShareLock);
	browse->rel = NULL;
	browse->keep_lock = false;
	if (browse->strategy != NULL)
		FreeAccessStrategy(browse->strategy);
	browse->strategy = NULL;
}

/* Goes on to the next segment; false when there is none */
static bool
next_segment(Browse *browse)
{
	Queue	   *q = browse->q;

	close_segment(browse);
	while (browse->rel == NULL)
	{
		QueueSegment *seg;

		if (++browse->segment >= q->nsegments)
			return false;
		seg = &q->segments[browse->segment];
		if (seg->state != SEGMENT_FREE)
			browse->rel = browse_open_segment(seg, !browse->nowait);
	}
	browse->slot = RecoveryInProgress() ? NULL :
		map_slot(browse->rel, q->id, false);
	browse->block = 0;
	browse->nblocks = RelationGetNumberOfBlocks(browse->rel);
	if (browse->nblocks > (BlockNumber) NBuffers / 4)
		browse->strategy = GetAccessStrategy(BAS_BULKREAD);
	return true;
}

/*
 * Does the map know that nothing wanted is on the page?  It does not count
 * messages that a running transaction pops: whoever asks for messages in any
 * state wants those too.
 */
static bool
can_skip(Browse *browse, BlockNumber block)
{
	MapPage		page;

	if (browse->state == BROWSE_ANY ||
		!map_read_page(browse->slot, block, &page) ||
		(page.flags & (MAP_PENDING | MAP_STALE | MAP_COLD)) != 0 ||
		page.due <= browse->now)
		return false;
	switch (browse->state)
	{
		case BROWSE_READY:
			return page.facts.ready == 0;
		case BROWSE_DELAYED:
			return page.facts.delayed == 0;
		case BROWSE_LEASED:
			return page.facts.leased == 0;
		default:
			return page.facts.dead == 0;
	}
}

/* Is this message, live or not, one of those to read? */
static bool
is_wanted(Browse *browse, HeapTupleHeader tup)
{
	if (browse->by_id && message_head(tup)->id != browse->id)
		return false;
	return browse->state == BROWSE_ANY ||
		browse->state == browse_state(tup, browse->now);
}

/* Copies the wanted messages of one page */
static void
read_page(Browse *browse, BlockNumber block)
{
	MemoryContext old = MemoryContextSwitchTo(browse->context);
	Buffer		buffer = ReadBufferExtended(browse->rel, MAIN_FORKNUM, block,
											RBM_NORMAL, browse->strategy);
	Page		page = BufferGetPage(buffer);
	OffsetNumber max_offset;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	max_offset = PageIsNew(page) ? InvalidOffsetNumber :
		PageGetMaxOffsetNumber(page);
	for (OffsetNumber offset = FirstOffsetNumber; offset <= max_offset;
		 offset++)
	{
		ItemId		lp = PageGetItemId(page, offset);
		HeapTupleData tup;

		if (!layout_item_is_message(page, offset))
			continue;
		tup.t_data = (HeapTupleHeader) PageGetItem(page, lp);
		tup.t_len = ItemIdGetLength(lp);
		tup.t_tableOid = RelationGetRelid(browse->rel);
		ItemPointerSet(&tup.t_self, block, offset);
		if (is_wanted(browse, tup.t_data) &&
			HeapTupleSatisfiesVisibility(&tup, browse->snapshot, buffer))
			browse->tuples[browse->ntuples++] = heap_copytuple(&tup);
	}
	UnlockReleaseBuffer(buffer);
	MemoryContextSwitchTo(old);
}

/*
 * The next message, or NULL at the end.  It is good, in browse->context,
 * until the next call.  A caller that hands out values which may be stored
 * out of line sets keep_lock: with the lock the segment is not truncated.
 */
HeapTuple
browse_next(Browse *browse)
{
	while (browse->next >= browse->ntuples)
	{
		BlockNumber block;

		CHECK_FOR_INTERRUPTS();
		if (browse->rel == NULL || browse->block >= browse->nblocks)
		{
			if (browse->segment >= browse->q->nsegments ||
				!next_segment(browse))
				return NULL;
			continue;
		}
		if (browse->by_id)
		{
			browse->block = map_next_with_id(browse->slot, browse->block,
											 browse->id);
			if (browse->block >= browse->nblocks)
				continue;
		}
		block = browse->block++;
		if (can_skip(browse, block))
			continue;
		MemoryContextReset(browse->context);
		browse->ntuples = browse->next = 0;
		read_page(browse, block);
	}
	return browse->tuples[browse->next++];
}

/*
 * Ends a walk, at any point.
 */
void
browse_end(Browse *browse)
{
	close_segment(browse);
	MemoryContextDelete(browse->context);
}
