/*
 * fn_stats.c
 *	  SQL function _stats(), behind the view stats.
 *
 * Owns the sums over a queue's segments.  They are those of the ready map,
 * unless it says that pages changed or became due since somebody looked: then
 * what it knows of each page is added up, and such pages are read here, up to
 * a limit a call.  Each page is counted once, from one source: the worker may
 * look at it meanwhile, and change the map's sums.  The map itself is left to
 * consumers and the worker, since who looks at a page for the map must also
 * wake those who wait for what he found.
 *
 * What cannot be told within the limit is NULL: in a large queue right after
 * a start, and on a standby, which has no map.
 *
 * Locks: AccessShareLock on one segment at a time, never waited for; a share
 * lock on one buffer.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "browse.h"
#include "catalog.h"
#include "claim.h"
#include "debug.h"
#include "guc.h"
#include "page.h"
#include "readymap.h"

PG_FUNCTION_INFO_V1(queue__stats);

/*
 * Most pages read by one call to put the counts right: those changed since
 * the worker's last look, and those that nobody looked at since the start.
 */
#define MAX_STALE_READS 32768
#define MAX_COLD_READS	4096

/* Most pages of a segment read in search of its first ready message */
#define MAX_OLDEST_READS 8

/* Columns of _stats(), in order */
typedef enum StatsColumn
{
	STATS_QUEUE,
	STATS_READY,
	STATS_DELAYED,
	STATS_LEASED,
	STATS_DEAD,
	STATS_TOTAL,
	STATS_BYTES,
	STATS_OLDEST_READY_AGE,
	STATS_COUNTERS,				/* QUEUE_COUNTERS of them */
	STATS_ENQUEUE_RATE = STATS_COUNTERS + QUEUE_COUNTERS,
	STATS_DELIVERY_RATE,
	STATS_ACK_RATE,
	STATS_WAIT_P50,
	STATS_WAIT_P99,
	STATS_PROCESSING_P50,
	STATS_PROCESSING_P99,
	STATS_COLS
} StatsColumn;

/* What the messages of one page, segment or queue come to */
typedef struct Sums
{
	int64		ready;
	int64		delayed;
	int64		leased;
	int64		dead;
	int64		bytes;
	TimestampTz oldest;			/* enqueued_at of a ready one, 0 = none */
	bool		unknown;		/* there are pages that were not read */
} Sums;

/* One call's work */
typedef struct StatsRun
{
	TimestampTz now;
	int			stale_reads;	/* left of MAX_STALE_READS */
	int			cold_reads;		/* left of MAX_COLD_READS */
} StatsRun;

/* Adds what a part comes to */
static void
add_sums(Sums *to, const Sums *from)
{
	to->ready += from->ready;
	to->delayed += from->delayed;
	to->leased += from->leased;
	to->dead += from->dead;
	to->bytes += from->bytes;
	if (from->oldest != 0 && (to->oldest == 0 || from->oldest < to->oldest))
		to->oldest = from->oldest;
	to->unknown |= from->unknown;
}

/* Adds a live message.  One that only the worker can take is not ready. */
static void
add_message(Sums *sums, Queue *q, HeapTuple tup, TimestampTz now)
{
	MessageHead *head = message_head(tup->t_data);

	sums->bytes += tup->t_len;
	switch (browse_state(tup->t_data, now))
	{
		case BROWSE_READY:
			if (head->lease != 0 && claim_over_limit(q, head->failures))
			{
				sums->leased++;
				break;
			}
			sums->ready++;
			if (sums->oldest == 0 || head->enqueued_at < sums->oldest)
				sums->oldest = head->enqueued_at;
			break;
		case BROWSE_DELAYED:
			sums->delayed++;
			break;
		case BROWSE_LEASED:
			sums->leased++;
			break;
		default:
			sums->dead++;
	}
}

/* Counts the live messages of a page */
static void
count_page(StatsRun *run, Queue *q, Relation rel, BlockNumber block,
		   Sums *sums)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Page		page = BufferGetPage(buffer);
	OffsetNumber max_offset;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	max_offset = PageIsNew(page) ? InvalidOffsetNumber :
		PageGetMaxOffsetNumber(page);
	for (OffsetNumber offset = FirstOffsetNumber; offset <= max_offset;
		 offset++)
	{
		HeapTupleData tup;
		MessageDecider decider;

		if (layout_item_is_message(page, offset) &&
			page_message_status(page, offset, rel, buffer, &tup,
								&decider) == MESSAGE_LIVE)
			add_message(sums, q, &tup, run->now);
	}
	UnlockReleaseBuffer(buffer);
}

