/*
 * deadletter.h
 *	  Takes dead messages away; for the worker.
 */
#ifndef QUEUE_DEADLETTER_H
#define QUEUE_DEADLETTER_H

#include "access/htup.h"
#include "datatype/timestamp.h"

#include "catalog.h"

extern Queue *deadletter_target(Queue *q, bool wait);
extern HeapTuple deadletter_copy(Queue *q, Queue *to, TupleDesc desc,
								 HeapTuple tuple, DeathReason reason,
								 bool droppable, TimestampTz now);
extern TimestampTz deadletter_reap(TimestampTz now);
extern void deadletter_reap_unmapped(int32 queue_id);

#endif							/* QUEUE_DEADLETTER_H */
