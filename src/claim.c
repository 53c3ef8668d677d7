/*
 * claim.c
 *	  Takes messages for a consumer: by lease (dequeue) or for good (pop).
 *
 * Owns the rule of what can be claimed: a message that the active snapshot
 * sees, that no other transaction is deleting or locking, whose visible_at has
 * passed by the clock, and whose time to live has not.  That is what FOR
 * UPDATE SKIP LOCKED gives to a table, plus the lease.  A message that has
 * died is declared dead when it is met, since the worker may be down.
 *
 * A walk goes over the pages that the ready map names for one lane, oldest
 * segment first, and takes what is of that lane or a higher one.  The highest
 * lane in use comes first.  A page that somebody else is writing to is passed
 * over; before the walk says "empty" such pages are waited for, so that a call
 * never returns fewer than it was asked for while more can be claimed, nor
 * anything of a lower lane.
 *
 * Of a fair queue, the upper lane of each priority is walked over for quiet
 * tenants only.  What noisy ones have there goes to the lower lane, a bounded
 * number of pages a call, and every tenth call takes what is oldest, so that
 * nobody starves.
 *
 * With a filter a page is locked twice, since headers are not examined under
 * a lock; see filter.c.
 *
 * A lease is written in place and takes effect at once, whatever becomes of
 * the transaction.  A pop is a delete in the transaction.
 *
 * Locks: RowExclusiveLock on a segment, never waited for, kept to the end of
 * the transaction when something was taken; one exclusive buffer lock at a
 * time, under which nothing waits, detoasts, or calls other code.
 */
#include "postgres.h"

#include <math.h>

#include "access/heapam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "replication/syncrep.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "active.h"
#include "archive.h"
#include "claim.h"
#include "debug.h"
#include "disconnect.h"
#include "duration.h"
#include "filter.h"
#include "guc.h"
#include "limits.h"
#include "look.h"
#include "mapwalk.h"
#include "page.h"
#include "readymap.h"
#include "track.h"
#include "txn.h"
#include "waiters.h"

/* One call's work */
typedef struct ClaimRun
{
	Claim	   *claim;
	Snapshot	snapshot;
	TimestampTz now;
	TimestampTz visible_at;		/* of the leases taken */
	int			lane;			/* nothing below is taken in this walk */
	bool		quiet;			/* ... nor anything of noisy tenants */
	int			quiet_budget;	/* pages to look at for that */
	int64		taken;
	int			busy;			/* pages passed over since they were locked */
	XLogRecPtr	lsn;			/* of the last write */
	MemoryContext context;		/* of one page's tuples */
	Buffer		vmbuffer;		/* visibility map page, for pops */
	int			cold_budget;	/* pages never looked at that we look at */
	bool		cold_left;		/* there were more */
	Filter	   *filter;			/* NULL = none */
	FilterPage *page;			/* with a filter: what fits */
	MapSeen    *seen;			/* of the segment, or NULL */
	ArchiveBatch *archive;		/* NULL: what is popped is not kept */
	int			which;			/* pages to walk over, beside those due */
	bool		stop;			/* nothing behind this may be taken */
	int			freed;			/* messages that others can go on with */
	KeyWalk		keys;			/* of a tracked queue */
} ClaimRun;

/*
 * After a restart every page has to be looked at once.  The worker does that;
 * one call helps with so many pages in vain, then reports what it has.
 */
#define COLD_PAGES 1024

/*
 * How often a call looks for messages of its own transaction.  Another session
 * that looks at their pages at the same time hides them.
 */
#define OWN_PASSES 4

/* Of a fair queue: so many pages are looked at for quiet tenants by a call */
#define QUIET_PAGES 256

/* ... and every so many-th call takes what is oldest */
#define OLDEST_TURN 10

