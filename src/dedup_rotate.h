/*
 * dedup_rotate.h
 *	  Empties and switches the tables of dedup_ids; for the worker.
 */
#ifndef QUEUE_DEDUP_ROTATE_H
#define QUEUE_DEDUP_ROTATE_H

#include "datatype/timestamp.h"

extern void dedup_rotate(TimestampTz now);
extern void dedup_clock_set_back(void);

#endif							/* QUEUE_DEDUP_ROTATE_H */
