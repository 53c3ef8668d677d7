/*
 * readymap.c
 *	  The ready map: which heap pages may hold a message that can be claimed.
 *
 * The idea is PostgreSQL's own: as the free space map finds room without
 * looking at pages, this map finds work.  It owns, per segment, one word and
 * one deadline a page, with two levels of summary above them (chunks of 256
 * pages, the whole segment), and the counts from which the views are served.
 *
 * Invariants
 *	1. READY and PENDING both clear => no message on the page is claimable by
 *	   anybody.  Whoever makes one claimable bumps the word afterwards.
 *	2. READY is cleared only by compare-and-swap from the word that was read
 *	   before the look; a bump in between changes the version, so that the
 *	   swap fails and READY stays.
 *	3. A look that meets tuples which a running transaction decides about
 *	   sets PENDING, then notes the transaction, then clears READY, in this
 *	   order.  The worker polls the noted transactions and, when one has
 *	   ended, turns the pending pages ready.
 *	4. A page's deadline is never later than the earliest one of any live
 *	   message on it.  It is raised only by a look, under the buffer lock;
 *	   anybody may lower it.  A look whose swap fails puts back the deadline
 *	   that it replaced, which somebody may have lowered during the look.
 *	5. A summary is, for each lane, the number of bumps below it on that lane
 *	   or a higher one; "clear" is the number that somebody read before he
 *	   walked over all that lies below it and found nothing.  It is compared,
 *	   so no bump can be lost.
 *	6. A slot belongs to (database, relfilenumber).  Pages behind its page
 *	   count, or a segment without a slot, count as ready and due.  The slot
 *	   of an archive segment covers no page: nothing in it is ever claimed.
 *	7. A page's version changes whenever something on it becomes claimable,
 *	   also by the clock: a look after a deadline changes it.
 *	8. A ready page's lane is that of the highest claimable message on it, or
 *	   a higher one.  Too high costs a look, too low would be a priority
 *	   inversion, and no message is lost by either: a walk on lane 0 sees all
 *	   ready pages, and its summary counts every bump.  The other lanes count
 *	   only once they are in the slot's mask.  A page that is pending and not
 *	   ready keeps the lane of what is undecided.
 *	9. On a page of a fifo queue that is not READY no message is claimable
 *	   that the registry of keys does not know; see keys.c.  So READY is
 *	   cleared there only by looks that kept the registry up to date.
 *
 * Locks: queue_shmem->lock to assign slots and chunks; nothing else.  The
 * functions marked "callback" only use atomics.  Facts and deadlines are
 * raised under the page's exclusive buffer lock, held by the caller.
 */
#include "postgres.h"

#include "access/multixact.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "debug.h"
#include "idmap.h"
#include "keys.h"
#include "readymap.h"

/* The flags of a page that nobody has looked at, and its lane: any */
#define COLD_WORD \
	(MAP_READY | MAP_COLD | MAP_STALE | MAP_TOP_LANE << MAP_LANE_SHIFT)

/* Lowers a deadline that several processes may lower at once */
static void
lower(pg_atomic_uint64 *due, TimestampTz to)
{
	uint64		old = pg_atomic_read_u64(due);

	while (to < (TimestampTz) old)
		if (pg_atomic_compare_exchange_u64(due, &old, (uint64) to))
			break;
}

/* Takes a chunk from the free list; -1 = none left.  Lock held. */
static int
take_chunk(void)
{
	int			index = queue_shmem->free_chunk;
	MapChunk   *chunk;

	if (index < 0)
		return -1;
	chunk = &queue_shmem->chunks[index];
	queue_shmem->free_chunk = chunk->next_free;

	pg_atomic_init_u32(&chunk->stale, 0);
	pg_atomic_init_u64(&chunk->due, QUEUE_NO_DUE);
	shmem_init_lanes(chunk->lane);
	for (int i = 0; i < MAP_CHUNK_PAGES; i++)
	{
		pg_atomic_init_u32(&chunk->word[i], 0);
		pg_atomic_init_u64(&chunk->page_due[i], QUEUE_NO_DUE);
	}
	idmap_init_chunk(chunk);
	memset(chunk->facts, 0, sizeof(chunk->facts));
	return index;
}

