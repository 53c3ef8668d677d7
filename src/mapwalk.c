/*
 * mapwalk.c
 *	  Walks over the pages of a segment that the ready map names.
 *
 * A caller that looks for certain messages only gives the walk what he has
 * seen: pages that have not changed since are passed over, but stay ready.
 *
 * Owns the "clear" counts of the summaries: a walk notes on its way which
 * chunks, and at its end whether the whole slot, have nothing ready on its
 * lane.  It keeps invariant 5 of readymap.c by reading the number of bumps
 * before what lies below it.
 *
 * Locks: none; the functions use atomics only.
 */
#include "postgres.h"

#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "debug.h"
#include "mapwalk.h"

/*
 * Starts a walk over the pages of a segment that are ready, on the lane or a
 * higher one, or stale, as wanted, or have a deadline before due_before.
 */
void
map_walk_begin(MapWalk *walk, MapSlot *slot, Relation rel,
			   int which, int lane, TimestampTz due_before)
{
	walk->slot = slot;
	walk->rel = rel;
	walk->next = 0;
	walk->which = which;
	walk->lane = lane;
	walk->due_before = due_before;
	walk->seen = NULL;
	walk->chunk_seen = false;
	walk->slot_clear = slot != NULL && (which & MAP_WALK_READY);
	walk->chunk_clear = false;
	walk->slot_bumps = slot ? pg_atomic_read_u64(&slot->lane[lane].bumps) : 0;
	walk->chunk_bumps = 0;
	if (slot != NULL && (which & MAP_WALK_STALE))
		pg_atomic_exchange_u32(&slot->stale, 0);
	pg_memory_barrier();

	/* only now: a page added before the count of bumps was read is walked */
	walk->npages = RelationGetNumberOfBlocks(rel);
	if (which & MAP_WALK_STALE)
		QUEUE_DEBUG_POINT("walk_begun");
}

/*
 * Ends a walk where it stands: what is stale behind it stays so, be it pages
 * that it did not come to or pages added since it began.
 */
void
map_walk_stop(MapWalk *walk)
{
	if (walk->slot == NULL || (walk->which & MAP_WALK_STALE) == 0 ||
		!map_covers(walk->slot, walk->next))
		return;
	pg_atomic_write_u32(&map_chunk(walk->slot, walk->next)->stale, 1);
	pg_memory_barrier();
	pg_atomic_write_u32(&walk->slot->stale, 1);
}

/* What the caller has seen of the chunk that the page is in, or NULL */
static MapSeenChunk *
seen_chunk(MapWalk *walk, BlockNumber block)
{
	return walk->seen == NULL ? NULL :
		walk->seen->chunk[block / MAP_CHUNK_PAGES];
}

/* Has the caller seen what is ready on the page? */
static bool
is_seen(MapWalk *walk, BlockNumber block, uint32 word)
{
	MapSeenChunk *seen = seen_chunk(walk, block);

	return seen != NULL && (word & MAP_COLD) == 0 &&
		seen->version[block % MAP_CHUNK_PAGES] == MAP_WORD_VERSION(word);
}

/* Enters a chunk; false = nothing to look at in it */
static bool
walk_enter_chunk(MapWalk *walk, MapChunk *chunk, MapSeenChunk *seen)
{
	bool		due = (TimestampTz) pg_atomic_read_u64(&chunk->due) <
	walk->due_before;
	bool		stale = false;

	walk->chunk_bumps = pg_atomic_read_u64(&chunk->lane[walk->lane].bumps);
	if (walk->which & MAP_WALK_STALE)
		stale = pg_atomic_exchange_u32(&chunk->stale, 0) != 0;
	pg_read_barrier();
	walk->chunk_clear = (walk->which & MAP_WALK_READY) != 0;
	walk->chunk_seen = seen != NULL && walk->lane == 0;
	if (walk->chunk_seen && seen->bumps == walk->chunk_bumps && !due)
	{
		walk->slot_clear = false;
		return false;
	}
	return stale || due ||
		(walk->chunk_clear &&
		 walk->chunk_bumps !=
		 pg_atomic_read_u64(&chunk->lane[walk->lane].cleared));
}

/*
 * The next page to look at, or InvalidBlockNumber.  Notes on the way which
 * chunks, and at the end whether the whole slot, have nothing ready.
 */
BlockNumber
map_walk_next(MapWalk *walk)
{
	while (walk->next < walk->npages)
	{
		BlockNumber block = walk->next;
		int			i = block % MAP_CHUNK_PAGES;
		MapChunk   *chunk;
		uint32		word;
		bool		ready;

		if (!map_covers(walk->slot, block))
		{
			walk->slot_clear = false;
			walk->next++;
			return block;
		}

		chunk = map_chunk(walk->slot, block);
		if (i == 0 && !walk_enter_chunk(walk, chunk, seen_chunk(walk, block)))
		{
			walk->next += MAP_CHUNK_PAGES;
			continue;
		}

		word = pg_atomic_read_u32(&chunk->word[i]);
		ready = (word & MAP_READY) && MAP_WORD_LANE(word) >= walk->lane;
		if (ready)
		{
			walk->chunk_clear = walk->slot_clear = false;
			ready = !is_seen(walk, block, word);
			walk->chunk_seen &= !ready;
		}
		walk->next++;
		if (walk->chunk_seen && i == MAP_CHUNK_PAGES - 1)
			seen_chunk(walk, block)->bumps = walk->chunk_bumps;
		if (walk->chunk_clear && i == MAP_CHUNK_PAGES - 1)
			pg_atomic_write_u64(&chunk->lane[walk->lane].cleared,
								walk->chunk_bumps);

		if (((walk->which & MAP_WALK_READY) && ready) ||
			((walk->which & MAP_WALK_STALE) && (word & MAP_STALE)) ||
			(TimestampTz) pg_atomic_read_u64(&chunk->page_due[i]) <
			walk->due_before)
			return block;
	}
	if (walk->slot_clear)
	{
		pg_atomic_write_u64(&walk->slot->lane[walk->lane].cleared,
							walk->slot_bumps);
		walk->slot_clear = false;
	}
	/* unless the file was cut, pages may have been added behind the walk */
	if ((walk->which & MAP_WALK_STALE) &&
		RelationGetNumberOfBlocks(walk->rel) > walk->npages)
		map_walk_stop(walk);
	return InvalidBlockNumber;
}
