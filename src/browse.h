/*
 * browse.h
 *	  Reads messages without taking them.
 */
#ifndef QUEUE_BROWSE_H
#define QUEUE_BROWSE_H

#include "access/htup_details.h"
#include "storage/bufmgr.h"
#include "utils/snapshot.h"

#include "catalog.h"

typedef enum BrowseState
{
	BROWSE_ANY,
	BROWSE_READY,
	BROWSE_DELAYED,
	BROWSE_LEASED,
	BROWSE_DEAD
} BrowseState;

/* What to read, and where the reading stands */
typedef struct Browse
{
	/* set by the caller, zero for all messages of the queue */
	BrowseState state;
	bool		by_id;			/* only the message with this id */
	int64		id;
	bool		nowait;			/* pass over segments that DDL has locked */
	bool		keep_lock;		/* on the segment open now */

	Queue	   *q;
	Snapshot	snapshot;
	TimestampTz now;			/* by which a message's state is told */
	int			segment;		/* of q->segments, the one open now */
	Relation	rel;			/* NULL before the first */
	MapSlot    *slot;
	BlockNumber block;			/* the next one */
	BlockNumber nblocks;
	BufferAccessStrategy strategy;
	MemoryContext context;		/* reset for each page */
	int			ntuples;		/* messages of the last page, and the next */
	int			next;
	HeapTuple	tuples[MaxHeapTuplesPerPage];
} Browse;

extern BrowseState browse_state(HeapTupleHeader tup, TimestampTz now);
extern Relation browse_open_segment(QueueSegment *seg, bool wait);
extern void browse_begin(Browse *browse, Queue *q, Snapshot snapshot);
extern HeapTuple browse_next(Browse *browse);
extern void browse_end(Browse *browse);

#endif							/* QUEUE_BROWSE_H */
