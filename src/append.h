/*
 * append.h
 *	  Puts new messages at the end of a chain of segments.
 */
#ifndef QUEUE_APPEND_H
#define QUEUE_APPEND_H

#include "access/htup.h"

#include "catalog.h"
#include "txn.h"

/* The sequence's increment: how many ids one reservation brings */
#define APPEND_MAX_IDS 4096

extern int64 append_reserve_ids(Queue *q, int n);
extern int32 append_messages(Queue *q, int chain, TxnPageKind kind,
							 HeapTuple *tuples, int n, TimestampTz due);

#endif							/* QUEUE_APPEND_H */
