/*
 * page.c
 *	  The three operations with which messages are changed on heap pages.
 *
 * All writes of the extension to message tables are made here: insert, write
 * in place, delete.  Each is one exclusive buffer lock, held by the caller,
 * and one WAL record for any number of messages of the page.  heapam stays
 * the reader: SELECT, VACUUM, pg_dump and amcheck see an ordinary heap.
 *
 * Rules
 *	- The caller looked at the message under the same buffer lock: it is a
 *	  normal item, long enough, and carries the token or state expected.
 *	- No write in place unless the message is live: nobody deletes or locks
 *	  it.  Only the fixed columns are written; nothing moves.
 *	- Whatever can fail (memory, an xid, serializable checks) comes before the
 *	  critical section.
 *	- Inserts never go to an all-visible page, so the visibility map needs no
 *	  care there.  A delete on such a page clears the map's bit, which only
 *	  the heap's own record can replay.
 *
 * Inserts are logged as the heap's multi-insert without the flag that logical
 * decoding looks for; writes and deletes as generic records (delta.c), which
 * decoding ignores, and which save 40 bytes of WAL a message over the heap's
 * own record.
 *
 * What must be set when a tuple is deleted follows heap_delete() of
 * PostgreSQL's access/heap/heapam.c.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heapam_xlog.h"
#include "access/hio.h"
#include "access/multixact.h"
#include "access/transam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/procarray.h"

#include "compat.h"
#include "delta.h"
#include "page.h"

/* The messages of the write in place that is being made */
typedef struct WrittenHead
{
	OffsetNumber offset;
	MessageHead head;
} WrittenHead;

static WrittenHead written[RECEIPT_MAX_OFFSET];

/* Does nobody but this transaction hold the row lock? */
static bool
locked_by_us(TransactionId xmax, uint16 infomask)
{
	MultiXactMember *members;
	int			n;

	if ((infomask & HEAP_XMAX_IS_MULTI) == 0)
		return TransactionIdIsCurrentTransactionId(xmax);
	n = GetMultiXactIdMembers(xmax, &members, false, true);
	for (int i = 0; i < n; i++)
		if (!TransactionIdIsCurrentTransactionId(members[i].xid) &&
			TransactionIdIsInProgress(members[i].xid))
			return false;
	return true;
}

/*
 * What page_message_status() returns where the hint bits do not tell: the
 * transactions are asked.
 */
MessageStatus
page_ask_status(HeapTuple tup, Buffer buffer, MessageDecider *decider)
{
	HeapTupleHeader header = tup->t_data;
	TransactionId xmax;

	xmax = HeapTupleHeaderGetRawXmax(header);
	decider->is_multi = false;
	switch (HeapTupleSatisfiesUpdate(tup, GetCurrentCommandId(false), buffer))
	{
		case TM_Ok:
			return MESSAGE_LIVE;
		case TM_Updated:
		case TM_Deleted:
			return MESSAGE_GONE;
		case TM_Invisible:
			if (HeapTupleHeaderXminInvalid(header))
				return MESSAGE_GONE;
			decider->xid = HeapTupleHeaderGetXmin(header);
			/* deleted by an earlier command of this transaction */
			if ((header->t_infomask & HEAP_XMAX_INVALID) == 0 &&
				TransactionIdIsCurrentTransactionId(xmax))
				decider->xid = xmax;
			return MESSAGE_UNDECIDED;
		default:				/* being deleted or locked */
			if (HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) &&
				locked_by_us(xmax, header->t_infomask))
				return MESSAGE_LIVE;
			decider->xid = xmax;
			decider->is_multi =
				(header->t_infomask & HEAP_XMAX_IS_MULTI) != 0;
			return MESSAGE_UNDECIDED;
	}
}

/*
 * Waits for the end of the transaction, another one, that decides about the
 * message at the given address.  The caller holds no buffer lock.
 */
void
page_wait_for_decider(Relation rel, const MessageDecider *decider,
					  ItemPointer address)
{
	MultiXactMember *members;
	int			n;

	if (!decider->is_multi)
	{
		XactLockTableWait(decider->xid, rel, address, XLTW_Delete);
		return;
	}
	n = GetMultiXactIdMembers(decider->xid, &members, false, false);
	for (int i = 0; i < n; i++)
		if (!TransactionIdIsCurrentTransactionId(members[i].xid))
			XactLockTableWait(members[i].xid, rel, address, XLTW_Delete);
}

