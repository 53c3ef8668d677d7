/*
 * keys.c
 *	  The registry of keys: which are in use, and which pages wait for them.
 *
 * For queues of kind fifo, and for those whose leases are counted (fair,
 * max_in_flight).  It lives in shared memory, and all of it can be found out
 * again by looking at pages.  It knows
 *	- the leases of such queues, by page and by key, and
 *	- for fifo: the pages listed under a key, because a message of the key
 *	  waits on them that is not leased.
 *
 * The order of messages of a key is that of their places: segment, page, item.
 * A walk over a fifo queue looks at all ready pages in this order and leaves
 * out the others.  It takes a message unless
 *	- the walk left an earlier one of its key for a reason of its own,
 *	- somebody else holds a lease on a message of its key,
 *	- an earlier page is listed under its key, or
 *	- an earlier message of its key on the same page is not to be had.
 *
 * Invariants (of a fifo queue)
 *	1. On a page that is not READY each live or undecided message, unless it
 *	   is dead, has its lease registered, or the page is listed under its key.
 *	   What finds no room in the registry keeps its page READY.
 *	2. A page stays listed until a look finds no message of the key left
 *	   there that is not registered.  So a walk that passed the page before
 *	   the key became free takes nothing of it from later pages.
 *	3. When a key has no lease, the first page listed under it is READY,
 *	   unless the first message there is delayed or undecided: then its
 *	   deadline, or PENDING, makes it so.  Whoever takes away a key's last
 *	   lease, or its first page, bumps the page that is the first then.
 *	4. A lease is registered before it is written to the page, and taken out
 *	   when it ends: at once by nack, release and reject, at commit by ack and
 *	   pop, else by the next look, which comes when the lease has expired.
 *	   A look also takes out what is not on the page any more.
 *
 * A full registry makes walks slower, and a queue with max_in_flight hand out
 * less.  Two keys with the same hash, of 64 bits, wait for each other.
 *
 * Locks: queue_shmem->keys_lock, taken under a page's exclusive buffer lock or
 * in a transaction callback, held for the work on one page.  Under it only
 * atomics of the ready map are touched.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/memutils.h"

#include "keycells.h"

/* A noisy tenant has so many leases, and more than a tenth of all */
#define FAIR_LEAST		30
#define FAIR_TENANTS	10

/* While a session counts leases, the state is a mark of its own */
#define NOT_COUNTED		0
#define COUNTING		1
#define MARK_SHIFT		2

/* The queue that this session is counting, and its mark there */
static QueueShared *counting = NULL;
static uint32 my_mark = 0;

/* What one look knows about a key */
typedef struct KeyGroup
{
	uint64		hash;
	int			entry;			/* 0 = none */
	bool		blocked;		/* a message of it was met that blocks */
	bool		wait;			/* the page must be listed */
	bool		left;			/* one that is not registered is left */
	bool		taken;
} KeyGroup;

#define GROUP_SLOTS 512

typedef struct KeyLook
{
	KeyPage    *kp;
	KeyWalk    *walk;			/* NULL: nothing is taken */
	int			room;
	int			ngroups;
	KeyGroup	group[KEY_MAX_ITEMS];
	uint8		of_item[KEY_MAX_ITEMS];
	uint16		slot[GROUP_SLOTS];	/* group + 1 */
	uint16		by_offset[RECEIPT_MAX_OFFSET + 1];	/* item + 1 */
	bool		registered[KEY_MAX_ITEMS];
} KeyLook;

/*
 * The hash of a message's key.  It is read from the page: a fifo queue's key
 * is stored as it is, others may be compressed or out of line.
 */
uint64
keys_hash(HeapTupleHeader tup, Size length)
{
	char	   *key;
	Size		before;

	if ((tup->t_infomask & HEAP_HASNULL) != 0 &&
		att_isnull(Anum_msg_key - 1, tup->t_bits))
		return 0;
	key = (char *) message_head(tup) + sizeof(MessageHead);
	if (message_expires_at(tup) != QUEUE_NO_EXPIRY ||
		(tup->t_infomask & HEAP_HASNULL) == 0 ||
		!att_isnull(Anum_msg_expires_at - 1, tup->t_bits))
		key += sizeof(TimestampTz);
	before = key - (char *) tup;
	if (before >= length || before + VARSIZE_ANY(key) > length)
		return 0;
	return hash_bytes_extended((unsigned char *) VARDATA_ANY(key),
							   VARSIZE_ANY_EXHDR(key), 1) | 1;
}

