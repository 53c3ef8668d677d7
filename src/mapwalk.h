/*
 * mapwalk.h
 *	  Walks over the pages of a segment that the ready map names.
 *
 * See mapwalk.c for what a walk may skip.
 */
#ifndef QUEUE_MAPWALK_H
#define QUEUE_MAPWALK_H

#include "readymap.h"

/*
 * What a session remembers of a slot's pages: at which version it has examined
 * all that was ready on a page, in vain.  The same for a whole chunk, by the
 * bumps of its lane 0.
 */
typedef struct MapSeenChunk
{
	uint64		bumps;			/* PG_UINT64_MAX = not known */
	uint32		version[MAP_CHUNK_PAGES];	/* 0 = not seen */
} MapSeenChunk;

typedef struct MapSeen
{
	MapSlot    *slot;
	uint32		generation;		/* of the slot */
	MapSeenChunk *chunk[MAP_SLOT_CHUNKS];	/* NULL = nothing seen */
} MapSeen;

/* Where a walk over the pages to look at stands */
typedef struct MapWalk
{
	MapSlot    *slot;			/* NULL: every page is looked at */
	Relation	rel;
	BlockNumber next;
	BlockNumber npages;			/* of the file */
	int			which;			/* flags below */
	int			lane;			/* ready on this lane or a higher one */
	TimestampTz due_before;		/* also pages with a deadline before this */
	MapSeen    *seen;			/* ready pages to pass over, NULL = none */
	bool		chunk_seen;		/* met no other ready page in the chunk */
	bool		slot_clear;		/* met no ready page so far */
	bool		chunk_clear;	/* the same since the chunk's first page */
	uint64		slot_bumps;		/* when the walk began */
	uint64		chunk_bumps;	/* when it entered the chunk */
} MapWalk;

/* Which pages a walk is about, beside those with a deadline */
#define MAP_WALK_READY	0x01
#define MAP_WALK_STALE	0x02

extern void map_walk_begin(MapWalk *walk, MapSlot *slot, Relation rel,
						   int which, int lane, TimestampTz due_before);
extern BlockNumber map_walk_next(MapWalk *walk);
extern void map_walk_stop(MapWalk *walk);

#endif							/* QUEUE_MAPWALK_H */