/* What is taken from one page */
typedef struct PageTake
{
	int			n;
	int			lane;			/* the highest of theirs */
	OffsetNumber offset[RECEIPT_MAX_OFFSET];
	bool		expired[RECEIPT_MAX_OFFSET];	/* takes over such a lease */
	HeapTupleData tuple[RECEIPT_MAX_OFFSET];	/* copies, which fill this: */
	PGAlignedBlock copies;
	Size		used;

	/* those found to be dead */
	int			ndead;
	OffsetNumber dead_offset[RECEIPT_MAX_OFFSET];
	DeathReason death[RECEIPT_MAX_OFFSET];
} PageTake;

/*
 * Would one more failure put a message over the queue's limit?
 */
bool
claim_over_limit(Queue *q, int32 failures)
{
	return q->max_attempts > 0 && failures + 1 >= q->max_attempts;
}

/*
 * How long a message waits after a failure that brought it to this count,
 * by the queue's backoff with 15 % jitter; microseconds.
 */
int64
claim_retry_delay(Queue *q, int32 failures)
{
	double		delay = (double) q->retry_delay;

	if (q->retry_backoff == 'l')
		delay *= failures;
	else if (q->retry_backoff == 'e')
		delay *= pow(2.0, Min(failures, 60) - 1);
	delay *= 0.85 + 0.30 * pg_prng_double(&pg_global_prng_state);
	return (int64) Min(delay, (double) Max(q->retry_max_delay,
										   q->retry_delay));
}

/*
 * Why a live message is to be declared dead: it failed as often as it may, or
 * its lease ended once too often, or its time to live is over.  A running
 * lease protects it from all of them.  DEATH_UNKNOWN = it is not.
 */
DeathReason
claim_death(Queue *q, HeapTupleHeader tup, TimestampTz now)
{
	MessageHead *head = message_head(tup);

	if (MESSAGE_IS_DEAD(head) || (head->lease != 0 && head->visible_at > now))
		return DEATH_UNKNOWN;
	/* one that is not leased may have failed after its next delivery began */
	if (claim_over_limit(q, head->failures - (head->lease == 0)))
		return DEATH_MAX_ATTEMPTS;
	if (message_expires_at(tup) <= now)
		return DEATH_EXPIRED;
	return DEATH_UNKNOWN;
}

/*
 * Declares the message dead; a lease that ended counts as a failure.
 */
void
claim_kill(MessageHead *head, DeathReason reason)
{
	if (head->lease != 0)
		head->failures++;
	message_set_dead(head, reason);
}

/*
 * Counts messages that were declared dead, and how many of them by the end of
 * a lease.  The worker is told when they do not stay: all go to the queue's
 * dead-letter queue, and without one the droppable ones go.
 */
void
claim_count_deaths(Queue *q, int dead, int leases, bool droppable)
{
	if (dead == 0)
		return;
	queue_count(q->shared, COUNT_EXPIRED, leases);
	queue_count(q->shared, COUNT_DEAD_LETTERED, dead);
	if (q->dead_letter[0] != '\0' || droppable)
		shmem_want_reaping(q->shared);
}

/* Decides about one live message; true = take it.  Buffer lock held. */
static bool
wanted(ClaimRun *run, PageLook *look, HeapTuple tup, MessageHead *head,
	   int ntaken)
{
	if (run->taken + ntaken >= run->claim->max)
		return false;
	if (head->visible_at > run->now)
		return false;
	if ((map_lane(head->priority) | 1) < run->lane)
		return false;
	if (run->quiet && look_is_noisy(look))
		return false;
	if (look->offset > RECEIPT_MAX_OFFSET)
		return false;
	if (run->filter != NULL &&
		!filter_wants(run->page, look->offset, head->id))
		return false;
	if (HeapTupleSatisfiesVisibility(tup, run->snapshot, look->buffer))
		return true;
	run->claim->newer = true;
	return false;
}

/* A message was found that is to be declared dead */
static void
pick_dead(ClaimRun *run, PageLook *look, PageTake *take, HeapTuple tup,
		  DeathReason reason)
{
	MessageHead copy = *message_head(tup->t_data);

	if (take->ndead < (int) lengthof(take->death))
	{
		take->dead_offset[take->ndead] = look->offset;
		take->death[take->ndead++] = reason;
		claim_kill(&copy, reason);
	}
	look_count(look, &copy, tup->t_len, run->now);
}