/* Nodes of one queue's segment, by the order of its first page */
typedef struct SegmentNodes
{
	uint32		queue;
	uint64		first;
} SegmentNodes;

/* Tests for cells_forget_nodes() */
static bool
is_of_segment(int i, const void *arg)
{
	const SegmentNodes *which = arg;

	return entry_at(node_at(i)->entry)->queue == which->queue &&
		node_at(i)->page - which->first < RECEIPT_MAX_BLOCKS;
}

static bool
is_of_slot(int i, const void *arg)
{
	return node_at(i)->slot == *(const unsigned *) arg;
}

static bool
is_of_queue(int i, const void *arg)
{
	return entry_at(node_at(i)->entry)->queue == *(const uint32 *) arg;
}

/*
 * Called before the first look at pages of a segment of a tracked queue: what
 * is known about a slot just made is of an earlier file.  All its pages are
 * cold, so nothing has to be known.
 */
void
keys_adopt_slot(MapSlot *slot, bool ordered, QueueShared *qs,
				uint64 first_page)
{
	SegmentNodes which = {qs->serial, first_page};

	if (!slot->unseen)
		return;
	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	if (slot->unseen)
	{
		cells_forget_nodes(is_of_segment, &which);
		if (pg_atomic_read_u32(&slot->npages) > 0)
			pg_atomic_write_u32(&qs->counted, 0);
		slot->ordered = ordered;
		pg_write_barrier();
		slot->unseen = false;
	}
	LWLockRelease(queue_shmem->keys_lock);
}

/*
 * The slot is given up.
 */
void
keys_forget_slot(MapSlot *slot)
{
	unsigned	index = slot - queue_shmem->slots;

	if (slot->unseen)
		return;
	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	cells_forget_nodes(is_of_slot, &index);
	LWLockRelease(queue_shmem->keys_lock);
}

/*
 * The queue's place is about to be given up.
 */
void
keys_forget_queue(QueueShared *qs)
{
	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	cells_forget_nodes(is_of_queue, &qs->serial);
	LWLockRelease(queue_shmem->keys_lock);
}

/*
 * This session begins to count the queue's leases; false when another does.
 */
bool
keys_begin_count(QueueShared *qs)
{
	uint32		expected = NOT_COUNTED;

	my_mark = (pg_atomic_fetch_add_u32(&queue_shmem->claim_serial, 1) + 1)
		<< MARK_SHIFT | COUNTING;
	if (!pg_atomic_compare_exchange_u32(&qs->counted, &expected, my_mark))
		return false;
	counting = qs;
	return true;
}

/*
 * The leases of a queue that is not fifo are found anew.  If another session
 * has begun to count since this one did, what is registered is its work.
 */
void
keys_count_anew(QueueShared *qs)
{
	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&qs->counted) == my_mark)
		cells_forget_nodes(is_of_queue, &qs->serial);
	LWLockRelease(queue_shmem->keys_lock);
}

/*
 * Counting is over; what changed meanwhile has undone it.
 */
void
keys_end_count(bool counted)
{
	uint32		expected = my_mark;

	(void) pg_atomic_compare_exchange_u32(&counting->counted, &expected,
										  counted ? KEYS_COUNTED :
										  NOT_COUNTED);
	counting = NULL;
}

/*
 * The transaction aborts, also by the end of its session.  Returns the queue
 * that it was counting, which somebody else has to do, or NULL.  Callback.
 */
QueueShared *
keys_abandon_count(void)
{
	QueueShared *qs = counting;

	if (qs != NULL)
		keys_end_count(false);
	return qs;
}

/*
 * Starts a claim.  Memory comes from the current context.
 */
void
keys_walk_begin(KeyWalk *walk)
{
	walk->serial = pg_atomic_fetch_add_u32(&queue_shmem->claim_serial, 1) + 1;
	if (walk->serial == 0)		/* nobody */
		walk->serial = pg_atomic_fetch_add_u32(&queue_shmem->claim_serial,
											   1) + 1;
	walk->size = walk->used = 0;
	walk->met = NULL;
	walk->context = CurrentMemoryContext;
}

