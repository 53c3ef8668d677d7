/*
 * layout.h
 *	  What a message looks like on a heap page.
 *
 * Owns the attribute numbers of a queue's tables, the fixed part of a message
 * that is written in place, and the receipt's bit layout.  Takes no locks.
 *
 * The fixed columns come first and are NOT NULL, so that they stand at
 * constant, aligned offsets behind the tuple header whatever the message
 * carries.  A segment whose table does not look like this is refused before
 * anything is read from it (layout_check).
 */
#ifndef QUEUE_LAYOUT_H
#define QUEUE_LAYOUT_H

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "datatype/timestamp.h"
#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/off.h"
#include "utils/relcache.h"

/* The number that segment_def.layout carries for this layout */
#define QUEUE_LAYOUT 1

#define Anum_msg_id				1
#define Anum_msg_visible_at		2
#define Anum_msg_lease			3
#define Anum_msg_deliveries		4
#define Anum_msg_failures		5
#define Anum_msg_priority		6
#define Anum_msg_holder			7
#define Anum_msg_leased_ms		8
#define Anum_msg_enqueued_at	9
#define Anum_msg_expires_at		10
#define Anum_msg_key			11
#define Anum_msg_body			12
#define Anum_msg_payload		13
#define Anum_msg_headers		14
#define Natts_msg				14

/*
 * The fixed part.  visible_at says when the message may be taken next:
 * a time in the past = ready, in the future = delayed (lease 0) or leased,
 * DT_NOEND = dead, that is over its limit of failures and kept.
 */
typedef struct MessageHead
{
	int64		id;
	TimestampTz visible_at;
	int32		lease;			/* token of the current lease, 0 = none */
	int32		deliveries;
	int32		failures;
	int16		priority;
	int32		holder;			/* process id, for display; see below */
	int32		leased_ms;		/* length of the lease, for display only */
	TimestampTz enqueued_at;
} MessageHead;

/* When the current lease began, 0 if it is too long to tell */
static inline TimestampTz
message_leased_at(const MessageHead *head)
{
	if (head->leased_ms == PG_INT32_MAX)
		return 0;
	return head->visible_at - (int64) head->leased_ms * 1000;
}

/* Makes a lease from one time to another */
static inline void
message_set_lease_end(MessageHead *head, TimestampTz from, TimestampTz to)
{
	head->visible_at = to;
	head->leased_ms = (int32) Min((to - from) / 1000, PG_INT32_MAX);
}

#define MESSAGE_IS_DEAD(head) ((head)->visible_at == DT_NOEND)

/* Why a message is dead; a dead message's holder says so */
typedef enum DeathReason
{
	DEATH_UNKNOWN,				/* of an earlier layout */
	DEATH_REJECTED,
	DEATH_MAX_ATTEMPTS,
	DEATH_EXPIRED,
	DEATH_OVERFLOW
} DeathReason;

/* Makes a message dead: no delivery ever again, its receipts are stale */
static inline void
message_set_dead(MessageHead *head, DeathReason reason)
{
	head->visible_at = DT_NOEND;
	head->lease = 0;
	head->holder = reason;
}

/* Does the message go where it dies, unless it is dead-lettered? */
static inline bool
message_is_droppable(const MessageHead *head)
{
	return MESSAGE_IS_DEAD(head) &&
		(head->holder == DEATH_EXPIRED || head->holder == DEATH_OVERFLOW);
}

/*
 * Was the lease to end with its session, which ended when the server did?
 * Who takes such a lease writes his process id negative.
 */
static inline bool
message_is_orphan(const MessageHead *head, TimestampTz server_start)
{
	TimestampTz leased_at;

	if (head->holder >= 0 || head->lease == 0)
		return false;
	leased_at = message_leased_at(head);
	return leased_at != 0 && leased_at < server_start;
}

static inline MessageHead *
message_head(HeapTupleHeader tup)
{
	return (MessageHead *) ((char *) tup + tup->t_hoff);
}