/* Has a lease ended that nobody took over or gave back? */
static bool
lease_expired(ClaimRun *run, const MessageHead *head)
{
	return head->lease != 0 && head->visible_at <= run->now;
}

/*
 * Copies a message that is to be taken.  The copy shows the new lease.
 */
static void
take_message(ClaimRun *run, PageLook *look, HeapTuple tup, PageTake *take)
{
	MessageHead *head = message_head(tup->t_data);
	bool		expired = lease_expired(run, head);
	HeapTuple	tuple = &take->tuple[take->n];
	MessageHead *copy;

	*tuple = *tup;
	tuple->t_data = (HeapTupleHeader) (take->copies.data + take->used);
	take->used += MAXALIGN(tup->t_len);
	Assert(take->used <= sizeof(take->copies));
	memcpy(tuple->t_data, tup->t_data, tup->t_len);
	copy = message_head(tuple->t_data);
	copy->deliveries++;
	if (expired)
		copy->failures++;
	if (!run->claim->pop)
	{
		message_set_lease_end(copy, run->now, run->visible_at);
		copy->lease = layout_new_token(head->lease);
		copy->holder = queue_release_on_disconnect ? -MyProcPid : MyProcPid;
		look_count(look, copy, tup->t_len, run->now);
	}
	take->lane = Max(take->lane, queue_lane(run->claim->q, head));
	take->offset[take->n] = ItemPointerGetOffsetNumber(&tup->t_self);
	take->expired[take->n++] = expired;
}

/*
 * Looks at every message of the page, picks and copies those to take.  The
 * page is not changed.
 */
static void
pick(ClaimRun *run, PageLook *look, PageTake *take)
{
	Queue	   *q = run->claim->q;
	HeapTupleData tup;

	while (look_next(look, &tup))
	{
		MessageHead *head = message_head(tup.t_data);
		DeathReason death = claim_death(q, tup.t_data, run->now);

		if (death != DEATH_UNKNOWN)
			pick_dead(run, look, take, &tup, death);
		else if (wanted(run, look, &tup, head, take->n))
			take_message(run, look, &tup, take);
		else
			look_count(look, head, tup.t_len, run->now);
	}
}

/*
 * The same for a tracked queue: what is wanted is told to the registry of
 * keys, which says what may be taken.
 */
static void
pick_tracked(ClaimRun *run, PageLook *look, PageTake *take)
{
	KeyPage    *keys = look->keys;
	HeapTupleData tup;

	while (look_next(look, &tup))
	{
		MessageHead *head = message_head(tup.t_data);
		DeathReason death = claim_death(run->claim->q, tup.t_data, run->now);
		KeyItem    *item;

		if (death != DEATH_UNKNOWN)
		{
			pick_dead(run, look, take, &tup, death);
			if (keys->n > 0 &&
				keys->item[keys->n - 1].offset == look->offset)
				keys->item[keys->n - 1].counted = true;
			continue;
		}
		item = keys_add(keys, look->offset, look->hash,
						look_state(look, head, run->now));
		if (item != NULL && item->state == KEY_READY)
			item->wanted = wanted(run, look, &tup, head, 0);
	}
	keys_look(keys, &run->keys, run->claim->max - run->taken);
	look->noisy_known = false;
	run->stop |= keys->limited;
	run->freed += keys->freed;

	for (int i = 0; i < keys->n; i++)
	{
		KeyItem    *item = &keys->item[i];

		/* what was found dead is counted */
		if (item->state == KEY_UNDECIDED || item->counted)
			continue;
		look_tuple(look, item->offset, &tup);
		look->hash = item->hash;
		if (item->taken)
			take_message(run, look, &tup, take);
		else
			look_count(look, message_head(tup.t_data), tup.t_len, run->now);
	}
}

