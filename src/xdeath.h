/*
 * xdeath.h
 *	  The history of a message's deaths, in its header x-death.
 */
#ifndef QUEUE_XDEATH_H
#define QUEUE_XDEATH_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "layout.h"

extern Jsonb *xdeath_add(Jsonb *headers, const char *queue,
						 DeathReason reason, int64 id, TimestampTz at,
						 const char *detail);
extern int64 xdeath_max_growth(const char *queue);
extern bool xdeath_is_cycle(Jsonb *headers, const char *target);
extern int64 xdeath_size(Jsonb *headers);
extern char *xdeath_origin(Jsonb *headers);

#endif							/* QUEUE_XDEATH_H */
