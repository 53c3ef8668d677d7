/*
 * look.h
 *	  A look at all messages of a page, and what it tells the ready map.
 */
#ifndef QUEUE_LOOK_H
#define QUEUE_LOOK_H

#include "keys.h"
#include "page.h"
#include "readymap.h"

typedef struct PageLook
{
	MapLook		map;
	MapResult	result;
	Relation	rel;
	Buffer		buffer;
	Page		page;
	OffsetNumber offset;		/* of the message just returned */
	OffsetNumber max_offset;
	TimestampTz expires_at;		/* of that message, QUEUE_NO_EXPIRY = never */
	TimestampTz clock;			/* read under the lock, 0 = not yet */
	KeyPage    *keys;			/* of a tracked queue; NULL = no matter */
	uint64		hash;			/* of the key of the message just returned */
	bool		fair;			/* the key is a tenant of a fair queue */
	bool		noisy_known;	/* noisy is about the tenant with this hash: */
	bool		noisy;
	uint64		tenant;
} PageLook;

extern void look_begin(PageLook *look, Relation rel, MapSlot *slot,
					   Buffer buffer);
extern void look_track(PageLook *look, KeyPage *keys, const KeyPlace *place);
extern KeyState look_state(PageLook *look, const MessageHead *head,
						   TimestampTz now);
extern void look_tuple(PageLook *look, OffsetNumber offset, HeapTuple tup);
extern bool look_is_noisy(PageLook *look);
extern bool look_next(PageLook *look, HeapTuple tup);
extern void look_count(PageLook *look, const MessageHead *head, Size length,
					   TimestampTz now);
extern void look_end(PageLook *look);
extern int	look_became_ready(PageLook *look);

#endif							/* QUEUE_LOOK_H */
