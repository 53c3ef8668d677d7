/*
 * filter.c
 *	  Claims of messages whose headers contain something.
 *
 * Headers may be compressed or out of line, so they are not examined under a
 * buffer lock: the ready messages of a page are copied under it, examined
 * without it, and those that fit are taken when they are still what they were
 * under a second one.
 *
 * Owns what a session remembers: for each of a few filters the version at
 * which it examined all ready messages of a page, and none was left that
 * fits.  A walk passes over such pages until their version changes, so that a
 * backlog of other messages is examined once in a session.  What is not
 * remembered is examined again, which is slow and correct.
 *
 * Invariant: a version is noted only when every message on the page that was
 * ready by the clock, read under the lock, was examined, whether this caller
 * may take it or not; and undecided ones were told to the map.  Whatever
 * becomes claimable afterwards changes the version (readymap.c).
 *
 * Locks: none of its own; filter_read() under the caller's buffer lock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "claim.h"
#include "filter.h"
#include "page.h"

/* So many filters a session remembers, and so many chunks of 1 kB for all */
#define MAX_FILTERS		8
#define MAX_CHUNKS		8192

struct Filter
{
	int32		queue_id;
	Oid			relid;			/* ids may come again, this does not */
	Jsonb	   *headers;		/* NULL: the place is free */
	uint64		used;			/* the greater the later */
	List	   *seen;			/* of MapSeen */
	int			nchunks;
	MemoryContext context;		/* of headers and seen */
};

static Filter filters[MAX_FILTERS];
static uint64 last_used = 0;

/*
 * The argument that says what headers must contain; NULL = no matter.
 */
Jsonb *
filter_from_call(FunctionCallInfo fcinfo, int argno)
{
	Jsonb	   *filter;

	if (PG_ARGISNULL(argno))
		return NULL;
	filter = PG_GETARG_JSONB_P(argno);
	if (!JB_ROOT_IS_OBJECT(filter))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"filter\" must be a JSON object")));
	return filter;
}

/* Forgets a filter and what was seen with it */
static void
forget(Filter *filter)
{
	if (filter->context != NULL)
		MemoryContextDelete(filter->context);
	memset(filter, 0, sizeof(*filter));
}

/* The filter that was not used for longest, or a free place */
static Filter *
oldest_filter(Filter *except)
{
	Filter	   *oldest = NULL;

	for (int i = 0; i < MAX_FILTERS; i++)
		if (&filters[i] != except &&
			(oldest == NULL || filters[i].used < oldest->used))
			oldest = &filters[i];
	return oldest;
}

/*
 * What this session knows of a queue and a filter.  The result stays good
 * until the next call.
 */
