/*
 * keycells.c
 *	  What the registry of keys is stored in.
 *
 * Owns the cells: one for each key in use (its entry), each lease, and each
 * page listed under a key.  Entries are found by queue and hash; leases and
 * listings by queue and page; the listings of a key are also a tree in the
 * order of the pages.  What this means is keys.c's affair.
 *
 * Locks: the caller holds queue_shmem->keys_lock exclusively; a shared lock
 * will do where nothing is changed.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "keycells.h"

/* A free cell, 0 when no more than the reserve are left.  Lock held. */
static int
take_cell(int reserve)
{
	QueueShmem *shm = queue_shmem;
	int			cell = shm->free_key_cell;

	if (shm->max_key_cells - 1 - shm->used_key_cells <= reserve)
		return 0;
	if (cell != 0)
		shm->free_key_cell = shm->key_cells[cell].next_free;
	else
		cell = shm->fresh_key_cell++;
	shm->used_key_cells++;
	memset(&shm->key_cells[cell], 0, sizeof(KeyCell));
	return cell;
}

static void
free_cell(int cell)
{
	queue_shmem->key_cells[cell].next_free = queue_shmem->free_key_cell;
	queue_shmem->free_key_cell = cell;
	queue_shmem->used_key_cells--;
}

static int *
entry_bucket(uint32 queue, uint64 hash)
{
	return &queue_shmem->key_entries[(murmurhash32(queue) ^ (hash >> 8)) &
									 (queue_shmem->nkey_buckets - 1)];
}

/* The nodes of a page start here, among those of others */
int *
cells_page_bucket(uint32 queue, uint64 page)
{
	uint32		h = murmurhash32((uint32) page) ^
		murmurhash32(queue + (uint32) (page >> 32));

	return &queue_shmem->key_pages[h & (queue_shmem->nkey_buckets - 1)];
}

/* A key's entry, 0 = it has none */
int
cells_find_entry(uint32 queue, uint64 hash)
{
	int			i = *entry_bucket(queue, hash);

	while (i != 0 && (entry_at(i)->hash != hash ||
					  entry_at(i)->queue != queue))
		i = entry_at(i)->next;
	return i;
}

/* The same; makes the entry when there is none, if there is room */
static int
need_entry(QueueShared *qs, uint64 hash, int reserve)
{
	int			i;
	int		   *bucket;

	/* a queue without a place in shared memory has none here either */
	if (qs->serial == 0)
		return 0;
	i = cells_find_entry(qs->serial, hash);
	if (i != 0)
		return i;
	i = take_cell(reserve);
	if (i == 0)
		return 0;
	bucket = entry_bucket(qs->serial, hash);
	entry_at(i)->hash = hash;
	entry_at(i)->queue = qs->serial;
	entry_at(i)->place = qs - queue_shmem->queues;
	entry_at(i)->next = *bucket;
	*bucket = i;
	return i;
}

/* Gives an entry up that says nothing; true if it did */
bool
cells_drop_unused_entry(int i)
{
	KeyEntry   *entry = entry_at(i);
	int		   *link = entry_bucket(entry->queue, entry->hash);

	if (entry->nleased > 0 || entry->pages != 0)
		return false;
	while (*link != i)
		link = &entry_at(*link)->next;
	*link = entry->next;
	free_cell(i);
	return true;
}

/* The pages listed under a key are a treap, by their order */
static inline uint32
priority_of(int i)
{
	uint64		page = node_at(i)->page;

	return murmurhash32((uint32) page ^ (uint32) (page >> 32));
}

/* Enters a page into a key's tree */
static void
tree_insert(int *link, int i)
{
	uint64		page = node_at(i)->page;
	int		   *left = &node_at(i)->left;
	int		   *right = &node_at(i)->right;
	int			rest;

	while (*link != 0 && priority_of(*link) >= priority_of(i))
		link = page < node_at(*link)->page ? &node_at(*link)->left :
			&node_at(*link)->right;
	rest = *link;
	*link = i;
	/* what was here is cut in two */
	while (rest != 0)
	{
		if (node_at(rest)->page < page)
		{
			*left = rest;
			left = &node_at(rest)->right;
			rest = *left;
		}
		else
		{
			*right = rest;
			right = &node_at(rest)->left;
			rest = *right;
		}
	}
	*left = *right = 0;
}

/* Takes it out */
static void
tree_remove(int *link, int i)
{
	uint64		page = node_at(i)->page;
	int			left = node_at(i)->left;
	int			right = node_at(i)->right;

	while (*link != i)
		link = page < node_at(*link)->page ? &node_at(*link)->left :
			&node_at(*link)->right;
	while (left != 0 && right != 0)
	{
		if (priority_of(left) >= priority_of(right))
		{
			*link = left;
			link = &node_at(left)->right;
			left = *link;
		}
		else
		{
			*link = right;
			link = &node_at(right)->left;
			right = *link;
		}
	}
	*link = left != 0 ? left : right;
}

/* The first page listed under a key, 0 = none */
int
cells_first_listed(int entry)
{
	int			i = entry_at(entry)->pages;

	while (i != 0 && node_at(i)->left != 0)
		i = node_at(i)->left;
	return i;
}

