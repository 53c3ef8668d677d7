/*
 * transfer.h
 *	  Takes messages out of one queue to put them into another, or elsewhere
 *	  in the same.
 */
#ifndef QUEUE_TRANSFER_H
#define QUEUE_TRANSFER_H

#include "access/htup.h"

#include "catalog.h"

/* Messages that were deleted in one segment, and which to delete */
typedef struct Transfer
{
	Queue	   *q;
	QueueSegment *seg;
	Relation	rel;			/* the segment, locked */
	/* decides about a live message, once; called under the buffer lock */
	bool		(*wanted) (struct Transfer *t, HeapTuple tup);
	void	   *arg;
	bool		uncounted;		/* the caller tells limits.c */
	int			n;
	int			max;			/* how many at most */
	HeapTuple  *tuple;			/* copies; t_self is where they were */
} Transfer;

/* What a message becomes in its next queue, beside undelivered */
typedef struct Renewal
{
	TimestampTz visible_at;
	TimestampTz enqueued_at;
	TimestampTz expires_at;		/* QUEUE_NO_EXPIRY = never */
	Datum		headers;		/* 0 = as they are */
} Renewal;

extern int	transfer_take(Transfer *t, BlockNumber block);
extern HeapTuple transfer_renew(TupleDesc desc, HeapTuple tuple,
								const Renewal *renewal);
extern void transfer_number(Queue *to, HeapTuple *tuples, int n);
extern void transfer_append(Queue *to, HeapTuple *tuples, int n,
							TimestampTz now);

#endif							/* QUEUE_TRANSFER_H */