#define QUEUE_NO_EXPIRY DT_NOEND

/*
 * When the message's time to live is over, QUEUE_NO_EXPIRY if it has none.
 * The column stands directly behind the fixed ones where it is not null.
 */
static inline TimestampTz
message_expires_at(HeapTupleHeader tup)
{
	if ((tup->t_infomask & HEAP_HASNULL) != 0 &&
		att_isnull(Anum_msg_expires_at - 1, tup->t_bits))
		return QUEUE_NO_EXPIRY;
	return *(TimestampTz *) ((char *) message_head(tup) + sizeof(MessageHead));
}

/*
 * A receipt names one lease: the address of the message and the token that
 * this delivery wrote there.
 *
 *	 63        52 51            33 32     25 24          0
 *	| life number |     block     | offset  |    token    |
 */
#define RECEIPT_LIFE_BITS	12
#define RECEIPT_BLOCK_BITS	19
#define RECEIPT_OFFSET_BITS 8
#define RECEIPT_TOKEN_BITS	25

#define RECEIPT_LIFE_MASK	((1 << RECEIPT_LIFE_BITS) - 1)
#define RECEIPT_TOKEN_MASK	((1 << RECEIPT_TOKEN_BITS) - 1)
#define RECEIPT_MAX_BLOCKS	(1 << RECEIPT_BLOCK_BITS)
#define RECEIPT_MAX_OFFSET	((1 << RECEIPT_OFFSET_BITS) - 1)

typedef struct Receipt
{
	int			life;			/* low bits of the segment's life number */
	BlockNumber block;
	OffsetNumber offset;
	int32		token;
} Receipt;

/* The receipt of a lease */
static inline int64
receipt_encode(int life, BlockNumber block, OffsetNumber offset, int32 token)
{
	uint64		r = (uint64) (life & RECEIPT_LIFE_MASK);

	r = (r << RECEIPT_BLOCK_BITS) | block;
	r = (r << RECEIPT_OFFSET_BITS) | offset;
	r = (r << RECEIPT_TOKEN_BITS) | (uint32) token;
	return (int64) r;
}

/* A receipt's parts, which need not mean anything */
static inline Receipt
receipt_decode(int64 receipt)
{
	uint64		r = (uint64) receipt;
	Receipt		result;

	result.token = r & RECEIPT_TOKEN_MASK;
	r >>= RECEIPT_TOKEN_BITS;
	result.offset = r & RECEIPT_MAX_OFFSET;
	r >>= RECEIPT_OFFSET_BITS;
	result.block = r & (RECEIPT_MAX_BLOCKS - 1);
	r >>= RECEIPT_BLOCK_BITS;
	result.life = (int) r;
	return result;
}

extern const Oid layout_column_types[Natts_msg];

extern int64 message_size(HeapTupleHeader tup);
extern int64 message_key_size(HeapTupleHeader tup);
extern const char *layout_problem(Relation rel, int number);
extern void layout_check(Relation rel, int number);
extern int32 layout_new_token(int32 old_token);

/*
 * Is the item at this offset a message that may be read?  VACUUM and pruning
 * leave line pointers without a tuple, and a receipt may name any offset.
 */
static inline bool
layout_item_is_message(Page page, OffsetNumber offset)
{
	ItemId		lp;

	if (offset < FirstOffsetNumber || offset > PageGetMaxOffsetNumber(page))
		return false;
	lp = PageGetItemId(page, offset);
	if (!ItemIdIsNormal(lp))
		return false;
	if (ItemIdGetLength(lp) < SizeofHeapTupleHeader + sizeof(MessageHead))
		return false;
	return ((HeapTupleHeader) PageGetItem(page, lp))->t_hoff +
		sizeof(MessageHead) <= ItemIdGetLength(lp);
}

#endif							/* QUEUE_LAYOUT_H */
