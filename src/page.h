/*
 * page.h
 *	  The three operations with which messages are changed on heap pages.
 *
 * See page.c for the rules that all of them keep.
 */
#ifndef QUEUE_PAGE_H
#define QUEUE_PAGE_H

#include "access/htup.h"
#include "access/xlogdefs.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"

#include "layout.h"

typedef enum MessageStatus
{
	MESSAGE_GONE,				/* deleted, or its insert was rolled back */
	MESSAGE_UNDECIDED,			/* a running transaction decides */
	MESSAGE_LIVE
} MessageStatus;

/* Who decides about an undecided message */
typedef struct MessageDecider
{
	TransactionId xid;
	bool		is_multi;
} MessageDecider;

/* One page under its exclusive lock, being written in place */
typedef struct PageWrite
{
	bool		begun;
	Relation	rel;
	Buffer		buffer;
	int			n;				/* messages to be changed */
} PageWrite;

extern MessageStatus page_ask_status(HeapTuple tup, Buffer buffer,
									 MessageDecider *decider);

/*
 * Is the message at a normal item live, gone, or undecided?  Fills *tup; the
 * caller holds at least a share lock on the buffer.  Sets hint bits.
 */
static inline MessageStatus
page_message_status(Page page, OffsetNumber offset, Relation rel,
					Buffer buffer, HeapTuple tup, MessageDecider *decider)
{
	ItemId		lp = PageGetItemId(page, offset);
	HeapTupleHeader header = (HeapTupleHeader) PageGetItem(page, lp);

	tup->t_data = header;
	tup->t_len = ItemIdGetLength(lp);
	tup->t_tableOid = RelationGetRelid(rel);
	ItemPointerSet(&tup->t_self, BufferGetBlockNumber(buffer), offset);

	/* as HeapTupleSatisfiesUpdate() would find, and so it is for most */
	if ((header->t_infomask & HEAP_XMIN_COMMITTED) != 0 &&
		(header->t_infomask & HEAP_XMAX_INVALID) != 0)
		return MESSAGE_LIVE;
	return page_ask_status(tup, buffer, decider);
}

extern void page_wait_for_decider(Relation rel, const MessageDecider *decider,
								  ItemPointer address);

extern int	page_insert(Relation rel, Buffer buffer, HeapTuple *tuples,
						int ntuples, TransactionId xid, CommandId cid);

extern void page_write_begin(PageWrite *write, Relation rel, Buffer buffer);
extern MessageHead *page_write_head(PageWrite *write, OffsetNumber offset);
extern TimestampTz page_write_expires_at(PageWrite *write,
										 OffsetNumber offset);
extern XLogRecPtr page_write_end(PageWrite *write);

extern void page_prepare_delete(Relation rel, Buffer buffer,
								Buffer *vmbuffer);
extern void page_delete(Relation rel, Buffer buffer, OffsetNumber *offsets,
						int n, TransactionId xid, CommandId cid,
						Buffer vmbuffer);
extern void page_withdraw(Relation rel, Buffer buffer, OffsetNumber offset);

#endif							/* QUEUE_PAGE_H */
