/*
 * settle.h
 *	  What a consumer, or the worker for him, does with a lease.
 */
#ifndef QUEUE_SETTLE_H
#define QUEUE_SETTLE_H

#include "catalog.h"

typedef enum SettleKind
{
	SETTLE_ACK,					/* done: deleted with the transaction */
	SETTLE_NACK,				/* failed: counts, comes back after a delay */
	SETTLE_RELEASE,				/* handed back: does not count */
	SETTLE_REJECT,				/* hopeless: dead at once */
	SETTLE_EXTEND				/* needs more time */
} SettleKind;

/* delay or extension not given */
#define SETTLE_DEFAULT_DELAY	(-1)

extern int	settle_receipts(Queue *q, SettleKind kind, const int64 *receipts,
							int n, int64 delay, const char *reason);
extern void settle_aborted(Queue *q, const AbortedClaim *claim);

#endif							/* QUEUE_SETTLE_H */
