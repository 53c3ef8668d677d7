/*
 * keycells.h
 *	  What the registry of keys is stored in; for keys.c alone.
 */
#ifndef QUEUE_KEYCELLS_H
#define QUEUE_KEYCELLS_H

#include "keys.h"

#define NO_SLOT ((1 << 22) - 1)

/* Pages are listed only while so much of the registry is free */
#define LISTING_RESERVE (queue_shmem->max_key_cells / 4)

static inline KeyEntry *
entry_at(int i)
{
	return &queue_shmem->key_cells[i].entry;
}

static inline KeyNode *
node_at(int i)
{
	return &queue_shmem->key_cells[i].node;
}

/* Does a node of this bucket belong to the page? */
static inline bool
is_of_page(int i, uint32 queue, uint64 page)
{
	return node_at(i)->page == page &&
		entry_at(node_at(i)->entry)->queue == queue;
}

extern int *cells_page_bucket(uint32 queue, uint64 page);
extern int	cells_find_entry(uint32 queue, uint64 hash);
extern bool cells_drop_unused_entry(int i);
extern int	cells_first_listed(int entry);
extern bool cells_listed_before(int entry, uint64 page);
extern bool cells_advance(int entry, uint64 except);
extern void cells_remove_node(int *link);
extern bool cells_add_lease(const KeyPlace *place, uint64 hash,
							OffsetNumber offset, uint32 owner);
extern int	cells_find_listing(int entry, uint64 page);
extern bool cells_list_page(const KeyPlace *place, uint64 hash, int reserve);
extern bool cells_is_full(QueueShared *qs);
extern int	cells_end_lease(int *link, const KeyPlace *place,
							bool still_there);
extern void cells_forget_nodes(bool (*test) (int, const void *),
							   const void *arg);

#endif							/* QUEUE_KEYCELLS_H */
