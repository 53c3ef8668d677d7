/*
 * delta.h
 *	  Changes of one page, logged as a generic record.
 */
#ifndef QUEUE_DELTA_H
#define QUEUE_DELTA_H

#include "access/xlogdefs.h"
#include "storage/buf.h"
#include "storage/bufpage.h"
#include "utils/rel.h"

extern void delta_begin(void);
extern void delta_change(Page page, const void *at, const void *value,
						 Size length);
extern XLogRecPtr delta_apply(Relation rel, Buffer buffer);

#endif							/* QUEUE_DELTA_H */
