/*
 * track.c
 *	  Counts the leases of a queue, for max_in_flight.
 *
 * While a queue's leases are in the registry of keys, it knows their number.
 * After a start of the server, and after a change of the queue's definition or
 * of the file of a segment, they have to be found first: the next claim looks
 * at every page that may have some, once, and takes nothing before.  Others
 * that come meanwhile take nothing either.
 *
 * Locks: RowExclusiveLock on a segment, not waited for; one exclusive buffer
 * lock at a time.
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/timestamp.h"

#include "debug.h"
#include "look.h"
#include "track.h"
#include "waiters.h"

/* So often it is begun again when something changed meanwhile */
#define COUNT_TRIES 3

/*
 * Are as many messages leased as the queue allows?
 */
bool
track_is_full(Queue *q)
{
	return q->max_in_flight > 0 &&
		pg_atomic_read_u32(&q->shared->in_flight) >=
		(uint32) q->max_in_flight;
}

/* Looks at one page and takes nothing */
static void
look_at_page(Queue *q, QueueSegment *seg, Relation rel, BlockNumber block)
{
	KeyPlace	place = queue_place(q, seg, block);
	TimestampTz now = GetCurrentTimestamp();
	Buffer		buffer = ReadBuffer(rel, block);
	PageLook	look;
	KeyPage		keys;
	HeapTupleData tup;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	look_begin(&look, rel, seg->slot, buffer);
	look_track(&look, &keys, &place);
	while (look_next(&look, &tup))
		look_count(&look, message_head(tup.t_data), tup.t_len, now);
	look_end(&look);
	UnlockReleaseBuffer(buffer);
}

/*
 * May the page have a lease that is not registered?  A page that somebody is
 * taking messages from is ready, or its deadline has passed, until its facts
 * say what he took.
 */
static bool
may_have_leases(QueueSegment *seg, BlockNumber block)
{
	MapPage		page;

	if (!map_read_page(seg->slot, block, &page))
		return true;
	pg_read_barrier();
	return page.flags != 0 || page.due <= GetCurrentTimestamp() ||
		(map_read_page(seg->slot, block, &page) && page.facts.leased > 0);
}

/* Finds the leases of a segment; false when it cannot be opened now */
static bool
count_segment(Queue *q, QueueSegment *seg)
{
	Relation	rel;
	BlockNumber nblocks;

	if (seg->state == SEGMENT_FREE)
		return true;
	if (seg->restored)
	{
		shmem_want_full_pass();
		return false;
	}
	rel = catalog_open_segment(q, seg, false);
	if (rel == NULL)
		return false;
	nblocks = RelationGetNumberOfBlocks(rel);
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (may_have_leases(seg, block))
			look_at_page(q, seg, rel, block);
	}
	relation_close(rel, RowExclusiveLock);
	return true;
}

/*
 * Finds all leases of the queue, unless that has become another's to do: a
 * change of the queue lets the next session begin while we still count.
 */
static bool
count_leases(Queue *q)
{
	/* a fifo queue's registry is right as far as it goes */
	if (q->kind != 'f')
		keys_count_anew(q->shared);
	QUEUE_DEBUG_POINT("leases_forgotten");
	for (int i = 0; i < q->nsegments; i++)
		if (!count_segment(q, &q->segments[i]))
			return false;
	QUEUE_DEBUG_POINT("leases_counted");
	return true;
}

/*
 * One attempt to count; false when somebody else is counting, or a segment is
 * locked or about to be adopted.
 */
static bool
try_to_count(Queue *q)
{
	bool		counted;

	if (!keys_begin_count(q->shared))
		return false;
	/* an abort calls keys_abandon_count() */
	counted = count_leases(q);
	keys_end_count(counted);
	return counted;
}

/*
 * Makes sure that the number of leases is known.  False when that is not
 * possible: then nothing can be taken now.
 */
bool
track_count(Queue **q)
{
	QueueShared *qs = (*q)->shared;

	if (pg_atomic_read_u32(&qs->counted) == KEYS_COUNTED)
		return true;
	/* the first time slots may have to be adopted */
	for (int i = 0; i < COUNT_TRIES; i++)
	{
		if (!try_to_count(*q))
			return false;
		*q = catalog_queue_reload(*q);
		if (pg_atomic_read_u32(&qs->counted) == KEYS_COUNTED)
		{
			/* whoever came meanwhile went to sleep */
			waiters_wake(qs, PG_INT32_MAX);
			return true;
		}
	}
	return false;
}