/* Makes sure that a page of the slot has a chunk.  Lock held. */
static bool
ensure_chunk(MapSlot *slot, BlockNumber block)
{
	int			want = block / MAP_CHUNK_PAGES;
	int			index;

	if (want < slot->nchunks)
		return true;
	if (want >= MAP_SLOT_CHUNKS)
		return false;
	Assert(want == slot->nchunks);
	index = take_chunk();
	if (index < 0)
		return false;
	slot->chunk[want] = index;
	slot->nchunks = want + 1;
	return true;
}

/* Replaces the facts of a page, keeping the slot's sums right */
static void
put_facts(MapSlot *slot, MapFacts *old, const MapFacts *new)
{
#define ADD(field) \
	if (new->field != old->field) \
		pg_atomic_fetch_add_u64(&slot->field, \
								(int64) new->field - (int64) old->field)
	ADD(ready);
	ADD(delayed);
	ADD(leased);
	ADD(dead);
	ADD(bytes);
#undef ADD
	*old = *new;
}

/*
 * Counts a page as bumped in the summaries of its lane and those below.
 * Lanes that nobody uses are left out, so that this is one step as a rule.
 */
static void
bump_summaries(MapSlot *slot, MapChunk *chunk, int lane)
{
	uint32		lanes = pg_atomic_read_u32(&slot->lanes) &
		(MAP_ALL_LANES >> (MAP_TOP_LANE - lane));

	while (lanes != 0)
	{
		int			i = pg_rightmost_one_pos32(lanes);

		lanes &= lanes - 1;
		pg_atomic_fetch_add_u64(&chunk->lane[i].bumps, 1);
		pg_atomic_fetch_add_u64(&slot->lane[i].bumps, 1);
	}
}

/*
 * Enters one page behind those covered.  A cold page was there before the
 * slot and must be looked at; the others are new and empty.  Lock held.
 */
static bool
enter_page(MapSlot *slot, BlockNumber block, bool cold)
{
	static const MapFacts nothing = {0};
	MapChunk   *chunk;
	int			i = block % MAP_CHUNK_PAGES;
	uint32		old;

	if (!ensure_chunk(slot, block))
		return false;
	chunk = map_chunk(slot, block);
	old = pg_atomic_read_u32(&chunk->word[i]);
	if (old & MAP_COLD)
		pg_atomic_fetch_sub_u32(&slot->cold, 1);
	put_facts(slot, &chunk->facts[i], &nothing);
	idmap_enter(chunk, i, !cold);
	pg_atomic_write_u64(&chunk->page_due[i], cold ? 0 : QUEUE_NO_DUE);
	pg_atomic_write_u32(&chunk->word[i],
						((old & ~(MAP_FLAGS | MAP_LANE_MASK)) +
						 MAP_VERSION_1) | (cold ? COLD_WORD : 0));
	if (cold)
	{
		pg_atomic_fetch_add_u32(&slot->cold, 1);
		pg_atomic_write_u32(&chunk->stale, 1);
		pg_atomic_write_u32(&slot->stale, 1);
		lower(&chunk->due, 0);
		lower(&slot->due, 0);
		bump_summaries(slot, chunk, MAP_TOP_LANE);
	}
	return true;
}

/*
 * There was no memory for the words of pages that the file has: a walk looks
 * at them, and never notes that nothing is ready.
 */
static void
note_uncovered(MapSlot *slot)
{
	for (int lane = 0; lane < MAP_LANES; lane++)
		pg_atomic_fetch_add_u64(&slot->lane[lane].bumps, 1);
}

/* Finds a slot that no segment uses.  Lock held. */
static int
free_slot_index(void)
{
	for (int i = 0; i < queue_shmem->max_slots; i++)
		if (!queue_shmem->slots[i].in_use)
			return i;
	return -1;
}

/*
 * Takes a slot for a segment, every page of which is cold; with tail_only
 * none is covered.  Lock held.
 */