/* Writes the leases of the picked messages to the page */
static void
write_leases(ClaimRun *run, PageLook *look, PageTake *take)
{
	PageWrite	write;

	page_write_begin(&write, look->rel, look->buffer);
	for (int i = 0; i < take->n; i++)
	{
		MessageHead *head = page_write_head(&write, take->offset[i]);
		MessageHead *copy = message_head(take->tuple[i].t_data);

		head->visible_at = copy->visible_at;
		head->lease = copy->lease;
		head->deliveries = copy->deliveries;
		head->failures = copy->failures;
		head->holder = copy->holder;
		head->leased_ms = copy->leased_ms;
	}
	run->lsn = page_write_end(&write);
}

/* Declares dead what was found to be */
static void
write_deaths(ClaimRun *run, PageLook *look, PageTake *take)
{
	PageWrite	write;
	int			leases = 0;
	bool		droppable = false;

	if (take->ndead == 0)
		return;
	page_write_begin(&write, look->rel, look->buffer);
	for (int i = 0; i < take->ndead; i++)
	{
		MessageHead *head = page_write_head(&write, take->dead_offset[i]);

		leases += head->lease != 0;
		claim_kill(head, take->death[i]);
		droppable |= message_is_droppable(head);
	}
	page_write_end(&write);
	claim_count_deaths(run->claim->q, take->ndead, leases, droppable);
}

/*
 * Examines one page and takes what it can.
 */
static void
take_from_page(ClaimRun *run, QueueSegment *seg, PageLook *look,
			   PageTake *take)
{
	QueueShared *qs = run->claim->q->shared;
	BlockNumber block = BufferGetBlockNumber(look->buffer);

	take->n = take->ndead = take->lane = 0;
	take->used = 0;
	if (look->keys == NULL)
		pick(run, look, take);
	else
		pick_tracked(run, look, take);
	QUEUE_DEBUG_POINT("picked");
	write_deaths(run, look, take);
	if (take->n == 0)
	{
		look_end(look);
		run->freed += look_became_ready(look);
		return;
	}

	txn_reserve_claims(take->n);
	if (run->claim->pop)
	{
		txn_reserve_pages(1);
		txn_reserve_gone();
		limits_prepare_removed(run->claim->q);
		page_delete(look->rel, look->buffer, take->offset, take->n,
					GetCurrentTransactionId(), GetCurrentCommandId(true),
					run->vmbuffer);
		limits_note_removed(run->claim->q, look->page, take->offset, take->n);
		txn_note_page(TXN_POPPED, qs, seg->slot, block, take->n, take->lane,
					  0);
		if (look->keys != NULL)
			txn_note_gone(&look->keys->place, take->offset, take->n,
						  run->keys.serial);
	}
	else
		write_leases(run, look, take);
	look_end(look);
	run->freed += look_became_ready(look);

	for (int i = 0; i < take->n; i++)
	{
		MessageHead *head = message_head(take->tuple[i].t_data);

		txn_note_claim(qs, run->claim->pop,
					   receipt_encode(seg->life, block, take->offset[i],
									  run->claim->pop ? 0 : head->lease),
					   head->id);
	}
}

/* Keeps copies of what was popped for the archive */
static void
archive_popped(ClaimRun *run, PageTake *take)
{
	archive_page(run->archive);
	for (int i = 0; i < take->n; i++)
		archive_copy(run->archive, &take->tuple[i]);
	archive_keep(run->archive);
}

/* Counts what was taken, and hands it to the caller.  No lock held. */
static void
deliver(ClaimRun *run, Relation rel, QueueSegment *seg, BlockNumber block,
		PageTake *take)
{
	Claim	   *claim = run->claim;
	QueueShared *qs = claim->q->shared;
	int			redelivered = 0;
	int			expired = 0;
	int64		waited[RECEIPT_MAX_OFFSET];
	int			first = 0;

	if (run->archive != NULL)
		archive_popped(run, take);
	for (int i = 0; i < take->n; i++)
	{
		MessageHead *head = message_head(take->tuple[i].t_data);
		int64		receipt = 0;

		if (!claim->pop)
			receipt = receipt_encode(seg->life, block, take->offset[i],
									 head->lease);
		if (head->deliveries > 1)
			redelivered++;
		else
			waited[first++] = run->now - head->enqueued_at;
		expired += take->expired[i];
		if (!claim->pop && head->holder < 0)
			disconnect_note(qs->id, receipt, head->id, head->visible_at);
		claim->sink(claim->arg, claim->q, RelationGetDescr(rel),
					&take->tuple[i], receipt);
	}
	run->taken += take->n;
	histogram_add(&qs->wait_time, waited, first);
	queue_count(qs, COUNT_DELIVERED, take->n);
	queue_count(qs, COUNT_REDELIVERED, redelivered);
	queue_count(qs, COUNT_EXPIRED, expired);
}

