/*
 * settle.c
 *	  What a consumer, or the worker for him, does with a lease.
 *
 * A receipt is believed only under the exclusive lock of the page that it
 * names, in the same lock cycle as the write: the item is a message, live,
 * and carries the receipt's token.  Anything else is a stale receipt, which
 * is no error.
 *
 * ack deletes in the caller's transaction.  nack, release, reject and extend
 * are written in place: they take effect at once and are not undone by a
 * rollback, like the lease that they change.
 *
 * A message whose row somebody else has locked or is deleting is waited for,
 * with no buffer lock held, and looked at again: the outcome decides.
 *
 * Locks: RowExclusiveLock on the segment, kept to the end of the transaction
 * after an ack; one exclusive buffer lock at a time.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "archive.h"
#include "claim.h"
#include "debug.h"
#include "disconnect.h"
#include "duration.h"
#include "limits.h"
#include "page.h"
#include "readymap.h"
#include "reasons.h"
#include "settle.h"
#include "txn.h"
#include "waiters.h"

/* So often a message that is moved under our hands is looked for again */
#define MAX_MOVES		8

/* One call's work */
typedef struct Settle
{
	Queue	   *q;
	SettleKind	kind;
	int64		delay;			/* microseconds, or SETTLE_DEFAULT_DELAY */
	const char *reason;			/* of a failure, NULL = none was given */
	TimestampTz now;
	int			done;
	int			nstale;			/* receipts that fitted nothing */
	int64	   *stale;
	ArchiveBatch *archive;		/* NULL: what is acked is not kept */
} Settle;

/* What was decided about the receipts of one page */
typedef struct PageSettle
{
	int			nmatches;
	OffsetNumber offset[RECEIPT_MAX_OFFSET];
	TimestampTz leased_at[RECEIPT_MAX_OFFSET];
	int			lane;			/* the highest of the messages' */
	bool		must_wait;		/* for decider, about the message at self */
	MessageDecider decider;
	ItemPointerData self;
} PageSettle;

/*
 * Finds out which receipts of a page fit.  Those that do not go to the list
 * of stale ones.  Stops at the first that must be waited for.
 */
static void
match_page(Settle *s, Relation rel, Buffer buffer, const int64 *receipts,
		   int n, PageSettle *ps)
{
	Page		page = BufferGetPage(buffer);
	int			nstale = s->nstale;

	ps->nmatches = 0;
	ps->lane = 0;
	ps->must_wait = false;
	for (int i = 0; i < n; i++)
	{
		Receipt		r = receipt_decode(receipts[i]);
		HeapTupleData tup;
		MessageStatus status = MESSAGE_GONE;

		if (!PageIsNew(page) && layout_item_is_message(page, r.offset))
			status = page_message_status(page, r.offset, rel, buffer, &tup,
										 &ps->decider);
		if (status != MESSAGE_GONE &&
			(r.token == 0 || message_head(tup.t_data)->lease != r.token))
			status = MESSAGE_GONE;
		if (status == MESSAGE_UNDECIDED &&
			!ps->decider.is_multi &&
			TransactionIdIsCurrentTransactionId(ps->decider.xid))
			status = MESSAGE_GONE;	/* our own ack came first */
		if (status == MESSAGE_UNDECIDED)
		{
			ps->must_wait = true;
			ps->self = tup.t_self;
			s->nstale = nstale;
			return;
		}
		if (status == MESSAGE_LIVE)
		{
			MessageHead *head = message_head(tup.t_data);

			ps->leased_at[ps->nmatches] = message_leased_at(head);
			ps->lane = Max(ps->lane, queue_lane(s->q, head));
			ps->offset[ps->nmatches++] = r.offset;
			if (s->archive != NULL)
				archive_copy(s->archive, &tup);
		}
		else
			s->stale[s->nstale++] = receipts[i];
	}
}

/*
 * Changes one message's fixed part in place.  When its time to live ended
 * during the lease, giving it back is too late.
 */