static MapSlot *
assign_slot(Relation rel, int32 queue_id, MapSlotKey *key, bool tail_only)
{
	MapSlotEntry *entry;
	MapSlot    *slot;
	BlockNumber nblocks;
	BlockNumber block;
	int			index = free_slot_index();
	bool		found;

	if (index < 0)
		return NULL;
	entry = hash_search(queue_slot_hash, key, HASH_ENTER_NULL, &found);
	if (entry == NULL)
		return NULL;
	Assert(!found);
	entry->index = index;
	slot = &queue_shmem->slots[index];

	slot->dboid = key->dboid;
	slot->relnumber = key->relnumber;
	slot->relid = RelationGetRelid(rel);
	slot->queue_id = queue_id;
	slot->generation++;
	slot->tail_only = tail_only;
	slot->assigned_at = GetCurrentTimestamp();
	slot->error_until = 0;
	slot->drained_at = 0;
	slot->unseen = true;
	slot->ordered = false;
	slot->nchunks = 0;
	slot->ndeciders = 0;
	slot->more_deciders = false;
	shmem_init_tail(&slot->tail);
	pg_atomic_write_u32(&slot->npages, 0);
	pg_atomic_write_u32(&slot->stale, 0);
	pg_atomic_write_u32(&slot->cold, 0);
	pg_atomic_write_u32(&slot->lanes, 1);
	pg_atomic_write_u64(&slot->due, QUEUE_NO_DUE);
	shmem_init_lanes(slot->lane);
	pg_atomic_write_u64(&slot->ready, 0);
	pg_atomic_write_u64(&slot->delayed, 0);
	pg_atomic_write_u64(&slot->leased, 0);
	pg_atomic_write_u64(&slot->dead, 0);
	pg_atomic_write_u64(&slot->bytes, 0);

	nblocks = RelationGetNumberOfBlocks(rel);
	for (block = 0; block < nblocks && !tail_only; block++)
		if (!enter_page(slot, block, true))
			break;
	if (block < nblocks && !tail_only)
		note_uncovered(slot);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->npages, block);
	slot->tail.fresh = slot->tail.extended = nblocks;
	slot->in_use = true;
	if ((uint32) index >= pg_atomic_read_u32(&queue_shmem->used_slots))
		pg_atomic_write_u32(&queue_shmem->used_slots, index + 1);
	return slot;
}

/*
 * The slot of this database's file, or NULL.
 */
MapSlot *
map_slot_find(RelFileNumber relnumber)
{
	MapSlotKey	key = {MyDatabaseId, relnumber};
	MapSlotEntry *entry;
	MapSlot    *slot = NULL;

	LWLockAcquire(queue_shmem->lock, LW_SHARED);
	entry = hash_search(queue_slot_hash, &key, HASH_FIND, NULL);
	if (entry)
		slot = &queue_shmem->slots[entry->index];
	LWLockRelease(queue_shmem->lock);
	return slot;
}

/*
 * Finds or assigns a segment's slot; NULL when none is free.  Never assigns
 * one during recovery: replay would make pages claimable behind the map's
 * back.
 */
static MapSlot *
find_or_assign(Relation rel, int32 queue_id, bool tail_only)
{
	MapSlotKey	key = {MyDatabaseId, compat_rel_number(rel)};
	MapSlotEntry *entry;
	MapSlot    *slot = map_slot_find(key.relnumber);

	if (slot != NULL || RecoveryInProgress())
		return slot;

	/* open the file now: nothing may fail below */
	(void) RelationGetNumberOfBlocks(rel);
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	entry = hash_search(queue_slot_hash, &key, HASH_FIND, NULL);
	if (entry)
		slot = &queue_shmem->slots[entry->index];
	else
		slot = assign_slot(rel, queue_id, &key, tail_only);
	LWLockRelease(queue_shmem->lock);
	return slot;
}

/*
 * The slot of a segment that the caller has open and locked; NULL when there
 * is none, and none is free or wanted.
 */
MapSlot *
map_slot(Relation rel, int32 queue_id, bool assign)
{
	return assign ? find_or_assign(rel, queue_id, false) :
		map_slot_find(compat_rel_number(rel));
}

/*
 * The same for a segment of the archive, of which only the tail matters.
 */
MapSlot *
map_tail_slot(Relation rel, int32 queue_id)
{
	return find_or_assign(rel, queue_id, true);
}