/* Takes what it can from a page that is locked, and stays so */
static void
take_from_locked(ClaimRun *run, Relation rel, QueueSegment *seg,
				 Buffer buffer, PageTake *take)
{
	Queue	   *q = run->claim->q;
	PageLook	look;
	KeyPage		keys;

	if (run->claim->pop)
		page_prepare_delete(rel, buffer, &run->vmbuffer);
	look_begin(&look, rel, seg->slot, buffer);
	if (q->tracked)
	{
		KeyPlace	place = queue_place(q, seg, BufferGetBlockNumber(buffer));

		look_track(&look, &keys, &place);
	}
	take_from_page(run, seg, &look, take);
	if (run->filter != NULL && take->n == run->page->n)
		filter_note(run->filter, run->page, run->seen,
					MAP_WORD_VERSION(look.map.left), look.result.facts.ready);
}

/*
 * Finds the messages of a page that fit the filter.  The page is locked, and
 * is again when the result is true; false = there is nothing to take.
 */
static bool
filter_page(ClaimRun *run, QueueSegment *seg, Relation rel, Buffer buffer)
{
	FilterPage *page = run->page;

	filter_read(page, run->claim->q, rel, seg->slot, buffer, run->now);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	filter_examine(run->filter, page, RelationGetDescr(rel));
	QUEUE_DEBUG_POINT("filtered");
	if (page->n == 0 && !page->needs_look && run->claim->q->kind != 'f')
	{
		filter_note(run->filter, page, run->seen, page->version, page->nready);
		return false;
	}
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	return true;
}

/*
 * Takes what can be taken from one page.  A busy page is counted and left
 * unless wait is set.
 */
