/*
 * keys.h
 *	  The registry of keys: which are in use, and which pages wait for them.
 *
 * See keys.c for the invariants.
 */
#ifndef QUEUE_KEYS_H
#define QUEUE_KEYS_H

#include "access/htup.h"

#include "layout.h"
#include "readymap.h"

/* Where messages are: a page of a tracked queue */
typedef struct KeyPlace
{
	QueueShared *qs;
	MapSlot    *slot;			/* NULL = none */
	BlockNumber block;
	uint64		page;			/* its order within the queue */
	bool		ordered;		/* a fifo queue */
	bool		by_key;			/* leases are counted by key */
} KeyPlace;

/* What a look or a change finds out about a message */
typedef enum KeyState
{
	KEY_READY,					/* may be taken, by the clock */
	KEY_LEASED,
	KEY_DELAYED,
	KEY_UNDECIDED,				/* a running transaction decides */
	KEY_DEAD
} KeyState;

typedef struct KeyItem
{
	uint64		hash;
	OffsetNumber offset;
	uint8		state;
	bool		wanted;			/* ready, and the caller would take it */
	bool		taken;			/* he may, and it is registered for him */
	bool		counted;		/* for the caller */
} KeyItem;

#define KEY_MAX_ITEMS	RECEIPT_MAX_OFFSET

/* A look at, or a change of, the messages of a page */
typedef struct KeyPage
{
	KeyPlace	place;
	bool		done;			/* keys_look() was called */
	int			n;
	KeyItem		item[KEY_MAX_ITEMS];	/* in the order of the offsets */

	/* results */
	bool		keep_ready;		/* ordered: the page must stay ready */
	bool		limited;		/* max_in_flight is reached */
	int			claimable;		/* that the caller could have taken */
	int			freed;			/* waiters to wake */
} KeyPage;

/* What a claim met on its way; grows before a page is locked */
typedef struct KeyMet
{
	uint64		hash;
	bool		used;
	bool		passed;			/* a message was left: no later one */
	int			mine;			/* leases that this claim took */
} KeyMet;

typedef struct KeyWalk
{
	uint32		serial;			/* of the claim */
	int			size;
	int			used;
	KeyMet	   *met;
	MemoryContext context;
} KeyWalk;

/* Messages of a page that a transaction deleted, for its end */
typedef struct KeyGone
{
	KeyPlace	place;
	uint32		serial;			/* of the queue's place */
	uint32		owner;			/* of a pop: the claim */
	uint64		offsets[4];		/* a bit for each */
} KeyGone;

#define KEYS_COUNTED	2

extern uint64 keys_hash(HeapTupleHeader tup, Size length);
extern void keys_adopt_slot(MapSlot *slot, bool ordered, QueueShared *qs,
							uint64 first_page);
extern void keys_forget_slot(MapSlot *slot);
extern void keys_forget_queue(QueueShared *qs);
extern bool keys_begin_count(QueueShared *qs);
extern void keys_count_anew(QueueShared *qs);
extern void keys_end_count(bool counted);
extern QueueShared *keys_abandon_count(void);

extern void keys_walk_begin(KeyWalk *walk);
extern void keys_walk_again(KeyWalk *walk);
extern void keys_walk_reserve(KeyWalk *walk);

extern void keys_page_begin(KeyPage *kp, const KeyPlace *place);
extern KeyItem *keys_add(KeyPage *kp, OffsetNumber offset, uint64 hash,
						 KeyState state);
extern void keys_look(KeyPage *kp, KeyWalk *walk, int room);
extern void keys_changed(KeyPage *kp);

extern int	keys_gone(const KeyGone *gone);
extern int	keys_back(const KeyGone *gone);

extern int	keys_in_flight(QueueShared *qs, uint64 hash);
extern bool keys_is_noisy(QueueShared *qs, uint64 hash);

/*
 * The order of a page within its queue: parked ones first.
 */
static inline uint64
keys_page_order(bool main_chain, int32 life, BlockNumber block)
{
	return ((uint64) main_chain << (RECEIPT_BLOCK_BITS + 32)) |
		((uint64) (uint32) life << RECEIPT_BLOCK_BITS) | block;
}

#endif							/* QUEUE_KEYS_H */