static void
change_head(Settle *s, MessageHead *head, TimestampTz expires_at)
{
	int64		delay = Max(s->delay, 0);
	bool		dead;

	switch (s->kind)
	{
		case SETTLE_EXTEND:
			message_set_lease_end(head, message_leased_at(head),
								  timestamp_plus(s->now, delay));
			return;
		case SETTLE_RELEASE:
			head->visible_at = timestamp_plus(s->now, delay);
			break;
		case SETTLE_NACK:
			dead = claim_over_limit(s->q, head->failures);
			head->failures++;
			if (dead)
			{
				message_set_dead(head, DEATH_MAX_ATTEMPTS);
				return;
			}
			if (s->delay < 0)
				delay = claim_retry_delay(s->q, head->failures);
			/* not later than it was: who read the clock before must see it */
			if (delay > 0 || head->visible_at > s->now)
				head->visible_at = timestamp_plus(s->now, delay);
			break;
		case SETTLE_REJECT:
			message_set_dead(head, DEATH_REJECTED);
			return;
		case SETTLE_ACK:
			Assert(false);
	}
	head->lease = 0;
	head->holder = 0;
	if (expires_at <= s->now)
		message_set_dead(head, DEATH_EXPIRED);
}

/*
 * Tells the registry of keys what became of the messages of a page.  Returns
 * how many waiters to wake.
 */
static int
note_changes(Settle *s, QueueSegment *seg, Buffer buffer, PageSettle *ps)
{
	Page		page = BufferGetPage(buffer);
	KeyPlace	place = queue_place(s->q, seg, BufferGetBlockNumber(buffer));
	KeyPage		keys;

	keys_page_begin(&keys, &place);
	for (int i = 0; i < ps->nmatches; i++)
	{
		ItemId		lp = PageGetItemId(page, ps->offset[i]);
		HeapTupleHeader tup = (HeapTupleHeader) PageGetItem(page, lp);
		MessageHead *head = message_head(tup);
		KeyState	state = KEY_READY;

		if (MESSAGE_IS_DEAD(head))
			state = KEY_DEAD;
		else if (head->visible_at > s->now)
			state = head->lease != 0 ? KEY_LEASED : KEY_DELAYED;
		keys_add(&keys, ps->offset[i], keys_hash(tup, ItemIdGetLength(lp)),
				 state);
	}
	keys_changed(&keys);
	return keys.freed;
}

/* Writes the changes of a page, and tells the map what becomes of it */
static void
write_page(Settle *s, Relation rel, QueueSegment *seg, Buffer buffer,
		   PageSettle *ps)
{
	QueueShared *qs = s->q->shared;
	MapSlot    *slot = seg->slot;
	PageWrite	write;
	TimestampTz due = QUEUE_NO_DUE;
	int			ready = 0;
	int			dead = 0;
	int			freed = 0;
	bool		droppable = false;

	page_write_begin(&write, rel, buffer);
	for (int i = 0; i < ps->nmatches; i++)
	{
		MessageHead *head = page_write_head(&write, ps->offset[i]);
		TimestampTz expires_at = page_write_expires_at(&write, ps->offset[i]);

		change_head(s, head, expires_at);
		if (MESSAGE_IS_DEAD(head))
		{
			dead++;
			droppable |= message_is_droppable(head);
			if (s->reason != NULL)
				reasons_note(qs, head->id, s->reason);
			continue;
		}
		if (head->lease == 0)
			due = Min(due, expires_at);
		if (head->visible_at <= s->now)
			ready++;
		else
			due = Min(due, head->visible_at);
	}
	page_write_end(&write);

	if (s->q->tracked)
		freed = note_changes(s, seg, buffer, ps);
	if (dead > 0)
		map_count_dead(slot, BufferGetBlockNumber(buffer), dead, droppable);
	map_bump(slot, BufferGetBlockNumber(buffer), ready > 0, ps->lane, due);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);

	if (ready + freed > 0)
		waiters_announce(qs, ready + freed);
	if (due != QUEUE_NO_DUE)
		shmem_wake_worker_before(due);
	claim_count_deaths(s->q, dead, 0, droppable);
	if (s->kind == SETTLE_NACK)
		queue_count(qs, COUNT_NACKED, ps->nmatches);
}

