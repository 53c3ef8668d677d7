/*
 * wait.h
 *	  A receive call: claims, and waits for something to claim.
 */
#ifndef QUEUE_WAIT_H
#define QUEUE_WAIT_H

#include "claim.h"

typedef struct Receive
{
	int			nqueues;		/* at most QUEUE_MAX_WAIT_QUEUES to wait */
	Queue	  **queues;			/* reloaded while waiting */
	int64		max;
	bool		pop;
	bool		default_visibility; /* take each queue's own */
	int64		visibility;		/* microseconds */
	int64		wait;			/* microseconds, 0 = do not wait */
	Jsonb	   *filter;			/* NULL = none */
	bool		drop_snapshot;	/* hold none while waiting, where possible */
	ClaimSink	sink;
	void	   *arg;
} Receive;

extern int64 receive_messages(Receive *receive);

#endif							/* QUEUE_WAIT_H */
