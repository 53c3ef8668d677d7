/*
 * tend.h
 *	  What the worker does for its queues once a second, and less often.
 */
#ifndef QUEUE_TEND_H
#define QUEUE_TEND_H

#include "datatype/timestamp.h"

extern void tend_forget(void);
extern void tend_queues(TimestampTz now, bool full);
extern void tend_clock_set_back(void);

#endif							/* QUEUE_TEND_H */
