/*
 * deadletter.h
 *	  Takes dead messages away; for the worker.
 */
#ifndef QUEUE_DEADLETTER_H
#define QUEUE_DEADLETTER_H

#include "datatype/timestamp.h"

extern TimestampTz deadletter_reap(TimestampTz now);
extern void deadletter_reap_unmapped(int32 queue_id);

#endif							/* QUEUE_DEADLETTER_H */