/* Does a remembered slot still belong to this file? */
bool
map_slot_valid(MapSlot *slot, RelFileNumber relnumber)
{
	return slot->in_use && slot->dboid == MyDatabaseId &&
		slot->relnumber == relnumber;
}

/*
 * Gives up a slot.  The caller holds an AccessExclusiveLock on the segment
 * or knows that it is gone.
 */
void
map_slot_forget(MapSlot *slot)
{
	MapSlotKey	key;

	keys_forget_slot(slot);
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	if (slot->in_use)
	{
		key.dboid = slot->dboid;
		key.relnumber = slot->relnumber;
		hash_search(queue_slot_hash, &key, HASH_REMOVE, NULL);
		slot->in_use = false;
		pg_atomic_write_u32(&slot->npages, 0);
		while (slot->nchunks > 0)
		{
			int			index = slot->chunk[--slot->nchunks];

			queue_shmem->chunks[index].next_free = queue_shmem->free_chunk;
			queue_shmem->free_chunk = index;
		}
	}
	LWLockRelease(queue_shmem->lock);
}

/*
 * The caller made the file longer by count empty pages, holds its extension
 * lock, and has not given the pages to anybody yet.
 */
void
map_extended(MapSlot *slot, BlockNumber first, BlockNumber count)
{
	BlockNumber block;

	if (slot->tail_only)
		return;
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	/* somebody else extended before us: we do not know those pages */
	for (block = pg_atomic_read_u32(&slot->npages); block < first; block++)
		if (!enter_page(slot, block, true))
			break;
	if (block >= first)
		for (block = first; block < first + count; block++)
			if (!enter_page(slot, block, false))
				break;
	if (block < first + count)
		note_uncovered(slot);
	pg_write_barrier();
	if (block > pg_atomic_read_u32(&slot->npages))
		pg_atomic_write_u32(&slot->npages, block);
	LWLockRelease(queue_shmem->lock);
}

/*
 * VACUUM made the file shorter: the pages from first on are gone, and what was
 * known of them.  The caller holds the extension lock.
 */
void
map_shortened(MapSlot *slot, BlockNumber first)
{
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	for (BlockNumber block = first;
		 block < pg_atomic_read_u32(&slot->npages); block++)
		(void) enter_page(slot, block, false);
	LWLockRelease(queue_shmem->lock);
}

/*
 * False only if no page of the segment has anything to claim on the lane or
 * a higher one, or a deadline before the given time.  Pages behind the slot
 * are the caller's business.
 */
bool
map_maybe_ready(MapSlot *slot, int lane, TimestampTz due_before)
{
	return pg_atomic_read_u64(&slot->lane[lane].bumps) !=
		pg_atomic_read_u64(&slot->lane[lane].cleared) ||
		(TimestampTz) pg_atomic_read_u64(&slot->due) < due_before;
}

/*
 * Remembers a page's word before its tuples are examined.
 */
void
map_look_begin(MapLook *look, MapSlot *slot, BlockNumber block)
{
	look->slot = slot;
	look->block = block;
	look->covered = map_covers(slot, block);
	look->left = 0;
	look->due_passed = false;
	if (look->covered)
	{
		look->word = pg_atomic_read_u32(&map_chunk(slot, block)->
										word[block % MAP_CHUNK_PAGES]);
		/* the word must be older than what we see on the page */
		pg_memory_barrier();
	}
}

/* Notes a transaction that decides about messages on a pending page */
static void
note_decider(MapSlot *slot, TransactionId xid, bool is_multi)
{
	SpinLockAcquire(&slot->deciders_mutex);
	for (int i = 0; i < slot->ndeciders; i++)
	{
		if (slot->decider[i].xid == xid &&
			slot->decider[i].is_multi == is_multi)
		{
			SpinLockRelease(&slot->deciders_mutex);
			return;
		}
	}
	if (slot->ndeciders < MAP_MAX_DECIDERS)
	{
		slot->decider[slot->ndeciders].xid = xid;
		slot->decider[slot->ndeciders].is_multi = is_multi;
		slot->ndeciders++;
	}
	else
		slot->more_deciders = true;
	SpinLockRelease(&slot->deciders_mutex);
}

