/*
 * rotate.h
 *	  Opens, drains, parks and truncates segments; for the worker.
 */
#ifndef QUEUE_ROTATE_H
#define QUEUE_ROTATE_H

#include "catalog.h"

extern bool rotate_somebody_in_the_way(Oid relid);
extern bool rotate_wants_segment(Queue *q, QueueSegment *seg);
extern bool rotate_adopt(Queue *q, QueueSegment *seg);
extern bool rotate_drained(Queue *q, QueueSegment *seg);
extern bool rotate_truncate(Queue *q, QueueSegment *seg);
extern bool rotate_wants_parking(Queue *q, QueueSegment *seg);
extern int64 rotate_park(Queue *q, QueueSegment *seg);
extern void rotate_forget_forwarding(Queue *q);

#endif							/* QUEUE_ROTATE_H */