/* How many of the tuples fit on the page; lengths as PageAddItem counts */
static int
count_fitting(Page page, HeapTuple *tuples, int ntuples)
{
	Size		room = PageGetHeapFreeSpace(page);
	OffsetNumber offset = PageGetMaxOffsetNumber(page);
	int			n = 0;

	while (n < ntuples && offset < RECEIPT_MAX_OFFSET)
	{
		Size		need = MAXALIGN(tuples[n]->t_len) +
			(n > 0 ? sizeof(ItemIdData) : 0);

		if (need > room)
			break;
		room -= need;
		offset++;
		n++;
	}
	return n;
}

/* Builds and inserts the record of a multi-insert; in a critical section */
static XLogRecPtr
log_insert(Buffer buffer, HeapTuple *tuples, int n, bool init, char *scratch)
{
	xl_heap_multi_insert *xlrec = (xl_heap_multi_insert *) scratch;
	char	   *data;
	char	   *next;

	xlrec->flags = 0;
	xlrec->ntuples = n;
	for (int i = 0; i < n; i++)
		xlrec->offsets[i] = ItemPointerGetOffsetNumber(&tuples[i]->t_self);

	data = next = scratch + SizeOfHeapMultiInsert + n * sizeof(OffsetNumber);
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader header = tuples[i]->t_data;
		xl_multi_insert_tuple *xltup;

		xltup = (xl_multi_insert_tuple *) SHORTALIGN(next);
		next = (char *) xltup + SizeOfMultiInsertTuple;
		xltup->t_infomask2 = header->t_infomask2;
		xltup->t_infomask = header->t_infomask;
		xltup->t_hoff = header->t_hoff;
		xltup->datalen = tuples[i]->t_len - SizeofHeapTupleHeader;
		memcpy(next, (char *) header + SizeofHeapTupleHeader, xltup->datalen);
		next += xltup->datalen;
	}

	XLogBeginInsert();
	XLogRegisterData(scratch, SizeOfHeapMultiInsert +
					 (init ? 0 : n * sizeof(OffsetNumber)));
	XLogRegisterBuffer(0, buffer, REGBUF_STANDARD |
					   (init ? REGBUF_WILL_INIT : 0));
	XLogRegisterBufData(0, data, next - data);
	return XLogInsert(RM_HEAP2_ID, XLOG_HEAP2_MULTI_INSERT |
					  (init ? XLOG_HEAP_INIT_PAGE : 0));
}

/*
 * Appends as many of the messages as fit on the page; returns how many, and
 * sets their t_self.  The caller holds the exclusive lock, has toasted what
 * is too long, and goes to another page with the rest.  The tuples' headers
 * are completed here.  Uncommitted until xid commits.
 */
int
page_insert(Relation rel, Buffer buffer, HeapTuple *tuples, int ntuples,
			TransactionId xid, CommandId cid)
{
	Page		page = BufferGetPage(buffer);
	bool		init = false;
	int			n;
	PGAlignedBlock scratch;

	if (PageIsNew(page))
		PageInit(page, BufferGetPageSize(buffer), 0);
	else if (PageIsAllVisible(page))
		return 0;
	if (PageGetMaxOffsetNumber(page) == 0)
		init = true;

	n = count_fitting(page, tuples, ntuples);
	if (n == 0)
		return 0;

	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader header = tuples[i]->t_data;

		header->t_infomask &= ~HEAP_XACT_MASK;
		header->t_infomask2 &= ~HEAP2_XACT_MASK;
		header->t_infomask |= HEAP_XMAX_INVALID;
		HeapTupleHeaderSetXmin(header, xid);
		HeapTupleHeaderSetCmin(header, cid);
		HeapTupleHeaderSetXmax(header, 0);
		tuples[i]->t_tableOid = RelationGetRelid(rel);
	}
	CheckForSerializableConflictIn(rel, NULL, InvalidBlockNumber);

	START_CRIT_SECTION();
	for (int i = 0; i < n; i++)
		RelationPutHeapTuple(rel, buffer, tuples[i], false);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(rel))
	{
		/* before 16, PageSetLSN evaluates its argument twice */
		XLogRecPtr	lsn = log_insert(buffer, tuples, n, init, scratch.data);

		PageSetLSN(page, lsn);
	}
	END_CRIT_SECTION();

	pgstat_count_heap_insert(rel, n);
	return n;
}