/*
 * Messages on this lane are about to enter the segment, or were found in it:
 * from now on claims walk over it separately.  Pages may be ready on the lane
 * already, so the first walk goes over all of them.  slot may be NULL.
 */
void
map_use_lane(MapSlot *slot, int lane)
{
	int			nchunks;

	if (slot == NULL || (pg_atomic_read_u32(&slot->lanes) >> lane & 1) != 0)
		return;
	/* what fairness puts off is walked over by itself */
	if ((lane & 1) != 0)
		map_use_lane(slot, lane - 1);
	nchunks = slot->nchunks;
	for (int c = 0; c < nchunks; c++)
		pg_atomic_fetch_add_u64(&queue_shmem->chunks[slot->chunk[c]].
								lane[lane].bumps, 1);
	pg_atomic_fetch_add_u64(&slot->lane[lane].bumps, 1);
	pg_atomic_fetch_or_u32(&slot->lanes, 1U << lane);
}

/*
 * Somebody bumped the page's word during the look: what he knows of may have
 * been missed.
 */
static void
look_overtaken(MapLook *look, TimestampTz old_due)
{
	map_lower_due(look->slot, look->block, old_due);
	idmap_forget(map_chunk(look->slot, look->block),
				 look->block % MAP_CHUNK_PAGES);
}

/*
 * Enters what a look found.  The caller holds the page's exclusive buffer
 * lock since before map_look_begin().
 */
void
map_looked(MapLook *look, const MapResult *result)
{
	MapSlot    *slot = look->slot;
	MapChunk   *chunk;
	int			i = look->block % MAP_CHUNK_PAGES;
	uint32		old = look->word;
	uint32		new;
	TimestampTz old_due;
	bool		undecided = result->ndeciders > 0 || result->more_deciders;
	bool		keep_ready;
	int			lane;

	QUEUE_DEBUG_POINT("looked");
	if (!look->covered)
		return;
	keep_ready = result->keep_ready || (slot->ordered && !result->keys_known);
	lane = keep_ready ? result->lane : result->undecided_lane;
	map_use_lane(slot, lane);
	chunk = map_chunk(slot, look->block);
	put_facts(slot, &chunk->facts[i], &result->facts);
	idmap_set(chunk, i, result->id_least, result->id_greatest);
	old_due = (TimestampTz)
		pg_atomic_exchange_u64(&chunk->page_due[i], (uint64) result->due);
	look->due_passed = result->keep_ready && !(old & MAP_COLD) &&
		old_due <= result->now;
	if (result->due != QUEUE_NO_DUE)
	{
		lower(&chunk->due, result->due);
		lower(&slot->due, result->due);
	}

	if (undecided)
	{
		new = old | MAP_PENDING;
		if ((old & MAP_READY) == 0)
			new = (new & ~MAP_LANE_MASK) | lane << MAP_LANE_SHIFT;
		if (!pg_atomic_compare_exchange_u32(&chunk->word[i], &old, new))
		{
			look_overtaken(look, old_due);
			return;
		}
		old = new;
		for (int d = 0; d < result->ndeciders; d++)
			note_decider(slot, result->decider[d].xid,
						 result->decider[d].is_multi);
		if (result->more_deciders)
		{
			SpinLockAcquire(&slot->deciders_mutex);
			slot->more_deciders = true;
			SpinLockRelease(&slot->deciders_mutex);
		}
	}

	new = (old & ~(MAP_FLAGS | MAP_LANE_MASK)) | lane << MAP_LANE_SHIFT |
		(keep_ready ? MAP_READY : 0) |
		(undecided ? MAP_PENDING : 0);
	if (look->due_passed)
		new += MAP_VERSION_1;
	if (!pg_atomic_compare_exchange_u32(&chunk->word[i], &old, new))
	{
		look_overtaken(look, old_due);
		return;
	}
	if (look->word & MAP_COLD)
		pg_atomic_fetch_sub_u32(&slot->cold, 1);
	look->left = new;
	if ((new & MAP_READY) && (!(look->word & MAP_READY) ||
							  look->due_passed ||
							  lane > MAP_WORD_LANE(look->word)))
		bump_summaries(slot, chunk, lane);
}

