/*
 * transfer.c
 *	  Takes messages out of one queue to put them into another, or elsewhere
 *	  in the same.
 *
 * Owns what parking, dead-lettering, move() and redrive() have in common: a
 * message is deleted first and copied as it was at that moment, and the copy
 * is appended in the same transaction.  So it is never in both queues and
 * never in neither, and whoever claims it in between is not overlooked: the
 * delete is made in the lock cycle that finds the message live and wanted.
 *
 * Values kept out of line stay in the old segment, and are copied when the
 * message is appended: its lock is held to the end of the transaction.
 *
 * Locks: the caller has the old segment open with RowExclusiveLock, which he
 * keeps to the end of the transaction when something was taken; one exclusive
 * buffer lock at a time; those of append.c.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "storage/bufmgr.h"
#include "utils/timestamp.h"

#include "append.h"
#include "debug.h"
#include "guc.h"
#include "limits.h"
#include "look.h"
#include "page.h"
#include "transfer.h"
#include "txn.h"
#include "waiters.h"

/* Copies what is wanted of the page; counts the others.  Buffer lock held. */
static int
pick(Transfer *t, PageLook *look, OffsetNumber *offsets, TimestampTz now)
{
	HeapTupleData tup;
	int			n = 0;

	while (look_next(look, &tup))
	{
		if (t->n + n < t->max && look->offset <= RECEIPT_MAX_OFFSET &&
			t->wanted(t, &tup))
		{
			t->tuple[t->n + n] = heap_copytuple(&tup);
			offsets[n++] = look->offset;
		}
		else
			look_count(look, message_head(tup.t_data), tup.t_len, now);
	}
	return n;
}

/* Notes the deletes of a page for the end of the transaction */
static void
note_taken(Transfer *t, BlockNumber block, OffsetNumber *offsets, int n)
{
	txn_note_page(TXN_REMOVED, t->q->shared, t->seg->slot, block, n,
				  MAP_TOP_LANE, 0);
	if (t->q->tracked)
	{
		KeyPlace	place = queue_place(t->q, t->seg, block);

		txn_note_gone(&place, offsets, n, 0);
	}
}

/*
 * Deletes the wanted live messages of a page and adds their copies, made in
 * the current memory context, to t->tuple.  Returns how many.  Passes over
 * what other transactions are deleting or have locked.
 */
int
transfer_take(Transfer *t, BlockNumber block)
{
	TransactionId xid = GetCurrentTransactionId();
	TimestampTz now = GetCurrentTimestamp();
	Buffer		buffer = ReadBuffer(t->rel, block);
	Buffer		vmbuffer = InvalidBuffer;
	OffsetNumber offsets[RECEIPT_MAX_OFFSET];
	PageLook	look;
	int			n;

	txn_reserve_pages(1);
	txn_reserve_gone();
	limits_prepare_removed(t->q);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page_prepare_delete(t->rel, buffer, &vmbuffer);
	look_begin(&look, t->rel, t->seg->slot, buffer);
	n = pick(t, &look, offsets, now);
	QUEUE_DEBUG_POINT("stragglers");
	page_delete(t->rel, buffer, offsets, n, xid, GetCurrentCommandId(true),
				vmbuffer);
	if (!t->uncounted)
		limits_note_removed(t->q, BufferGetPage(buffer), offsets, n);
	if (n > 0)
		note_taken(t, block, offsets, n);
	look_end(&look);
	UnlockReleaseBuffer(buffer);
	if (look_became_ready(&look) > 0)
		waiters_announce(t->q->shared, look_became_ready(&look));
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
	t->n += n;
	return n;
}

/*
 * A message as it starts anew: not delivered yet, without an id.
 */
HeapTuple
transfer_renew(TupleDesc desc, HeapTuple tuple, const Renewal *renewal)
{
	Datum		values[Natts_msg];
	bool		nulls[Natts_msg];

	heap_deform_tuple(tuple, desc, values, nulls);
	/* a fifo queue wants it as it is */
	if (!nulls[Anum_msg_key - 1])
		values[Anum_msg_key - 1] =
			PointerGetDatum(PG_DETOAST_DATUM_PACKED(values[Anum_msg_key - 1]));
#define SET(attno, value) values[(attno) - 1] = (value)
	SET(Anum_msg_id, Int64GetDatum(0));
	SET(Anum_msg_visible_at, TimestampTzGetDatum(renewal->visible_at));
	SET(Anum_msg_lease, Int32GetDatum(0));
	SET(Anum_msg_deliveries, Int32GetDatum(0));
	SET(Anum_msg_failures, Int32GetDatum(0));
	SET(Anum_msg_holder, Int32GetDatum(0));
	SET(Anum_msg_leased_ms, Int32GetDatum(0));
	SET(Anum_msg_enqueued_at, TimestampTzGetDatum(renewal->enqueued_at));
	SET(Anum_msg_expires_at, TimestampTzGetDatum(renewal->expires_at));
	nulls[Anum_msg_expires_at - 1] = renewal->expires_at == QUEUE_NO_EXPIRY;
	if (renewal->headers != (Datum) 0)
	{
		SET(Anum_msg_headers, renewal->headers);
		nulls[Anum_msg_headers - 1] = false;
	}
#undef SET
	return heap_form_tuple(desc, values, nulls);
}

/*
 * Gives messages, at most APPEND_MAX_IDS, their ids in the new queue.  In a
 * fifo queue they get them when they are appended.
 */
void
transfer_number(Queue *to, HeapTuple *tuples, int n)
{
	int64		first;

	if (to->kind == 'f')
		return;
	first = append_reserve_ids(to, n);
	for (int i = 0; i < n; i++)
		message_head(tuples[i]->t_data)->id = first + i;
}

/* Appends messages in the order given, be they delayed or not */
static void
append_ordered(Queue *to, HeapTuple *tuples, int n, TimestampTz now)
{
	TimestampTz due = QUEUE_NO_DUE;

	for (int i = 0; i < n; i++)
		due = Min(due, message_head(tuples[i]->t_data)->visible_at);
	append_messages(to, QUEUE_MAIN_CHAIN, TXN_APPENDED, tuples, n,
					due <= now ? 0 : due);
}

/*
 * Appends messages, at most APPEND_MAX_IDS, in order; but in a queue that is
 * not fifo those that are delayed behind those that are not, and on the
 * parking chain when that is for long.  Room was reserved for them.
 */
void
transfer_append(Queue *to, HeapTuple *tuples, int n, TimestampTz now)
{
	TimestampTz far = now + (int64) queue_park_after * USECS_PER_SEC;
	HeapTuple  *group;

	if (to->kind == 'f')
	{
		append_ordered(to, tuples, n, now);
		return;
	}
	group = palloc(n * sizeof(HeapTuple));
	for (int wanted = 0; wanted < 3; wanted++)
	{
		TimestampTz due = wanted == 0 ? 0 : QUEUE_NO_DUE;
		int			count = 0;

		for (int i = 0; i < n; i++)
		{
			TimestampTz at = message_head(tuples[i]->t_data)->visible_at;
			int			kind = at <= now ? 0 : at <= far ? 1 : 2;

			if (kind != wanted)
				continue;
			group[count++] = tuples[i];
			due = Min(due, at);
		}
		if (count > 0)
			append_messages(to, wanted == 2 ? QUEUE_PARKING_CHAIN :
							QUEUE_MAIN_CHAIN, TXN_APPENDED, group, count,
							wanted == 0 ? 0 : due);
	}
	pfree(group);
}
