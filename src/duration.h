/*
 * duration.h
 *	  Intervals as microseconds, and times that far away.
 */
#ifndef QUEUE_DURATION_H
#define QUEUE_DURATION_H

#include "datatype/timestamp.h"

extern int64 interval_microseconds(const Interval *interval);
extern TimestampTz timestamp_plus(TimestampTz t, int64 microseconds);

#endif							/* QUEUE_DURATION_H */