/* A page's word after a bump */
static uint32
bumped(uint32 word, bool ready, int lane)
{
	uint32		new = (word + MAP_VERSION_1) | MAP_STALE;

	if (!ready)
		return new;
	if (word & MAP_READY)
		lane = Max(lane, MAP_WORD_LANE(word));
	return (new & ~MAP_LANE_MASK) | lane << MAP_LANE_SHIFT | MAP_READY;
}

/*
 * Something on the page changed: it may be claimable now (ready), on no
 * higher a lane than this one, or become so at the time due, and its facts
 * are out of date.  Callback.
 */
void
map_bump(MapSlot *slot, BlockNumber block, bool ready, int lane,
		 TimestampTz due)
{
	MapChunk   *chunk;
	pg_atomic_uint32 *word;
	uint32		old;

	if (!map_covers(slot, block))
		return;
	chunk = map_chunk(slot, block);
	word = &chunk->word[block % MAP_CHUNK_PAGES];
	old = pg_atomic_read_u32(word);
	while (!pg_atomic_compare_exchange_u32(word, &old,
										   bumped(old, ready, lane)))
		;
	if (ready)
		bump_summaries(slot, chunk, lane);
	/* only now: a look that did not see the message can raise it no more */
	if (due != QUEUE_NO_DUE)
		map_lower_due(slot, block, due);

	/* a walk clears these from the top down, so they are set bottom up */
	if (pg_atomic_read_u32(&chunk->stale) == 0)
		pg_atomic_write_u32(&chunk->stale, 1);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&slot->stale) == 0)
		pg_atomic_write_u32(&slot->stale, 1);
}

/* Has nobody looked at the page since the slot was made? */
bool
map_page_is_cold(MapSlot *slot, BlockNumber block)
{
	return map_covers(slot, block) &&
		(pg_atomic_read_u32(&map_chunk(slot, block)->
							word[block % MAP_CHUNK_PAGES]) & MAP_COLD) != 0;
}

/*
 * Did the last look find messages on the page?  True where nobody looked.
 */
bool
map_page_has_messages(MapSlot *slot, BlockNumber block)
{
	MapChunk   *chunk;
	MapFacts   *facts;
	int			i = block % MAP_CHUNK_PAGES;

	if (!map_covers(slot, block))
		return true;
	chunk = map_chunk(slot, block);
	facts = &chunk->facts[i];
	return (pg_atomic_read_u32(&chunk->word[i]) & MAP_FLAGS) != 0 ||
		facts->ready + facts->delayed + facts->leased + facts->dead > 0;
}

/*
 * Messages with ids in this range were added to the page, whose exclusive
 * buffer lock the caller holds.
 */
void
map_added_ids(MapSlot *slot, BlockNumber block, int64 least, int64 greatest)
{
	if (map_covers(slot, block))
		idmap_widen(map_chunk(slot, block), block % MAP_CHUNK_PAGES, least,
					greatest);
}

/*
 * The first page at or behind this one that may hold a message with this id.
 */
BlockNumber
map_next_with_id(MapSlot *slot, BlockNumber block, int64 id)
{
	while (map_covers(slot, block))
	{
		MapChunk   *chunk = map_chunk(slot, block);
		int			i = block % MAP_CHUNK_PAGES;

		if (i == 0 && !idmap_chunk_may_hold(chunk, id))
			block += MAP_CHUNK_PAGES;
		else if (idmap_page_may_hold(chunk, i, id))
			break;
		else
			block++;
	}
	return block;
}

/*
 * A message on the page has this deadline.  Callback.
 */
void
map_lower_due(MapSlot *slot, BlockNumber block, TimestampTz due)
{
	MapChunk   *chunk;

	if (!map_covers(slot, block))
		return;
	chunk = map_chunk(slot, block);
	lower(&chunk->page_due[block % MAP_CHUNK_PAGES], due);
	lower(&chunk->due, due);
	lower(&slot->due, due);
}

/*
 * So many leased messages of the page became dead, perhaps one that is not
 * to be kept.  The caller holds the
 * page's exclusive buffer lock, and bumps the page.
 */