static void
claim_page(ClaimRun *run, Relation rel, QueueSegment *seg, BlockNumber block,
		   bool wait)
{
	Queue	   *q = run->claim->q;
	MemoryContext old = MemoryContextSwitchTo(run->context);
	Buffer		buffer;
	PageTake	take;

	if (run->claim->pop)
		(void) GetCurrentTransactionId();	/* not under a buffer lock */
	buffer = ReadBuffer(rel, block);
	if (q->tracked)
		keys_walk_reserve(&run->keys);
	if (wait)
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	else if (!ConditionalLockBuffer(buffer))
	{
		ReleaseBuffer(buffer);
		run->busy++;
		MemoryContextSwitchTo(old);
		return;
	}

	take.n = 0;
	if (run->filter == NULL || filter_page(run, seg, rel, buffer))
	{
		take_from_locked(run, rel, seg, buffer, &take);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	ReleaseBuffer(buffer);

	MemoryContextSwitchTo(old);
	if (take.n > 0)
		deliver(run, rel, seg, block, &take);
	MemoryContextReset(run->context);
}

/*
 * Takes messages from one segment.  Returns false when the catalog changed
 * under us.  Of a fifo queue no ready page may be passed over.
 */
static bool
claim_segment(ClaimRun *run, QueueSegment *seg, bool wait)
{
	Queue	   *q = run->claim->q;
	TimestampTz due_before = run->now - CLAIM_GRACE_USECS;
	MapSlot    *slot = catalog_slot(q, seg);
	int64		before = run->taken;
	bool		ordered = q->kind == 'f';
	Relation	rel;
	MapWalk		walk;
	BlockNumber block;

	if (seg->state == SEGMENT_FREE)
		return true;
	if (seg->restored)
	{
		/* the worker is about to clear its leases, also one of ours */
		shmem_want_full_pass();
		run->stop = ordered;
		return true;
	}
	if (slot != NULL && !map_maybe_ready(slot, run->lane, due_before))
		return true;
	if (slot != NULL && run->which == 0 &&
		(TimestampTz) pg_atomic_read_u64(&slot->due) >= due_before)
		return true;
	rel = catalog_open_segment(q, seg, false);
	if (rel == NULL)
	{
		run->claim->locked |= q->valid;
		run->stop = ordered && q->valid;
		return q->valid;
	}

	map_walk_begin(&walk, seg->slot, rel, run->which, run->lane, due_before);
	/* who skips what does not fit would not know that its key is waiting */
	if (run->filter != NULL && !ordered)
		walk.seen = run->seen = filter_seen(run->filter, seg->slot);
	while (run->taken < run->claim->max && !run->stop &&
		   (block = map_walk_next(&walk)) != InvalidBlockNumber)
	{
		CHECK_FOR_INTERRUPTS();
		QUEUE_DEBUG_POINT("claim_page");
		if (run->quiet && run->quiet_budget-- <= 0)
			break;
		if (map_page_is_cold(seg->slot, block) && run->cold_budget-- <= 0)
		{
			run->cold_left = true;
			run->stop = ordered;
			break;
		}
		claim_page(run, rel, seg, block, wait || ordered);
	}
	if (BufferIsValid(run->vmbuffer))
	{
		ReleaseBuffer(run->vmbuffer);
		run->vmbuffer = InvalidBuffer;
	}
	relation_close(rel, run->taken > before ? NoLock : RowExclusiveLock);
	return true;
}

/*
 * The highest lane below this one on which any segment may have messages, or
 * -1.  What is in a segment without a slot is not known.
 */
static int
next_lane(Queue *q, int below)
{
	uint32		lanes = 1;

	for (int i = 0; i < q->nsegments; i++)
	{
		MapSlot    *slot = catalog_slot(q, &q->segments[i]);

		if (slot != NULL)
			lanes |= pg_atomic_read_u32(&slot->lanes);
		else if (q->priorities && q->segments[i].state != SEGMENT_FREE)
			lanes |= MAP_ALL_LANES;
	}
	lanes &= (1U << below) - 1;
	return lanes == 0 ? -1 : pg_leftmost_one_pos32(lanes);
}

/* Takes from one segment after the other until there are enough */
static void
walk_segments(ClaimRun *run, bool wait)
{
	for (int i = 0; i < run->claim->q->nsegments; i++)
	{
		if (run->taken >= run->claim->max || run->stop)
			return;
		if (!claim_segment(run, &run->claim->q->segments[i], wait))
		{
			run->claim->q = catalog_queue_reload(run->claim->q);
			i = -1;
		}
	}
}

/*
 * Takes from one lane after the other.  What is on pages that were not looked
 * at may be of a higher lane than all that is known.
 */
static void
walk_lanes(ClaimRun *run)
{
	QueueShared *qs = run->claim->q->shared;
	bool		fair = queue_is_fair(run->claim->q) &&
		pg_atomic_fetch_add_u32(&qs->turns, 1) % OLDEST_TURN !=
		OLDEST_TURN - 1;
	/* order goes before priority */
	int			lane = run->claim->q->kind == 'f' ? 1 : MAP_LANES;

	while (run->taken < run->claim->max && lane > 0 && !run->cold_left &&
		   !run->stop && (lane = next_lane(run->claim->q, lane)) >= 0)
	{
		run->quiet = fair && (lane & 1) != 0;
		if (queue_is_fair(run->claim->q) && !fair)
			lane &= ~1;
		run->lane = lane;
		run->busy = 0;
		walk_segments(run, false);
		QUEUE_DEBUG_POINT("first_pass");
		if (run->taken < run->claim->max && run->busy > 0)
			walk_segments(run, true);
	}
}

/*
 * Prepares the claim on a tracked queue.  When nothing may be taken it looks
 * at least for leases that ended without the worker's notice.
 */
static bool
begin_tracked(ClaimRun *run)
{
	keys_walk_begin(&run->keys);
	if (run->claim->q->max_in_flight == 0)
		return true;
	if (!track_count(&run->claim->q))
		return false;
	if (track_is_full(run->claim->q))
	{
		run->which = 0;
		walk_segments(run, false);
		run->which = MAP_WALK_READY;
		run->stop = false;
	}
	return !track_is_full(run->claim->q);
}

/* Waits until a write is on disk, here and where commits wait for it */
static void
make_durable(XLogRecPtr lsn)
{
	XLogFlush(lsn);
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(lsn, true);
	RESUME_INTERRUPTS();
}

/*
 * Sessions agree on who is active, whose turn a key is, and how much may be in
 * flight, by what is in shared memory.  Raises 53400 when the queue has no
 * place there.
 */
static void
require_place(Queue *q)
{
	if ((q->single_active || q->kind == 'f' || q->max_in_flight > 0) &&
		shmem_queue_is_private(q->shared))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("queue \"%s\" has no place in shared memory", q->name),
				 errdetail("A queue %s needs one.",
						   q->kind == 'f' ? "of kind fifo" :
						   q->single_active ? "with single_active" :
						   "with max_in_flight"),
				 errhint("Increase queue.max_queues.")));
}

