/*
 * idmap.c
 *	  Between which ids the messages of a heap page lie.
 *
 * A queue has no index, and ids are in the order of pages only roughly.  So
 * that get() and cancel() need not read the backlog, the ready map keeps for
 * each page the range of the ids on it, in four bytes: two numbers of 16 bits,
 * which count units of 256 ids from a base that the chunk has.  What is out of
 * their reach counts as lowest or highest, so that a range may be too wide and
 * is never too narrow.
 *
 * Invariants
 *	1. The ids of all messages on a page, dead ones included, lie in its range,
 *	   and in its chunk's.  A page whose range is not known may hold any id.
 *	2. Who adds a message widens the range under the page's buffer lock, before
 *	   he commits.  A look at the page, under that lock too, replaces it.
 *	3. For rows that came in without us the range is forgotten when the look
 *	   that met them undecided is repeated (readymap.c).
 *
 * Locks: none; the caller holds the page's exclusive buffer lock, except for
 * idmap_forget().
 */
#include "postgres.h"

#include "idmap.h"

/* Two ends in one word: the lower one in the low half */
#define IDS_LEAST(w)	((w) & 0xffff)
#define IDS_GREATEST(w) ((w) >> 16)
#define IDS_WORD(l, g)	((uint32) (g) << 16 | (uint32) (l))
#define IDS_NONE		IDS_WORD(0xffff, 0)
#define IDS_UNKNOWN		IDS_WORD(0, 0xffff)

/* Ids in a unit, as a power of two; and where the base lies in the range */
#define UNIT_BITS		8
#define BASE_MARGIN		0x4000

/* Nothing is known of a new chunk's pages, and nothing is on them */
void
idmap_init_chunk(MapChunk *chunk)
{
	pg_atomic_init_u64(&chunk->id_base, 0);
	pg_atomic_init_u64(&chunk->id_least, PG_INT64_MAX);
	pg_atomic_init_u64(&chunk->id_greatest, 0);
	pg_atomic_init_u32(&chunk->ids_unknown, 0);
	for (int i = 0; i < MAP_CHUNK_PAGES; i++)
		pg_atomic_init_u32(&chunk->ids[i], IDS_NONE);
}

/*
 * A page's two ends as the chunk counts them.  The first caller sets the
 * base, never 0.
 */
static uint32
unit_of(MapChunk *chunk, int64 id)
{
	uint64		base = pg_atomic_read_u64(&chunk->id_base);
	int64		unit = id >> UNIT_BITS;

	if (base == 0)
	{
		uint64		wanted = (uint64) Max(unit - BASE_MARGIN, 1);

		if (pg_atomic_compare_exchange_u64(&chunk->id_base, &base, wanted))
			base = wanted;
	}
	unit -= (int64) base;
	return (uint32) Min(Max(unit, 0), 0xffff);
}

/* Widens the chunk's own range */
static void
widen_chunk(MapChunk *chunk, int64 least, int64 greatest)
{
	uint64		old = pg_atomic_read_u64(&chunk->id_least);

	while (least < (int64) old)
		if (pg_atomic_compare_exchange_u64(&chunk->id_least, &old,
										   (uint64) least))
			break;
	old = pg_atomic_read_u64(&chunk->id_greatest);
	while (greatest > (int64) old)
		if (pg_atomic_compare_exchange_u64(&chunk->id_greatest, &old,
										   (uint64) greatest))
			break;
}

/*
 * Puts a page's word.  While a word says "unknown" the chunk counts it.
 */
static void
put(MapChunk *chunk, int i, uint32 word)
{
	uint32		old;

	if (word == IDS_UNKNOWN)
		pg_atomic_fetch_add_u32(&chunk->ids_unknown, 1);
	old = pg_atomic_exchange_u32(&chunk->ids[i], word);
	if (old == IDS_UNKNOWN)
		pg_atomic_fetch_sub_u32(&chunk->ids_unknown, 1);
}

/*
 * A page comes under the map: a new one, or one of which nothing is known.
 */
void
idmap_enter(MapChunk *chunk, int i, bool known)
{
	put(chunk, i, known ? IDS_NONE : IDS_UNKNOWN);
}

/*
 * Messages with these ids were added to the page.
 */
void
idmap_widen(MapChunk *chunk, int i, int64 least, int64 greatest)
{
	uint32		low = unit_of(chunk, least);
	uint32		high = unit_of(chunk, greatest);
	uint32		old = pg_atomic_read_u32(&chunk->ids[i]);
	uint32		new;

	widen_chunk(chunk, least, greatest);
	do
	{
		if (IDS_LEAST(old) <= low && IDS_GREATEST(old) >= high)
			return;
		new = IDS_WORD(Min(IDS_LEAST(old), low), Max(IDS_GREATEST(old), high));
	} while (!pg_atomic_compare_exchange_u32(&chunk->ids[i], &old, new));
	if (new == IDS_UNKNOWN)
		pg_atomic_fetch_add_u32(&chunk->ids_unknown, 1);
}

/*
 * A look found these ids on the page, or none: least is greater then.
 */
void
idmap_set(MapChunk *chunk, int i, int64 least, int64 greatest)
{
	uint32		word = IDS_NONE;

	if (least <= greatest)
	{
		widen_chunk(chunk, least, greatest);
		word = IDS_WORD(unit_of(chunk, least), unit_of(chunk, greatest));
	}
	if (pg_atomic_read_u32(&chunk->ids[i]) != word)
		put(chunk, i, word);
}

/*
 * There may be anything on the page.
 */
void
idmap_forget(MapChunk *chunk, int i)
{
	put(chunk, i, IDS_UNKNOWN);
}

/*
 * False only if no page of the chunk holds a message with this id.
 */
bool
idmap_chunk_may_hold(MapChunk *chunk, int64 id)
{
	return pg_atomic_read_u32(&chunk->ids_unknown) > 0 ||
		((int64) pg_atomic_read_u64(&chunk->id_least) <= id &&
		 (int64) pg_atomic_read_u64(&chunk->id_greatest) >= id);
}

/*
 * The same for one page.
 */
bool
idmap_page_may_hold(MapChunk *chunk, int i, int64 id)
{
	uint32		word = pg_atomic_read_u32(&chunk->ids[i]);
	uint32		unit;

	if (word == IDS_NONE)
		return false;
	unit = unit_of(chunk, id);
	return IDS_LEAST(word) <= unit && IDS_GREATEST(word) >= unit;
}
