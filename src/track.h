/*
 * track.h
 *	  Counts the leases of a queue, and looks at pages for the registry.
 */
#ifndef QUEUE_TRACK_H
#define QUEUE_TRACK_H

#include "catalog.h"

extern bool track_is_full(Queue *q);
extern bool track_count(Queue **q);

#endif							/* QUEUE_TRACK_H */