/*
 * Starts a write in place.  Until page_write_end() the changes are made to
 * copies; an error in between leaves the page as it was.
 */
void
page_write_begin(PageWrite *write, Relation rel, Buffer buffer)
{
	write->begun = true;
	write->rel = rel;
	write->buffer = buffer;
	write->n = 0;
}

/* The tuple at an offset of the page being written */
static HeapTupleHeader
written_tuple(PageWrite *write, OffsetNumber offset)
{
	Page		page = BufferGetPage(write->buffer);

	Assert(layout_item_is_message(page, offset));
	return (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, offset));
}

/*
 * The fixed part, to be changed, of the live message at the offset.  Asked
 * for once, in ascending order of offsets.
 */
MessageHead *
page_write_head(PageWrite *write, OffsetNumber offset)
{
	WrittenHead *w = &written[write->n++];

	Assert(write->n <= RECEIPT_MAX_OFFSET);
	Assert(write->n == 1 || w[-1].offset < offset);
	w->offset = offset;
	w->head = *message_head(written_tuple(write, offset));
	return &w->head;
}

/* When the time to live of the live message at the offset is over */
TimestampTz
page_write_expires_at(PageWrite *write, OffsetNumber offset)
{
	return message_expires_at(written_tuple(write, offset));
}

/*
 * Puts the changes in effect, at once and whatever becomes of the
 * transaction.  Returns the record's position.
 */
XLogRecPtr
page_write_end(PageWrite *write)
{
	Page		page = BufferGetPage(write->buffer);

	delta_begin();
	for (int i = 0; i < write->n; i++)
		delta_change(page,
					 message_head(written_tuple(write, written[i].offset)),
					 &written[i].head, sizeof(MessageHead));
	write->begun = false;
	return delta_apply(write->rel, write->buffer);
}

/* Marks a tuple of the page, or a copy of its header, as deleted by xid */
static void
set_deleted(HeapTupleHeader header, ItemPointer self, TransactionId xid,
			CommandId cid, bool iscombo)
{
	header->t_infomask &= ~(HEAP_XMAX_BITS | HEAP_MOVED);
	header->t_infomask2 |= HEAP_KEYS_UPDATED;
	HeapTupleHeaderClearHotUpdated(header);
	HeapTupleHeaderSetXmax(header, xid);
	HeapTupleHeaderSetCmax(header, cid, iscombo);
	header->t_ctid = *self;
}

/* What has to be known before a tuple can be deleted without failing */
typedef struct DeletePlan
{
	ItemPointerData self;
	CommandId	cid;
	bool		iscombo;
} DeletePlan;

/*
 * Deletes on an all-visible page: its bit of the visibility map must go too,
 * which the heap's record replays and a generic one would not.
 */
static void
delete_all_visible(Relation rel, Buffer buffer, OffsetNumber *offsets, int n,
				   TransactionId xid, DeletePlan *plan, Buffer vmbuffer)
{
	Page		page = BufferGetPage(buffer);
	bool		log_vm;

	START_CRIT_SECTION();
	PageClearAllVisible(page);
	log_vm = compat_vm_clear(rel, BufferGetBlockNumber(buffer), vmbuffer);
	PageSetPrunable(page, xid);
	MarkBufferDirty(buffer);
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader header = (HeapTupleHeader)
			PageGetItem(page, PageGetItemId(page, offsets[i]));

		/* one by one, as the records are replayed */
		set_deleted(header, &plan[i].self, xid, plan[i].cid, plan[i].iscombo);
		if (RelationNeedsWAL(rel))
		{
			xl_heap_delete xlrec;
			XLogRecPtr	lsn;

			xlrec.xmax = xid;
			xlrec.offnum = offsets[i];
			xlrec.infobits_set = XLHL_KEYS_UPDATED;
			xlrec.flags = i == 0 ? XLH_DELETE_ALL_VISIBLE_CLEARED : 0;
			XLogBeginInsert();
			XLogRegisterData((char *) &xlrec, SizeOfHeapDelete);
			XLogRegisterBuffer(0, buffer, REGBUF_STANDARD);
			if (log_vm && i == 0)
				XLogRegisterBuffer(HEAP_DELETE_BLKREF_VM, vmbuffer, 0);
			lsn = XLogInsert(RM_HEAP_ID, XLOG_HEAP_DELETE);
			PageSetLSN(page, lsn);
			if (log_vm && i == 0)
				PageSetLSN(BufferGetPage(vmbuffer), lsn);
		}
	}
	compat_vm_unlock(vmbuffer);
	END_CRIT_SECTION();
}

