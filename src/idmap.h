/*
 * idmap.h
 *	  Between which ids the messages of a heap page lie.
 *
 * See idmap.c.
 */
#ifndef QUEUE_IDMAP_H
#define QUEUE_IDMAP_H

#include "shmem.h"

extern void idmap_init_chunk(MapChunk *chunk);
extern void idmap_enter(MapChunk *chunk, int i, bool known);
extern void idmap_widen(MapChunk *chunk, int i, int64 least, int64 greatest);
extern void idmap_set(MapChunk *chunk, int i, int64 least, int64 greatest);
extern void idmap_forget(MapChunk *chunk, int i);
extern bool idmap_chunk_may_hold(MapChunk *chunk, int64 id);
extern bool idmap_page_may_hold(MapChunk *chunk, int i, int64 id);

#endif							/* QUEUE_IDMAP_H */
