/*
 * filter.h
 *	  Claims of messages whose headers contain something.
 *
 * See filter.c for what is remembered.
 */
#ifndef QUEUE_FILTER_H
#define QUEUE_FILTER_H

#include "fmgr.h"
#include "utils/jsonb.h"

#include "catalog.h"
#include "mapwalk.h"

typedef struct Filter Filter;

/* The ready messages of one page, then those of them that fit the filter */
typedef struct FilterPage
{
	Buffer		buffer;
	uint32		version;		/* of the page's word, 0 = it has none */
	bool		needs_look;		/* the map must hear of the page */
	int			nready;
	int			n;
	OffsetNumber offset[RECEIPT_MAX_OFFSET];
	int64		id[RECEIPT_MAX_OFFSET];
	HeapTuple	tuple[RECEIPT_MAX_OFFSET];
} FilterPage;

extern Jsonb *filter_from_call(FunctionCallInfo fcinfo, int argno);
extern Filter *filter_open(Queue *q, Jsonb *headers);
extern MapSeen *filter_seen(Filter *filter, MapSlot *slot);
extern void filter_read(FilterPage *page, Queue *q, Relation rel,
						MapSlot *slot, Buffer buffer, TimestampTz now);
extern void filter_examine(Filter *filter, FilterPage *page, TupleDesc desc);
extern bool filter_wants(FilterPage *page, OffsetNumber offset, int64 id);
extern void filter_note(Filter *filter, FilterPage *page, MapSeen *seen,
						uint32 version, int left);

#endif							/* QUEUE_FILTER_H */