/* Adds what the map knows of a page */
static void
add_facts(Sums *sums, const MapFacts *facts)
{
	sums->ready += facts->ready;
	sums->delayed += facts->delayed;
	sums->leased += facts->leased;
	sums->dead += facts->dead;
	sums->bytes += facts->bytes;
}

/* Counts the messages of a segment; reads what the map does not know */
static void
count_segment(StatsRun *run, Queue *q, Relation rel, MapSlot *slot,
			  Sums *sums)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);

	if (slot != NULL && pg_atomic_read_u32(&slot->stale) == 0 &&
		(TimestampTz) pg_atomic_read_u64(&slot->due) > run->now &&
		pg_atomic_read_u32(&slot->npages) >= nblocks)
	{
		sums->ready = pg_atomic_read_u64(&slot->ready);
		sums->delayed = pg_atomic_read_u64(&slot->delayed);
		sums->leased = pg_atomic_read_u64(&slot->leased);
		sums->dead = pg_atomic_read_u64(&slot->dead);
		sums->bytes = pg_atomic_read_u64(&slot->bytes);
		return;
	}
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		MapPage		page;
		bool		known = map_read_page(slot, block, &page);
		bool		cold = !known || (page.flags & MAP_COLD) != 0;
		int		   *left = cold ? &run->cold_reads : &run->stale_reads;

		if (!cold && (page.flags & MAP_STALE) == 0 && page.due > run->now)
		{
			add_facts(sums, &page.facts);
			continue;
		}
		CHECK_FOR_INTERRUPTS();
		if (*left == 0)
		{
			sums->unknown = true;
			return;
		}
		(*left)--;
		count_page(run, q, rel, block, sums);
	}
	QUEUE_DEBUG_POINT("stats_counted");
}

/*
 * When the first ready message of a segment was sent, 0 when none was found.
 * Does not look far behind pages that turn out to have none.
 */
static TimestampTz
find_oldest(StatsRun *run, Queue *q, Relation rel, MapSlot *slot)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	int			reads = 0;

	for (BlockNumber block = 0; block < nblocks; block++)
	{
		Sums		sums = {0};
		MapPage		page;

		if (map_read_page(slot, block, &page) &&
			(page.flags & MAP_READY) == 0 && page.due > run->now)
			continue;
		count_page(run, q, rel, block, &sums);
		if (sums.oldest != 0 || ++reads == MAX_OLDEST_READS)
			return sums.oldest;
	}
	return 0;
}

/* Adds the messages of one segment */
static void
sum_segment(StatsRun *run, Queue *q, QueueSegment *seg, bool want_oldest,
			Sums *total)
{
	Sums		sums = {0};
	MapSlot    *slot = NULL;
	Relation	rel = browse_open_segment(seg, false);

	if (rel == NULL)
	{
		/* being truncated, dropped, or gone */
		total->unknown = true;
		return;
	}
	if (!RecoveryInProgress())
		slot = map_slot(rel, q->id, false);
	count_segment(run, q, rel, slot, &sums);
	sums.oldest = 0;
	if (want_oldest && (sums.ready > 0 || sums.unknown))
		sums.oldest = find_oldest(run, q, rel, slot);
	relation_close(rel, AccessShareLock);
	add_sums(total, &sums);
}

/*
 * Adds up the messages of a queue.  The oldest ready one is the oldest of the
 * first of the parking chain and the first of the main chain.
 */
static void
sum_queue(StatsRun *run, Queue *q, Sums *total)
{
	bool		found[QUEUE_CHAINS] = {false};

	for (int i = 0; i < q->nsegments; i++)
	{
		QueueSegment *seg = &q->segments[i];
		Sums		sums = {0};

		if (seg->state == SEGMENT_FREE)
			continue;
		sum_segment(run, q, seg, !found[seg->chain], &sums);
		found[seg->chain] |= sums.oldest != 0;
		add_sums(total, &sums);
	}
}