/* What the walk knows about a key; NULL = nothing, or a new one with make */
static KeyMet *
met_key(KeyWalk *walk, uint64 hash, bool make)
{
	int			i;

	if (walk->size == 0)
		return NULL;
	i = murmurhash32((uint32) (hash >> 16)) & (walk->size - 1);
	while (walk->met[i].used && walk->met[i].hash != hash)
		i = (i + 1) & (walk->size - 1);
	if (!walk->met[i].used)
	{
		if (!make)
			return NULL;
		walk->met[i].used = true;
		walk->met[i].hash = hash;
		walk->used++;
	}
	return &walk->met[i];
}

/*
 * The claim walks once more from the start.
 */
void
keys_walk_again(KeyWalk *walk)
{
	for (int i = 0; i < walk->size; i++)
		walk->met[i].passed = false;
}

/*
 * Makes room for all keys that a page may have.  Call it before the lock.
 */
void
keys_walk_reserve(KeyWalk *walk)
{
	KeyMet	   *old = walk->met;
	int			old_size = walk->size;

	if ((walk->used + KEY_MAX_ITEMS) * 2 <= walk->size)
		return;
	walk->size = Max(walk->size * 2, 1024);
	walk->met = MemoryContextAllocExtended(walk->context,
										   walk->size * sizeof(KeyMet),
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	walk->used = 0;
	for (int i = 0; i < old_size; i++)
		if (old[i].used)
			*met_key(walk, old[i].hash, true) = old[i];
	if (old != NULL)
		pfree(old);
}

/*
 * Starts a look at a page, or a change of it.
 */
void
keys_page_begin(KeyPage *kp, const KeyPlace *place)
{
	kp->place = *place;
	kp->done = false;
	kp->n = 0;
	kp->keep_ready = kp->limited = false;
	kp->claimable = kp->freed = 0;
}

/*
 * Adds a message of the page, in the order of the offsets.  NULL for one that
 * no receipt can name, which nobody can take.
 */
KeyItem *
keys_add(KeyPage *kp, OffsetNumber offset, uint64 hash, KeyState state)
{
	KeyItem    *item;

	if (offset > RECEIPT_MAX_OFFSET)
	{
		kp->keep_ready = true;
		return NULL;
	}
	Assert(kp->n < KEY_MAX_ITEMS);
	item = &kp->item[kp->n++];
	item->hash = kp->place.by_key ? hash : 0;
	item->offset = offset;
	item->state = state;
	item->wanted = item->taken = item->counted = false;
	return item;
}

/* Sorts the messages of a page by key */
static void
group_items(KeyLook *look)
{
	KeyPage    *kp = look->kp;

	look->ngroups = 0;
	memset(look->slot, 0, sizeof(look->slot));
	memset(look->by_offset, 0, sizeof(look->by_offset));
	memset(look->registered, 0, sizeof(look->registered));
	for (int i = 0; i < kp->n; i++)
	{
		uint64		hash = kp->item[i].hash;
		int			s = (hash >> 24) % GROUP_SLOTS;

		look->by_offset[kp->item[i].offset] = i + 1;
		while (look->slot[s] != 0 &&
			   look->group[look->slot[s] - 1].hash != hash)
			s = (s + 1) % GROUP_SLOTS;
		if (look->slot[s] == 0)
		{
			KeyGroup   *group = &look->group[look->ngroups++];

			memset(group, 0, sizeof(*group));
			group->hash = hash;
			look->slot[s] = look->ngroups;
		}
		look->of_item[i] = look->slot[s] - 1;
	}
}

/* The page's group of a key, NULL when no message of it is there */
static KeyGroup *
find_group(KeyLook *look, uint64 hash)
{
	int			s = (hash >> 24) % GROUP_SLOTS;

	while (look->slot[s] != 0)
	{
		KeyGroup   *group = &look->group[look->slot[s] - 1];

		if (group->hash == hash)
			return group;
		s = (s + 1) % GROUP_SLOTS;
	}
	return NULL;
}

/* The message on the page that a registered lease is of, NULL = gone */
static KeyItem *
leased_item(KeyLook *look, KeyNode *node)
{
	int			i = (int) look->by_offset[node->offset] - 1;

	if (i < 0 || look->kp->item[i].hash != entry_at(node->entry)->hash ||
		look->kp->item[i].state == KEY_DEAD)
		return NULL;
	return &look->kp->item[i];
}

/* Takes out the leases of the page that have ended, and marks the others */
static void
drop_ended_leases(KeyLook *look)
{
	KeyPlace   *place = &look->kp->place;
	uint32		queue = place->qs->serial;
	int		   *link = cells_page_bucket(queue, place->page);

	while (*link != 0)
	{
		KeyNode    *node = node_at(*link);
		KeyItem    *item = NULL;
		KeyMet	   *met = NULL;

		if (is_of_page(*link, queue, place->page) && node->leased)
		{
			item = leased_item(look, node);
			if (item == NULL ||
				(item->state != KEY_LEASED && item->state != KEY_UNDECIDED))
			{
				/* one of our own, of a first try */
				if (look->walk != NULL && node->owner == look->walk->serial)
					met = met_key(look->walk, entry_at(node->entry)->hash,
								  false);
				if (met != NULL)
					met->mine--;
				look->kp->freed += cells_end_lease(link, place, item != NULL);
				continue;
			}
			look->registered[item - look->kp->item] = true;
		}
		link = &node_at(*link)->next;
	}
}

/* A message of the key is left, and no later one may be taken */
static void
leave(KeyLook *look, KeyGroup *group)
{
	group->blocked = group->left = true;
	look->kp->keep_ready = true;
	if (look->walk != NULL)
		met_key(look->walk, group->hash, true)->passed = true;
}

/* Does something that the registry knows keep the key's messages back? */
static bool
is_blocked(KeyLook *look, KeyGroup *group, KeyMet *met)
{
	int			entry = cells_find_entry(look->kp->place.qs->serial,
										 group->hash);

	if (entry == 0)
		return false;
	return entry_at(entry)->nleased > (met != NULL ? met->mine : 0) ||
		cells_listed_before(entry, look->kp->place.page);
}

/* Takes a message of a fifo queue that nothing keeps back */
static void
take_ordered(KeyLook *look, KeyGroup *group, KeyItem *item)
{
	KeyMet	   *met = met_key(look->walk, group->hash, true);

	if (cells_add_lease(&look->kp->place, group->hash, item->offset,
				  look->walk->serial))
	{
		met->mine++;
		group->taken = true;
	}
	else if (met->mine > 0)
	{
		/* no run of what is not registered */
		leave(look, group);
		return;
	}
	else
		leave(look, group);
	item->taken = true;
	look->room--;
}

/* Decides about a message of a fifo queue that is ready by the clock */
static void
judge_ready(KeyLook *look, KeyGroup *group, KeyItem *item)
{
	KeyPage    *kp = look->kp;
	KeyMet	   *met = look->walk == NULL ? NULL :
		met_key(look->walk, group->hash, false);

	if (group->left || (met != NULL && met->passed))
		leave(look, group);
	else if (group->blocked || is_blocked(look, group, met))
		group->blocked = group->wait = true;
	else
	{
		kp->claimable++;
		if (look->walk == NULL || !item->wanted || look->room <= 0)
			leave(look, group);
		else if (cells_is_full(kp->place.qs))
		{
			kp->limited = true;
			leave(look, group);
		}
		else
			take_ordered(look, group, item);
	}
}

/* Decides about all messages of a page of a fifo queue, in order */
static void
judge_ordered(KeyLook *look)
{
	KeyPage    *kp = look->kp;

	for (int i = 0; i < kp->n; i++)
	{
		KeyItem    *item = &kp->item[i];
		KeyGroup   *group = &look->group[look->of_item[i]];

		if (look->registered[i] || item->state == KEY_DEAD)
			continue;
		switch (item->state)
		{
			case KEY_READY:
				judge_ready(look, group, item);
				break;
			case KEY_LEASED:
				if (!cells_add_lease(&kp->place, group->hash, item->offset, 0))
					leave(look, group);
				break;
			default:
				group->blocked = group->wait = true;
				break;
		}
	}
}

/* The same for other queues, of which only the leases are known */
static void
judge_unordered(KeyLook *look)
{
	KeyPage    *kp = look->kp;
	QueueShared *qs = kp->place.qs;

	for (int i = 0; i < kp->n; i++)
	{
		KeyItem    *item = &kp->item[i];

		if (item->state == KEY_LEASED && !look->registered[i])
			(void) cells_add_lease(&kp->place, item->hash, item->offset, 0);
		if (item->state != KEY_READY)
			continue;
		kp->claimable++;
		if (!item->wanted || look->room <= 0)
			continue;
		if (cells_is_full(qs) ||
			(!cells_add_lease(&kp->place, item->hash, item->offset,
						look->walk->serial) &&
			 qs->max_in_flight > 0 && qs->serial != 0))
		{
			kp->limited = true;
			continue;
		}
		item->taken = true;
		look->room--;
	}
}

/*
 * Lists the page under the keys that wait on it, and under no other.  A key
 * of which messages are left that are not registered stays listed.
 */
static void
list_keys(KeyLook *look)
{
	KeyPage    *kp = look->kp;
	KeyPlace   *place = &kp->place;
	uint32		queue = place->qs->serial;
	int		   *link = cells_page_bucket(queue, place->page);

	while (*link != 0)
	{
		int			entry = node_at(*link)->entry;
		KeyGroup   *group;

		if (!is_of_page(*link, queue, place->page) || node_at(*link)->leased)
		{
			link = &node_at(*link)->next;
			continue;
		}
		group = find_group(look, entry_at(entry)->hash);
		if (group != NULL && (group->wait || group->left))
		{
			group->wait = false;
			link = &node_at(*link)->next;
			continue;
		}
		cells_remove_node(link);
		if (!cells_drop_unused_entry(entry) &&
			cells_advance(entry, place->page))
			kp->freed++;
	}
	for (int i = 0; i < look->ngroups; i++)
		if (look->group[i].wait &&
			!cells_list_page(place, look->group[i].hash, LISTING_RESERVE))
			kp->keep_ready = true;
}

/*
 * What this claim took may go on on the pages that are listed next: lets the
 * walk find them.
 */
static void
follow_runs(KeyLook *look)
{
	KeyPlace   *place = &look->kp->place;

	for (int i = 0; look->room > 0 && i < look->ngroups; i++)
	{
		KeyGroup   *group = &look->group[i];
		int			first;

		if (!group->taken || group->blocked)
			continue;
		first = cells_first_listed(cells_find_entry(place->qs->serial,
													group->hash));
		if (first != 0 && node_at(first)->page > place->page &&
			node_at(first)->slot != NO_SLOT)
			map_bump(&queue_shmem->slots[node_at(first)->slot],
					 node_at(first)->page & (RECEIPT_MAX_BLOCKS - 1), true, 0,
					 QUEUE_NO_DUE);
	}
}

/*
 * Brings the registry up to date with a page, all of whose messages were
 * added, and decides which of those that are wanted may be taken, at most
 * room: they are registered.  Without a walk none is.  The caller holds the
 * page's exclusive lock, and wakes waiters later.
 */
void
keys_look(KeyPage *kp, KeyWalk *walk, int room)
{
	KeyLook		look;

	look.kp = kp;
	look.walk = walk;
	look.room = walk == NULL ? 0 : room;
	kp->done = true;
	group_items(&look);

	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	drop_ended_leases(&look);
	if (kp->place.ordered)
	{
		judge_ordered(&look);
		list_keys(&look);
		if (walk != NULL)
			follow_runs(&look);
	}
	else
		judge_unordered(&look);
	LWLockRelease(queue_shmem->keys_lock);
}

/*
 * The caller changed the state of the messages added, in place, and still
 * holds the page's exclusive lock.  A page that is to be looked at is bumped.
 */
void
keys_changed(KeyPage *kp)
{
	KeyPlace   *place = &kp->place;
	uint32		queue = place->qs->serial;
	int		   *link = cells_page_bucket(queue, place->page);
	uint16		by_offset[RECEIPT_MAX_OFFSET + 1] = {0};
	bool		bump = false;

	for (int i = 0; i < kp->n; i++)
		by_offset[kp->item[i].offset] = i + 1;

	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	while (*link != 0)
	{
		KeyNode    *node = node_at(*link);

		if (node->leased && by_offset[node->offset] != 0 &&
			is_of_page(*link, queue, place->page))
		{
			KeyItem    *item = &kp->item[by_offset[node->offset] - 1];

			item->taken = true; /* found */
			if (item->state != KEY_LEASED)
			{
				kp->freed += cells_end_lease(link, place,
											 item->state != KEY_DEAD);
				continue;
			}
		}
		link = &node_at(*link)->next;
	}
	for (int i = 0; i < kp->n; i++)
	{
		KeyItem    *item = &kp->item[i];
		int			entry;

		if (item->taken ||
			(item->state == KEY_LEASED &&
			 cells_add_lease(place, item->hash, item->offset, 0)))
			continue;
		entry = cells_find_entry(queue, item->hash);
		if (item->state == KEY_DEAD || entry == 0 ||
			cells_find_listing(entry, place->page) == 0)
			bump = true;
	}
	LWLockRelease(queue_shmem->keys_lock);
	if (bump && place->ordered)
		map_bump(place->slot, place->block, true, 0, QUEUE_NO_DUE);
}

/* Does a list of deleted messages name this one?  Crosses it off. */
static bool
cross_off(uint64 *offsets, int offset)
{
	uint64		bit = UINT64CONST(1) << (offset % 64);

	if ((offsets[offset / 64] & bit) == 0)
		return false;
	offsets[offset / 64] &= ~bit;
	return true;
}

/*
 * The messages' deletion was committed.  Returns how many waiters to wake.
 * Callback.
 */
int
keys_gone(const KeyGone *gone)
{
	const KeyPlace *place = &gone->place;
	uint64		left[4];
	int			freed = 0;
	int		   *link;

	memcpy(left, gone->offsets, sizeof(left));
	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	link = cells_page_bucket(gone->serial, place->page);
	while (place->qs->serial == gone->serial && *link != 0)
	{
		if (node_at(*link)->leased &&
			is_of_page(*link, gone->serial, place->page) &&
			cross_off(left, node_at(*link)->offset))
			freed += cells_end_lease(link, place, false);
		else
			link = &node_at(*link)->next;
	}
	LWLockRelease(queue_shmem->keys_lock);

	/* what was not leased may have kept back others */
	if (place->ordered && (left[0] | left[1] | left[2] | left[3]) != 0)
	{
		map_bump(place->slot, place->block, true, 0, QUEUE_NO_DUE);
		freed++;
	}
	return freed;
}

/*
 * The same when it came to nothing: what was popped is leased to nobody, if
 * nobody claimed it since.  The caller bumps the page.  Callback.
 */
int
keys_back(const KeyGone *gone)
{
	const KeyPlace *place = &gone->place;
	uint64		left[4];
	int			freed = 0;
	int		   *link;

	if (gone->owner == 0)
		return 0;
	memcpy(left, gone->offsets, sizeof(left));
	LWLockAcquire(queue_shmem->keys_lock, LW_EXCLUSIVE);
	link = cells_page_bucket(gone->serial, place->page);
	while (place->qs->serial == gone->serial && *link != 0)
	{
		if (node_at(*link)->leased && node_at(*link)->owner == gone->owner &&
			is_of_page(*link, gone->serial, place->page) &&
			cross_off(left, node_at(*link)->offset))
			freed += cells_end_lease(link, place, true);
		else
			link = &node_at(*link)->next;
	}
	LWLockRelease(queue_shmem->keys_lock);
	return freed;
}

/*
 * How many messages of a key are leased; of a queue that counts by key.
 */
int
keys_in_flight(QueueShared *qs, uint64 hash)
{
	int			entry;
	int			n = 0;

	LWLockAcquire(queue_shmem->keys_lock, LW_SHARED);
	entry = cells_find_entry(qs->serial, hash);
	if (entry != 0)
		n = entry_at(entry)->nleased;
	LWLockRelease(queue_shmem->keys_lock);
	return n;
}

/*
 * Has a tenant of a fair queue many messages leased, and more than its share?
 */
bool
keys_is_noisy(QueueShared *qs, uint64 hash)
{
	uint32		n = keys_in_flight(qs, hash);

	return n >= FAIR_LEAST &&
		n * FAIR_TENANTS > pg_atomic_read_u32(&qs->in_flight);
}