/*
 * Takes up to claim->max messages and hands each to the sink, without waiting
 * for any.  Returns their number.
 */
int64
claim_messages(Claim *claim)
{
	ClaimRun	run = {0};

	claim->newer = claim->locked = false;
	require_place(claim->q);
	if (claim->q->single_active && !active_become(claim->q->shared))
		return 0;
	run.claim = claim;
	run.snapshot = GetActiveSnapshot();
	run.now = GetCurrentTimestamp();
	run.visible_at = timestamp_plus(run.now, claim->visibility);
	run.vmbuffer = InvalidBuffer;
	run.cold_budget = COLD_PAGES;
	run.quiet_budget = QUIET_PAGES;
	run.which = MAP_WALK_READY;
	run.context = AllocSetContextCreate(CurrentMemoryContext, "queue claim",
										ALLOCSET_DEFAULT_SIZES);

	if (claim->pop)
		run.archive = archive_begin(claim->q, run.now);

	if (claim->filter != NULL)
	{
		run.filter = filter_open(claim->q, claim->filter);
		run.page = palloc(sizeof(FilterPage));
	}

	run.stop = claim->q->tracked && !begin_tracked(&run);
	for (int i = 0; i < OWN_PASSES && run.taken < claim->max; i++)
	{
		bool		own = txn_show_own_appends(claim->q->shared);
		int64		before = run.taken;

		QUEUE_DEBUG_POINT("own_shown");
		if (i > 0 && claim->q->tracked)
			keys_walk_again(&run.keys);
		walk_lanes(&run);
		if (!own || (i > 0 && run.taken == before))
			break;
	}
	if (run.freed > 0)
		waiters_announce(claim->q->shared, run.freed);

	MemoryContextDelete(run.context);
	if (run.archive != NULL)
		archive_end(run.archive, claim->q);
	/* the worker looks once a second without being told */
	if (run.taken > 0 && !claim->pop && claim->visibility < USECS_PER_SEC)
		shmem_wake_worker_before(run.visible_at);
	if (queue_durable_claims && !XLogRecPtrIsInvalid(run.lsn))
		make_durable(run.lsn);
	return run.taken;
}

/*
 * Is there perhaps a ready message, after a walk that found none?  Then it is
 * newer than the caller's snapshot.
 */
bool
claim_something_newer(Queue *q)
{
	if (q->single_active && !active_is_me(q->shared, MyProcPid))
		return false;
	if (q->tracked && track_is_full(q))
		return false;
	for (int i = 0; i < q->nsegments; i++)
	{
		MapSlot    *slot = catalog_slot(q, &q->segments[i]);

		if (slot != NULL && map_maybe_ready(slot, 0, 0))
			return true;
	}
	return false;
}