/* A duration as SQL shows it, in days and time of day */
static Datum
interval_datum(int64 microseconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->day = microseconds / USECS_PER_DAY;
	interval->time = microseconds % USECS_PER_DAY;
	return IntervalPGetDatum(interval);
}

/*
 * The duration that a fraction of those counted does not exceed, by the upper
 * bound of its bucket; false when there are none.
 */
static bool
percentile(Histogram *h, double fraction, Datum *value)
{
	uint64		count[QUEUE_HISTOGRAM_BUCKETS];
	uint64		total = 0;
	uint64		below = 0;
	int			i;

	for (i = 0; i < QUEUE_HISTOGRAM_BUCKETS; i++)
		total += count[i] = pg_atomic_read_u64(&h->bucket[i]);
	if (total == 0)
		return false;
	for (i = 0; i < QUEUE_HISTOGRAM_BUCKETS - 1; i++)
	{
		below += count[i];
		if ((double) below >= fraction * (double) total)
			break;
	}
	*value = interval_datum(INT64CONST(1) << i);
	return true;
}

/* Fills the columns that are counted in shared memory */
static void
fill_shared(QueueShared *qs, Datum *values, bool *nulls)
{
	static const struct
	{
		StatsColumn column;
		QueueCounter counter;
	}			rates[] = {
		{STATS_ENQUEUE_RATE, COUNT_ENQUEUED},
		{STATS_DELIVERY_RATE, COUNT_DELIVERED},
		{STATS_ACK_RATE, COUNT_ACKED}
	};

	for (int i = 0; i < QUEUE_COUNTERS; i++)
		values[STATS_COUNTERS + i] =
			Int64GetDatum((int64) pg_atomic_read_u64(&qs->counter[i]));
	for (int i = 0; i < (int) lengthof(rates); i++)
	{
		uint64		rate = pg_atomic_read_u64(&qs->rate[rates[i].counter]);

		values[rates[i].column] = Float8GetDatum((double) rate / 1000.0);
	}
	nulls[STATS_WAIT_P50] =
		!percentile(&qs->wait_time, 0.50, &values[STATS_WAIT_P50]);
	nulls[STATS_WAIT_P99] =
		!percentile(&qs->wait_time, 0.99, &values[STATS_WAIT_P99]);
	nulls[STATS_PROCESSING_P50] =
		!percentile(&qs->processing_time, 0.50, &values[STATS_PROCESSING_P50]);
	nulls[STATS_PROCESSING_P99] =
		!percentile(&qs->processing_time, 0.99, &values[STATS_PROCESSING_P99]);
}

/* Fills the columns about messages */
static void
fill_sums(const Sums *sums, TimestampTz now, Datum *values, bool *nulls)
{
	values[STATS_READY] = Int64GetDatum(sums->ready);
	values[STATS_DELAYED] = Int64GetDatum(sums->delayed);
	values[STATS_LEASED] = Int64GetDatum(sums->leased);
	values[STATS_DEAD] = Int64GetDatum(sums->dead);
	values[STATS_TOTAL] = Int64GetDatum(sums->ready + sums->delayed +
										sums->leased + sums->dead);
	values[STATS_BYTES] = Int64GetDatum(sums->bytes);
	for (int i = STATS_READY; i <= STATS_BYTES; i++)
		nulls[i] = sums->unknown;
	if (sums->oldest == 0)
		nulls[STATS_OLDEST_READY_AGE] = true;
	else
		values[STATS_OLDEST_READY_AGE] =
			interval_datum(Max(now - sums->oldest, 0));
}

/*
 * _stats(): one row for each queue
 */
Datum
queue__stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StatsRun	run = {GetCurrentTimestamp(), MAX_STALE_READS, MAX_COLD_READS};
	ListCell   *lc;

	queue_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, catalog_queue_ids())
	{
		Queue	   *q = catalog_queue_by_id(lfirst_int(lc));
		Sums		sums = {0};
		Datum		values[STATS_COLS] = {0};
		bool		nulls[STATS_COLS] = {false};

		CHECK_FOR_INTERRUPTS();
		if (q == NULL)
			continue;
		sum_queue(&run, q, &sums);
		values[STATS_QUEUE] = CStringGetTextDatum(q->name);
		fill_sums(&sums, run.now, values, nulls);
		fill_shared(q->shared, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
							 nulls);
	}
	PG_RETURN_NULL();
}
