/*
 * claim.h
 *	  Takes messages for a consumer: by lease (dequeue) or for good (pop).
 */
#ifndef QUEUE_CLAIM_H
#define QUEUE_CLAIM_H

#include "access/htup.h"
#include "utils/jsonb.h"

#include "catalog.h"

/* Receives each message taken; the tuple lives until the call returns */
typedef void (*ClaimSink) (void *arg, Queue *q, TupleDesc desc,
						   HeapTuple tuple, int64 receipt);

typedef struct Claim
{
	Queue	   *q;				/* may be reloaded: read it back afterwards */
	int64		max;
	bool		pop;
	int64		visibility;		/* of a lease, in microseconds */
	Jsonb	   *filter;			/* what headers must contain, or NULL */
	bool		newer;			/* result: a message fits the filter, but the
								 * snapshot does not see it */
	bool		locked;			/* result: DDL holds a lock on a segment, which
								 * was passed over */
	ClaimSink	sink;
	void	   *arg;
} Claim;

/* A claimer takes expired leases itself when the worker is this late */
#define CLAIM_GRACE_USECS	(2 * USECS_PER_SEC)

extern int64 claim_messages(Claim *claim);
extern bool claim_something_newer(Queue *q);
extern bool claim_over_limit(Queue *q, int32 failures);
extern int64 claim_retry_delay(Queue *q, int32 failures);
extern DeathReason claim_death(Queue *q, HeapTupleHeader tup, TimestampTz now);
extern void claim_kill(MessageHead *head, DeathReason reason);
extern void claim_count_deaths(Queue *q, int dead, int leases,
							   bool droppable);

#endif							/* QUEUE_CLAIM_H */
