/*
 * overflow.h
 *	  What a send does when its queue is full.
 */
#ifndef QUEUE_OVERFLOW_H
#define QUEUE_OVERFLOW_H

#include "limits.h"

extern void overflow_reserve(Queue *q, int64 messages, int64 bytes);
extern bool overflow_reserve_some(Queue *q, Room *room);

#endif							/* QUEUE_OVERFLOW_H */
