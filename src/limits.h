/*
 * limits.h
 *	  How much is in a queue that has max_messages or max_bytes.
 */
#ifndef QUEUE_LIMITS_H
#define QUEUE_LIMITS_H

#include "access/htup.h"
#include "storage/bufpage.h"

#include "catalog.h"

/* Room in a queue: for messages, and for the bytes of these */
typedef struct Room
{
	int64		messages;
	int64		bytes;
} Room;

extern void limits_init(void);

extern bool limits_fits(Queue *q, const Room *need);
extern bool limits_reserve(Queue *q, const Room *need, bool wait,
						   Room *missing);
extern void limits_give_back(Queue *q, const Room *room);
extern bool limits_wait(Queue *q, const Room *need);
extern Room limits_own(Queue *q);
extern Room limits_room_of(HeapTuple *tuples, int n);

extern void limits_prepare(void);
extern void limits_removed(Queue *q, Page page, const OffsetNumber *offsets,
						   int n);
extern void limits_moved_within(Queue *q, HeapTuple *tuples, int n);

extern bool limits_check(Queue *q);

/*
 * Makes room for limits_note_removed(), where memory can be had.
 */
static inline void
limits_prepare_removed(Queue *q)
{
	if (q->limited)
		limits_prepare();
}

/*
 * The current transaction has deleted the messages at these offsets of the
 * page, which is still locked.
 */
static inline void
limits_note_removed(Queue *q, Page page, const OffsetNumber *offsets, int n)
{
	if (q->limited)
		limits_removed(q, page, offsets, n);
}

/*
 * The current transaction appends messages that it has taken from elsewhere in
 * the same queue.
 */
static inline void
limits_note_moved_within(Queue *q, HeapTuple *tuples, int n)
{
	if (q->limited)
		limits_moved_within(q, tuples, n);
}

#endif							/* QUEUE_LIMITS_H */