/* Is an earlier page than this one listed? */
bool
cells_listed_before(int entry, uint64 page)
{
	int			i = cells_first_listed(entry);

	return i != 0 && node_at(i)->page < page;
}

/*
 * If the key has no lease, lets the next walk find the first page listed
 * under it, unless that is the one at hand.  Returns whether it did.
 */
bool
cells_advance(int entry, uint64 except)
{
	KeyNode    *node;
	int			first;

	if (entry_at(entry)->nleased > 0)
		return false;
	first = cells_first_listed(entry);
	if (first == 0 || node_at(first)->page == except)
		return false;
	node = node_at(first);
	if (node->slot != NO_SLOT)
		map_bump(&queue_shmem->slots[node->slot],
				 node->page & (RECEIPT_MAX_BLOCKS - 1), true, 0,
				 QUEUE_NO_DUE);
	return true;
}

/* Makes a node of the page; 0 = no room */
static int
cells_add_node(const KeyPlace *place, int entry, int reserve)
{
	int			i = take_cell(reserve);
	int		   *bucket;

	if (i == 0)
		return 0;
	bucket = cells_page_bucket(entry_at(entry)->queue, place->page);
	node_at(i)->page = place->page;
	node_at(i)->entry = entry;
	node_at(i)->slot = place->slot == NULL ? NO_SLOT :
		place->slot - queue_shmem->slots;
	node_at(i)->next = *bucket;
	*bucket = i;
	return i;
}

/* Takes the node out that *link names */
void
cells_remove_node(int *link)
{
	int			i = *link;
	int			entry = node_at(i)->entry;

	*link = node_at(i)->next;
	if (node_at(i)->leased)
	{
		QueueShared *qs = &queue_shmem->queues[entry_at(entry)->place];

		entry_at(entry)->nleased--;
		if (qs->serial == entry_at(entry)->queue)
			pg_atomic_fetch_sub_u32(&qs->in_flight, 1);
	}
	else
		tree_remove(&entry_at(entry)->pages, i);
	free_cell(i);
}

/* Registers a lease; false = no room */
bool
cells_add_lease(const KeyPlace *place, uint64 hash, OffsetNumber offset,
		  uint32 owner)
{
	int			entry = need_entry(place->qs, hash, 0);
	int			i;

	if (entry == 0)
		return false;
	i = cells_add_node(place, entry, 0);
	if (i == 0)
	{
		(void) cells_drop_unused_entry(entry);
		return false;
	}
	node_at(i)->leased = true;
	node_at(i)->offset = offset;
	node_at(i)->owner = owner;
	entry_at(entry)->nleased++;
	pg_atomic_fetch_add_u32(&place->qs->in_flight, 1);
	return true;
}

/* The node of a page listed under a key, 0 = it is not */
int
cells_find_listing(int entry, uint64 page)
{
	int			i = entry_at(entry)->pages;

	while (i != 0 && node_at(i)->page != page)
		i = page < node_at(i)->page ? node_at(i)->left : node_at(i)->right;
	return i;
}

/* Lists a page under a key; false = no room */
bool
cells_list_page(const KeyPlace *place, uint64 hash, int reserve)
{
	int			entry = need_entry(place->qs, hash, reserve);
	int			i;

	if (entry == 0)
		return false;
	if (cells_find_listing(entry, place->page) != 0)
		return true;
	i = cells_add_node(place, entry, reserve);
	if (i == 0)
	{
		(void) cells_drop_unused_entry(entry);
		return false;
	}
	tree_insert(&entry_at(entry)->pages, i);
	return true;
}

/*
 * Has the queue handed out as much as it may, or is it not known how much that
 * is?
 */
bool
cells_is_full(QueueShared *qs)
{
	return qs->max_in_flight > 0 && qs->serial != 0 &&
		(pg_atomic_read_u32(&qs->counted) != KEYS_COUNTED ||
		 pg_atomic_read_u32(&qs->in_flight) >= (uint32) qs->max_in_flight);
}

/*
 * Takes a lease of the page out of the registry.  If its message is still
 * there, walks that passed the page must know: the cell that becomes free is
 * enough to list it.  Returns how many waiters to wake.
 */
int
cells_end_lease(int *link, const KeyPlace *place, bool still_there)
{
	int			entry = node_at(*link)->entry;
	int			freed = cells_is_full(place->qs);

	cells_remove_node(link);
	if (still_there && place->ordered)
		(void) cells_list_page(place, entry_at(entry)->hash, 0);
	if (!cells_drop_unused_entry(entry) &&
		cells_advance(entry, still_there ? place->page : 0))
		freed++;
	return freed;
}

/* Removes the nodes that a test names.  Lock held. */
void
cells_forget_nodes(bool (*test) (int, const void *), const void *arg)
{
	QueueShmem *shm = queue_shmem;

	for (uint32 b = 0; b < shm->nkey_buckets && shm->used_key_cells > 0; b++)
	{
		int		   *link = &shm->key_pages[b];

		while (*link != 0)
		{
			int			entry = node_at(*link)->entry;

			if (!test(*link, arg))
				link = &node_at(*link)->next;
			else
			{
				cells_remove_node(link);
				if (!cells_drop_unused_entry(entry))
					(void) cells_advance(entry, 0);
			}
		}
	}
}