/* Deletes with one generic record for all */
static void
delete_generic(Relation rel, Buffer buffer, OffsetNumber *offsets, int n,
			   TransactionId xid, DeletePlan *plan)
{
	Page		page = BufferGetPage(buffer);
	PageHeaderData page_header = *(PageHeader) page;

	delta_begin();
	PageSetPrunable((Page) &page_header, xid);
	delta_change(page, &((PageHeader) page)->pd_prune_xid,
				 &page_header.pd_prune_xid, sizeof(TransactionId));
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader header = (HeapTupleHeader)
			PageGetItem(page, PageGetItemId(page, offsets[i]));
		HeapTupleHeaderData copy;

		memcpy(&copy, header, SizeofHeapTupleHeader);
		set_deleted(&copy, &plan[i].self, xid, plan[i].cid, plan[i].iscombo);
		delta_change(page, header, &copy, SizeofHeapTupleHeader);
	}
	delta_apply(rel, buffer);
}

/*
 * Prepares for deletes on a page that the caller has just locked exclusively:
 * of an all-visible one the visibility map's page is pinned in *vmbuffer, for
 * which the lock is given up for a moment.  To be called before anything is
 * looked at.
 */
void
page_prepare_delete(Relation rel, Buffer buffer, Buffer *vmbuffer)
{
	BlockNumber block = BufferGetBlockNumber(buffer);

	while (PageIsAllVisible(BufferGetPage(buffer)) &&
		   !visibilitymap_pin_ok(block, *vmbuffer))
	{
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		visibilitymap_pin(rel, block, vmbuffer);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	}
}

/*
 * Deletes the messages at these offsets, all of which the caller found live,
 * with the token or state expected, under the exclusive lock it holds since
 * page_prepare_delete().  Takes effect with xid's commit.  The values kept out
 * of line are left where they are: the segment is truncated as a whole.
 */
void
page_delete(Relation rel, Buffer buffer, OffsetNumber *offsets, int n,
			TransactionId xid, CommandId cid, Buffer vmbuffer)
{
	Page		page = BufferGetPage(buffer);
	BlockNumber block = BufferGetBlockNumber(buffer);
	DeletePlan	plan[RECEIPT_MAX_OFFSET];

	if (n == 0)
		return;
	Assert(!PageIsAllVisible(page) || visibilitymap_pin_ok(block, vmbuffer));

	MultiXactIdSetOldestMember();
	for (int i = 0; i < n; i++)
	{
		ItemPointerSet(&plan[i].self, block, offsets[i]);
		CheckForSerializableConflictIn(rel, &plan[i].self, block);
		plan[i].cid = cid;
		HeapTupleHeaderAdjustCmax((HeapTupleHeader)
								  PageGetItem(page, PageGetItemId(page,
																  offsets[i])),
								  &plan[i].cid, &plan[i].iscombo);
	}

	if (PageIsAllVisible(page))
		delete_all_visible(rel, buffer, offsets, n, xid, plan, vmbuffer);
	else
		delete_generic(rel, buffer, offsets, n, xid, plan);
	for (int i = 0; i < n; i++)
		pgstat_count_heap_delete(rel);
}

/*
 * Takes back an insert of the current transaction at once, as if it had never
 * been, while the transaction goes on: nobody shall wait for it.  It is what
 * heap_abort_speculative() of PostgreSQL's access/heap/heapam.c does.  The
 * caller holds the exclusive lock.
 */
void
page_withdraw(Relation rel, Buffer buffer, OffsetNumber offset)
{
	Page		page = BufferGetPage(buffer);
	HeapTupleHeader header = (HeapTupleHeader)
		PageGetItem(page, PageGetItemId(page, offset));
	TransactionId nobody = InvalidTransactionId;

	delta_begin();
	delta_change(page, &header->t_choice.t_heap.t_xmin, &nobody,
				 sizeof(TransactionId));
	delta_apply(rel, buffer);
}
