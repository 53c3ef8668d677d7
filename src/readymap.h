/*
 * readymap.h
 *	  The ready map: which heap pages may hold a message that can be claimed.
 *
 * See readymap.c for the invariants.
 */
#ifndef QUEUE_READYMAP_H
#define QUEUE_READYMAP_H

#include "utils/relcache.h"

#include "shmem.h"

/* A page's word: flags in the low bits, a version in the others */
#define MAP_READY		0x01	/* may hold a claimable message */
#define MAP_PENDING		0x02	/* a running transaction decides */
#define MAP_STALE		0x04	/* facts are out of date */
#define MAP_COLD		0x08	/* never looked at since the slot was made */
#define MAP_FLAGS		0x0f
#define MAP_LANE_SHIFT	4		/* then the lane, of five bits */
#define MAP_LANE_MASK	0x1f0
#define MAP_VERSION_1	0x200

#define MAP_TOP_LANE	(MAP_LANES - 1)
#define MAP_ALL_LANES	((1U << MAP_LANES) - 1)

/* The version in a page's word; it is never 0 */
#define MAP_WORD_VERSION(word) ((word) / MAP_VERSION_1 + 1)

/* The lane that a page's word names */
#define MAP_WORD_LANE(word) \
	((int) (((word) & MAP_LANE_MASK) >> MAP_LANE_SHIFT))

/* The lane of a message; priority may be anything in a row of other origin */
static inline int
map_lane(int priority)
{
	return Min(Max(priority, 0), 9) * 2;
}

/*
 * What a look at a page saw before it began: hand it back to map_looked().
 * covered is false for a page without a word, which is always looked at.
 */
typedef struct MapLook
{
	MapSlot    *slot;
	BlockNumber block;
	bool		covered;
	uint32		word;
	uint32		left;			/* what map_looked() made of it, or 0 */
	bool		due_passed;		/* the time of something left there has come */
} MapLook;

/* What the look found */
typedef struct MapResult
{
	MapFacts	facts;
	TimestampTz due;			/* earliest deadline, QUEUE_NO_DUE = none */
	int64		id_least;		/* of all messages on the page, dead or not */
	int64		id_greatest;
	TimestampTz now;			/* by which messages were ready */
	bool		keep_ready;		/* something claimable is left */
	int			lane;			/* the highest of what is */
	int			undecided_lane; /* the highest of what is undecided */
	bool		keys_known;		/* the registry of keys knows the others */
	int			ndeciders;		/* transactions that decide about others */
	bool		more_deciders;
	struct
	{
		TransactionId xid;
		bool		is_multi;
	}			decider[4];
} MapResult;

/* What the map says about one page, for the views */
typedef struct MapPage
{
	uint32		flags;
	TimestampTz due;
	MapFacts	facts;
} MapPage;

extern MapSlot *map_slot(Relation rel, int32 queue_id, bool assign);
extern MapSlot *map_tail_slot(Relation rel, int32 queue_id);
extern MapSlot *map_slot_find(RelFileNumber relnumber);
extern bool map_slot_valid(MapSlot *slot, RelFileNumber relnumber);
extern void map_slot_forget(MapSlot *slot);
extern void map_extended(MapSlot *slot, BlockNumber first, BlockNumber count);
extern void map_shortened(MapSlot *slot, BlockNumber first);

extern bool map_maybe_ready(MapSlot *slot, int lane, TimestampTz due_before);

extern void map_look_begin(MapLook *look, MapSlot *slot, BlockNumber block);
extern void map_looked(MapLook *look, const MapResult *result);

extern void map_use_lane(MapSlot *slot, int lane);
extern void map_bump(MapSlot *slot, BlockNumber block, bool ready, int lane,
					 TimestampTz due);
extern bool map_page_is_cold(MapSlot *slot, BlockNumber block);
extern bool map_page_has_messages(MapSlot *slot, BlockNumber block);
extern void map_added_ids(MapSlot *slot, BlockNumber block, int64 least,
						  int64 greatest);
extern BlockNumber map_next_with_id(MapSlot *slot, BlockNumber block,
									int64 id);
extern void map_lower_due(MapSlot *slot, BlockNumber block, TimestampTz due);
extern void map_count_dead(MapSlot *slot, BlockNumber block, int n,
						   bool droppable);
extern void map_recompute_due(MapSlot *slot, TimestampTz now);
extern int	map_resolve_pending(MapSlot *slot, bool retry_all);

/* The part of the map that a page's word is in */
static inline MapChunk *
map_chunk(MapSlot *slot, BlockNumber block)
{
	return &queue_shmem->chunks[slot->chunk[block / MAP_CHUNK_PAGES]];
}

/* Has the page a word?  slot may be NULL. */
static inline bool
map_covers(MapSlot *slot, BlockNumber block)
{
	return slot != NULL && block < pg_atomic_read_u32(&slot->npages);
}

/* Has the segment pages without a word? */
static inline bool
map_is_partial(MapSlot *slot)
{
	return slot->tail.extended > pg_atomic_read_u32(&slot->npages);
}

/*
 * Copies what the map says about a page of a segment that the caller has
 * locked; false when it has no word.  The facts are steady only under the
 * page's buffer lock.
 */
static inline bool
map_read_page(MapSlot *slot, BlockNumber block, MapPage *page)
{
	int			i = block % MAP_CHUNK_PAGES;
	MapChunk   *chunk;

	if (!map_covers(slot, block))
		return false;
	chunk = map_chunk(slot, block);
	page->flags = pg_atomic_read_u32(&chunk->word[i]) & MAP_FLAGS;
	page->due = (TimestampTz) pg_atomic_read_u64(&chunk->page_due[i]);
	page->facts = chunk->facts[i];
	return true;
}

#endif							/* QUEUE_READYMAP_H */