/* Counts how long the acked messages were worked on */
static void
count_processing_time(Settle *s, PageSettle *ps)
{
	int64		durations[RECEIPT_MAX_OFFSET];
	int			n = 0;

	for (int i = 0; i < ps->nmatches; i++)
		if (ps->leased_at[i] != 0)
			durations[n++] = s->now - ps->leased_at[i];
	histogram_add(&s->q->shared->processing_time, durations, n);
}

/* Notes the deletes of a page for the end of the transaction */
static void
note_acked(Settle *s, QueueSegment *seg, BlockNumber block, PageSettle *ps)
{
	txn_note_page(TXN_ACKED, s->q->shared, seg->slot, block, ps->nmatches,
				  ps->lane, 0);
	if (s->q->tracked)
	{
		KeyPlace	place = queue_place(s->q, seg, block);

		txn_note_gone(&place, ps->offset, ps->nmatches, 0);
	}
}

/* Deletes what was matched on a page; releases the lock */
static void
delete_page(Settle *s, Relation rel, QueueSegment *seg, Buffer buffer,
			PageSettle *ps, Buffer vmbuffer)
{
	txn_reserve_pages(1);
	txn_reserve_gone();
	limits_prepare_removed(s->q);
	page_delete(rel, buffer, ps->offset, ps->nmatches,
				GetCurrentTransactionId(), GetCurrentCommandId(true),
				vmbuffer);
	note_acked(s, seg, BufferGetBlockNumber(buffer), ps);
	limits_note_removed(s->q, BufferGetPage(buffer), ps->offset,
						ps->nmatches);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

/*
 * Settles the receipts, all of one page of an open segment.
 */
static void
settle_page(Settle *s, QueueSegment *seg, Relation rel, BlockNumber block,
			const int64 *receipts, int n)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Buffer		vmbuffer = InvalidBuffer;
	PageSettle	ps;

	for (;;)
	{
		if (s->kind == SETTLE_ACK)
			(void) GetCurrentTransactionId();	/* not under a buffer lock */
		if (s->archive != NULL)
			archive_page(s->archive);
		QUEUE_DEBUG_POINT("settle");
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (s->kind == SETTLE_ACK)
			page_prepare_delete(rel, buffer, &vmbuffer);
		match_page(s, rel, buffer, receipts, n, &ps);
		QUEUE_DEBUG_POINT("matched");
		if (!ps.must_wait)
			break;
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		page_wait_for_decider(rel, &ps.decider, &ps.self);
	}
	if (ps.nmatches == 0)
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	else if (s->kind == SETTLE_ACK)
		delete_page(s, rel, seg, buffer, &ps, vmbuffer);
	else
		write_page(s, rel, seg, buffer, &ps);
	s->done += ps.nmatches;
	if (s->archive != NULL)
		archive_keep(s->archive);
	if (s->kind == SETTLE_ACK)
		count_processing_time(s, &ps);
	ReleaseBuffer(buffer);
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
}

/*
 * Opens the segment that a receipt names and settles the receipts of one of
 * its pages.
 */
static void
settle_group(Settle *s, const int64 *receipts, int n)
{
	Receipt		first = receipt_decode(receipts[0]);
	QueueSegment *seg;
	Relation	rel;

	for (;;)
	{
		seg = catalog_segment_by_life(s->q, first.life);
		/* the receipts of a restored file were given by another server */
		if (seg != NULL && seg->restored)
			seg = NULL;
		if (seg == NULL)
			break;
		rel = catalog_open_segment(s->q, seg, true);
		if (rel != NULL)
		{
			int			before = s->done;

			if (first.block < RelationGetNumberOfBlocks(rel))
				settle_page(s, seg, rel, first.block, receipts, n);
			else
				seg = NULL;
			relation_close(rel, s->done > before && s->kind == SETTLE_ACK ?
						   NoLock : RowExclusiveLock);
			break;
		}
		s->q = catalog_queue_reload(s->q);
	}
	if (seg == NULL)
		for (int i = 0; i < n; i++)
			s->stale[s->nstale++] = receipts[i];
}