Filter *
filter_open(Queue *q, Jsonb *headers)
{
	Filter	   *filter;
	MemoryContext old;

	for (int i = 0; i < MAX_FILTERS; i++)
	{
		filter = &filters[i];
		if (filter->headers != NULL && filter->queue_id == q->id &&
			filter->relid == q->relid &&
			VARSIZE(filter->headers) == VARSIZE(headers) &&
			memcmp(filter->headers, headers, VARSIZE(headers)) == 0)
		{
			filter->used = ++last_used;
			return filter;
		}
	}

	filter = oldest_filter(NULL);
	forget(filter);
	filter->context = AllocSetContextCreate(TopMemoryContext, "queue filter",
											ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(filter->context);
	filter->headers = palloc(VARSIZE(headers));
	memcpy(filter->headers, headers, VARSIZE(headers));
	MemoryContextSwitchTo(old);
	filter->queue_id = q->id;
	filter->relid = q->relid;
	filter->used = ++last_used;
	return filter;
}

/* Frees what was seen of a slot that has another owner now */
static void
free_seen(Filter *filter, MapSeen *seen)
{
	for (int i = 0; i < MAP_SLOT_CHUNKS; i++)
	{
		if (seen->chunk[i] == NULL)
			continue;
		pfree(seen->chunk[i]);
		filter->nchunks--;
	}
	pfree(seen);
}

/*
 * What was seen of a segment's pages; NULL for one without a slot.  The
 * caller has the segment open.
 */
MapSeen *
filter_seen(Filter *filter, MapSlot *slot)
{
	MapSeen    *result = NULL;
	MemoryContext old;
	ListCell   *lc;

	if (slot == NULL)
		return NULL;
	foreach(lc, filter->seen)
	{
		MapSeen    *seen = lfirst(lc);

		if (!seen->slot->in_use || seen->slot->generation != seen->generation)
		{
			filter->seen = foreach_delete_current(filter->seen, lc);
			free_seen(filter, seen);
		}
		else if (seen->slot == slot)
			result = seen;
	}
	if (result != NULL)
		return result;

	old = MemoryContextSwitchTo(filter->context);
	result = palloc0(sizeof(MapSeen));
	result->slot = slot;
	result->generation = slot->generation;
	filter->seen = lappend(filter->seen, result);
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * Is a live message ready by the clock?  The caller's time is a little old;
 * others may have counted the message as ready since.
 */
static bool
is_ready(const MessageHead *head, TimestampTz now, TimestampTz *clock)
{
	if (head->visible_at <= now)
		return true;
	if (head->lease != 0)
		return false;
	if (*clock == 0)
		*clock = GetCurrentTimestamp();
	return head->visible_at <= *clock;
}

/*
 * Copies the ready messages of a page, whose exclusive lock the caller holds.
 */
void
filter_read(FilterPage *page, Queue *q, Relation rel, MapSlot *slot,
			Buffer buffer, TimestampTz now)
{
	Page		p = BufferGetPage(buffer);
	OffsetNumber max = PageIsNew(p) ? InvalidOffsetNumber :
		PageGetMaxOffsetNumber(p);
	TimestampTz clock = 0;
	MapLook		look;

	map_look_begin(&look, slot, BufferGetBlockNumber(buffer));
	page->buffer = buffer;
	page->version = look.covered ? MAP_WORD_VERSION(look.word) : 0;
	page->needs_look = look.covered && (look.word & MAP_COLD) != 0;
	page->n = 0;
	for (OffsetNumber offset = FirstOffsetNumber; offset <= max; offset++)
	{
		HeapTupleData tup;
		MessageDecider decider;
		MessageStatus status;

		if (!layout_item_is_message(p, offset))
			continue;
		status = page_message_status(p, offset, rel, buffer, &tup, &decider);
		if (status == MESSAGE_UNDECIDED)
			page->needs_look = true;
		if (status != MESSAGE_LIVE)
			continue;
		if (claim_death(q, tup.t_data, now) != DEATH_UNKNOWN ||
			page->n == (int) lengthof(page->offset))
			page->needs_look = true;
		else if (is_ready(message_head(tup.t_data), now, &clock))
		{
			page->offset[page->n] = offset;
			page->id[page->n] = message_head(tup.t_data)->id;
			page->tuple[page->n++] = heap_copytuple(&tup);
		}
	}
	page->nready = page->n;
}

/* Do the headers of a message contain those of the filter? */
static bool
fits(Filter *filter, TupleDesc desc, HeapTuple tuple)
{
	bool		isnull;
	Datum		headers = heap_getattr(tuple, Anum_msg_headers, desc, &isnull);

	return !isnull &&
		DatumGetBool(DirectFunctionCall2(jsonb_contains, headers,
										 JsonbPGetDatum(filter->headers)));
}

/*
 * Leaves those messages of the page that fit.  No lock is held.
 */
void
filter_examine(Filter *filter, FilterPage *page, TupleDesc desc)
{
	int			n = 0;

	for (int i = 0; i < page->nready; i++)
	{
		if (!fits(filter, desc, page->tuple[i]))
			continue;
		page->offset[n] = page->offset[i];
		page->id[n++] = page->id[i];
	}
	page->n = n;
}

/*
 * Is this message, of the page that is locked again, one of those that fit?
 */
bool
filter_wants(FilterPage *page, OffsetNumber offset, int64 id)
{
	for (int i = 0; i < page->n; i++)
		if (page->offset[i] == offset)
			return page->id[i] == id;
	return false;
}

/*
 * Notes that nothing that fits is left on the page, if that is so: its word
 * still has the version at which it was read, and left messages are ready.
 */
void
filter_note(Filter *filter, FilterPage *page, MapSeen *seen, uint32 version,
			int left)
{
	BlockNumber block = BufferGetBlockNumber(page->buffer);
	MapSeenChunk **chunk;

	if (seen == NULL || page->version == 0 || version != page->version ||
		left != page->nready - page->n)
		return;
	chunk = &seen->chunk[block / MAP_CHUNK_PAGES];
	if (*chunk == NULL)
	{
		int			total = 0;

		for (int i = 0; i < MAX_FILTERS; i++)
			total += filters[i].nchunks;
		if (total >= MAX_CHUNKS)
			forget(oldest_filter(filter));
		if (filter->nchunks >= MAX_CHUNKS)
			return;
		*chunk = MemoryContextAllocZero(filter->context,
										sizeof(MapSeenChunk));
		(*chunk)->bumps = PG_UINT64_MAX;
		filter->nchunks++;
	}
	(*chunk)->version[block % MAP_CHUNK_PAGES] = page->version;
}