void
map_count_dead(MapSlot *slot, BlockNumber block, int n, bool droppable)
{
	MapFacts   *facts;
	MapFacts	new;

	if (!map_covers(slot, block))
		return;
	facts = &map_chunk(slot, block)->facts[block % MAP_CHUNK_PAGES];
	new = *facts;
	new.leased -= Min(n, new.leased);
	new.dead = Min(new.dead + n, PG_UINT8_MAX);
	new.droppable |= droppable;
	put_facts(slot, facts, &new);
}

/*
 * Raises the summaries of deadlines that have passed to what the pages say.
 * A summary is set to "none" before what is below it is read, so that a
 * deadline lowered meanwhile is either read or lowers the summary again.
 * Only the worker calls this.
 */
void
map_recompute_due(MapSlot *slot, TimestampTz now)
{
	TimestampTz slot_due = QUEUE_NO_DUE;
	int			nchunks;

	pg_atomic_exchange_u64(&slot->due, QUEUE_NO_DUE);
	nchunks = slot->nchunks;
	for (int c = 0; c < nchunks; c++)
	{
		MapChunk   *chunk = &queue_shmem->chunks[slot->chunk[c]];
		TimestampTz due = (TimestampTz) pg_atomic_read_u64(&chunk->due);

		if (due <= now)
		{
			pg_atomic_exchange_u64(&chunk->due, QUEUE_NO_DUE);
			due = QUEUE_NO_DUE;
			for (int i = 0; i < MAP_CHUNK_PAGES; i++)
				due = Min(due, (TimestampTz)
						  pg_atomic_read_u64(&chunk->page_due[i]));
			lower(&chunk->due, due);
		}
		slot_due = Min(slot_due, due);
	}
	lower(&slot->due, slot_due);
}

/* Has the transaction, or every member of the multixact, ended? */
static bool
decider_ended(TransactionId xid, bool is_multi)
{
	if (is_multi)
		return !MultiXactIdIsRunning((MultiXactId) xid, false);
	return !TransactionIdIsInProgress(xid);
}

/* Turns every pending page of the slot ready; returns how many there were */
static int
release_pending(MapSlot *slot)
{
	BlockNumber npages = pg_atomic_read_u32(&slot->npages);
	int			turned = 0;

	for (BlockNumber block = 0; block < npages; block++)
	{
		MapChunk   *chunk = map_chunk(slot, block);
		pg_atomic_uint32 *word = &chunk->word[block % MAP_CHUNK_PAGES];
		uint32		old;

		if ((pg_atomic_read_u32(word) & MAP_PENDING) == 0)
			continue;
		old = pg_atomic_fetch_and_u32(word, ~MAP_PENDING);
		idmap_forget(chunk, block % MAP_CHUNK_PAGES);
		map_bump(slot, block, true,
				 (old & MAP_READY) ? MAP_TOP_LANE : MAP_WORD_LANE(old),
				 QUEUE_NO_DUE);
		turned++;
	}
	return turned;
}

/*
 * Turns the pending pages of a slot ready when one of the transactions that
 * were noted has ended.  With retry_all also when some could not be noted.
 * Returns the number of pages turned.
 */
int
map_resolve_pending(MapSlot *slot, bool retry_all)
{
	struct
	{
		TransactionId xid;
		bool		is_multi;
	}			decider[MAP_MAX_DECIDERS];
	int			n;
	int			turned = 0;
	bool		release;

	SpinLockAcquire(&slot->deciders_mutex);
	n = slot->ndeciders;
	memcpy(decider, slot->decider, n * sizeof(decider[0]));
	release = retry_all && slot->more_deciders;
	if (release)
		slot->more_deciders = false;
	SpinLockRelease(&slot->deciders_mutex);

	for (int i = 0; i < n; i++)
	{
		if (!decider_ended(decider[i].xid, decider[i].is_multi))
			continue;
		release = true;
		SpinLockAcquire(&slot->deciders_mutex);
		for (int j = 0; j < slot->ndeciders; j++)
		{
			if (slot->decider[j].xid == decider[i].xid &&
				slot->decider[j].is_multi == decider[i].is_multi)
			{
				slot->decider[j] = slot->decider[--slot->ndeciders];
				break;
			}
		}
		SpinLockRelease(&slot->deciders_mutex);
	}
	if (release)
		turned = release_pending(slot);
	return turned;
}