/* Order of receipts: by segment and page */
static int
compare_receipts(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* Sorts receipts and drops those that repeat; returns how many are left */
static int
sort_distinct(int64 *receipts, int n)
{
	int			distinct = 0;

	qsort(receipts, n, sizeof(int64), compare_receipts);
	for (int i = 0; i < n; i++)
		if (i == 0 || receipts[i] != receipts[i - 1])
			receipts[distinct++] = receipts[i];
	return distinct;
}

/* Settles sorted, distinct receipts, page by page */
static void
settle_sorted(Settle *s, const int64 *receipts, int n)
{
	const int	shift = RECEIPT_OFFSET_BITS + RECEIPT_TOKEN_BITS;

	for (int i = 0; i < n;)
	{
		uint64		page = (uint64) receipts[i] >> shift;
		int			count = 1;

		while (i + count < n && count < RECEIPT_MAX_OFFSET &&
			   (uint64) receipts[i + count] >> shift == page)
			count++;
		CHECK_FOR_INTERRUPTS();
		settle_group(s, receipts + i, count);
		if (s->archive != NULL && archive_is_full(s->archive))
			archive_flush(s->archive, s->q);
		i += count;
	}
}

/*
 * Where a leased message was moved to, by the receipt from before the move;
 * 0 = nowhere.
 */
static int64
forwarded_receipt(Queue *q, int64 receipt)
{
	Oid			schema = get_namespace_oid("queue", false);
	Relation	rel = table_open(get_relname_relid("forwarding", schema),
								 AccessShareLock);
	ScanKeyData skey[2];
	SysScanDesc scan;
	HeapTuple	tup;
	int64		result = 0;

	ScanKeyInit(&skey[0], Anum_forwarding_queue_id, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(q->id));
	ScanKeyInit(&skey[1], Anum_forwarding_receipt, BTEqualStrategyNumber,
				F_INT8EQ, Int64GetDatum(receipt));
	scan = systable_beginscan(rel,
							  get_relname_relid("forwarding_pkey", schema),
							  true, NULL, 2, skey);
	tup = systable_getnext(scan);
	if (HeapTupleIsValid(tup))
	{
		bool		isnull;

		result = DatumGetInt64(heap_getattr(tup, Anum_forwarding_moved_to,
											RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* Lets the list of leases that end with the session know */
static void
note_settled(Settle *s, const int64 *receipts, int n)
{
	if (s->kind == SETTLE_EXTEND)
		disconnect_extended(receipts, n,
							timestamp_plus(s->now, Max(s->delay, 0)));
	else
		disconnect_settled(receipts, n, s->kind == SETTLE_ACK);
}

/*
 * Settles receipts, which may be repeated, stale or forged.  reason is what
 * reasons_cut() made of a failure's, or NULL.  Returns how many leases were
 * settled.
 */
int
settle_receipts(Queue *q, SettleKind kind, const int64 *receipts, int n,
				int64 delay, const char *reason)
{
	Settle		s = {0};
	int64	   *sorted;
	int			distinct;
	bool		any_stale;

	if (n == 0)
		return 0;
	sorted = palloc(n * sizeof(int64));
	memcpy(sorted, receipts, n * sizeof(int64));
	distinct = sort_distinct(sorted, n);

	s.q = q;
	s.kind = kind;
	s.delay = delay;
	s.reason = reason;
	s.now = GetCurrentTimestamp();
	s.stale = palloc(distinct * sizeof(int64));
	if (kind == SETTLE_ACK)
		s.archive = archive_begin(q, s.now);
	settle_sorted(&s, sorted, distinct);

	any_stale = s.nstale > 0;
	/* a message may be moved again between two lines of this */
	for (int moves = 0; s.nstale > 0 && moves < MAX_MOVES; moves++)
	{
		int64	   *stale = s.stale;
		int			nstale = s.nstale;
		int			nmoved = 0;

		for (int i = 0; i < nstale; i++)
		{
			int64		moved = forwarded_receipt(s.q, stale[i]);

			if (moved != 0)
				sorted[nmoved++] = moved;
		}
		s.stale = palloc(distinct * sizeof(int64));
		s.nstale = 0;
		QUEUE_DEBUG_POINT("forwarded");
		settle_sorted(&s, sorted, sort_distinct(sorted, nmoved));
	}
	if (s.archive != NULL)
		archive_end(s.archive, s.q);
	note_settled(&s, receipts, n);
	if (any_stale)
		queue_count(s.q->shared, COUNT_STALE_RECEIPTS, n - s.done);
	return s.done;
}

/*
 * Is this the message of an aborted claim?  One that was popped may have been
 * claimed by somebody else since: it was back at once.
 */
static bool
is_aborted_claim(const AbortedClaim *claim, const Receipt *r,
				 const MessageHead *head)
{
	if (head->id != claim->message_id || MESSAGE_IS_DEAD(head))
		return false;
	return claim->popped || head->lease == r->token;
}

/* Counts a failure, and lets the message's new holder keep it */
static void
count_failure(Relation rel, Buffer buffer, OffsetNumber offset)
{
	PageWrite	write;

	page_write_begin(&write, rel, buffer);
	page_write_head(&write, offset)->failures++;
	page_write_end(&write);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
}

/*
 * The lease of a session that ended is not where it was taken: the message may
 * have been moved since.
 */
static void
settle_moved(Queue *q, const AbortedClaim *claim)
{
	AbortedClaim moved = *claim;

	if (!claim->disconnected)
		return;
	moved.receipt = forwarded_receipt(q, claim->receipt);
	if (moved.receipt != 0)
		settle_aborted(q, &moved);
}

/*
 * The transaction that claimed a message was rolled back: counts a failure
 * and gives the message back, a lease after the queue's backoff, a popped one
 * at once.  Called by the worker; does nothing when somebody else deletes the
 * message or took over its lease.
 */
void
settle_aborted(Queue *q, const AbortedClaim *claim)
{
	Receipt		r = receipt_decode(claim->receipt);
	QueueSegment *seg = catalog_segment_by_life(q, r.life);
	Settle		s = {0};
	PageSettle	ps;
	Relation	rel;
	Buffer		buffer;
	HeapTupleData tup;

	if (seg == NULL)
		settle_moved(q, claim);
	if (seg == NULL || seg->restored)
		return;
	rel = catalog_open_segment(q, seg, false);
	if (rel == NULL)
	{
		waiters_wake(q->shared, claim->popped);
		return;
	}
	if (r.block >= RelationGetNumberOfBlocks(rel))
	{
		relation_close(rel, RowExclusiveLock);
		return;
	}

	s.q = q;
	s.kind = SETTLE_NACK;
	s.delay = claim->popped || claim->disconnected ? 0 : SETTLE_DEFAULT_DELAY;
	s.now = GetCurrentTimestamp();
	ps.nmatches = 1;
	ps.offset[0] = r.offset;

	buffer = ReadBuffer(rel, r.block);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	if (PageIsNew(BufferGetPage(buffer)) ||
		!layout_item_is_message(BufferGetPage(buffer), r.offset) ||
		page_message_status(BufferGetPage(buffer), r.offset, rel, buffer,
							&tup, &ps.decider) != MESSAGE_LIVE ||
		!is_aborted_claim(claim, &r, message_head(tup.t_data)))
	{
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		settle_moved(q, claim);
		/* perhaps there is something that only a look finds out */
		waiters_wake(q->shared, claim->popped);
	}
	else if (claim->popped && message_head(tup.t_data)->visible_at > s.now)
		count_failure(rel, buffer, r.offset);
	else
	{
		ps.lane = queue_lane(q, message_head(tup.t_data));
		write_page(&s, rel, seg, buffer, &ps);
	}
	ReleaseBuffer(buffer);
	relation_close(rel, RowExclusiveLock);
}
