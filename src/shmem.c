/*
 * shmem.c
 *	  Shared memory of the extension: where it lives, and its directory.
 *
 * Owns allocation, and the assignment of places to queues and databases.
 * Nothing outside this file knows that it is the main shared memory segment.
 *
 * Locks: queue_shmem->lock for assignment.  Nobody holds it while taking
 * another lock, waiting, or doing anything that can fail.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "shmem.h"

QueueShmem *queue_shmem = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

typedef struct QueueKey
{
	Oid			dboid;
	int32		id;
} QueueKey;

typedef struct QueueEntry
{
	QueueKey	key;
	int			index;
} QueueEntry;

static HTAB *queue_hash = NULL;
HTAB	   *queue_slot_hash = NULL;

static int
max_chunks(void)
{
	return Max(1, (int) ((Size) queue_map_memory * 1024 / sizeof(MapChunk)));
}

static int
max_key_cells(void)
{
	return (int) ((Size) queue_key_memory * 1024 / sizeof(KeyCell));
}

/* One bucket for four cells, and a power of two */
static uint32
key_buckets(void)
{
	return pg_nextpower2_32(Max(max_key_cells() / 4, 1));
}

static int
max_waiters(void)
{
	return MaxBackends;
}

/* Everything but the hash tables */
static Size
shmem_size(void)
{
	Size		size = MAXALIGN(sizeof(QueueShmem));

	size = add_size(size, mul_size(queue_max_queues, sizeof(QueueShared)));
	size = add_size(size, mul_size(queue_max_databases,
								   sizeof(DatabaseShared)));
	size = add_size(size, mul_size(QUEUE_REASON_NOTES, sizeof(ReasonNote)));
	size = add_size(size, mul_size(max_waiters(), sizeof(WaiterShared)));
	size = add_size(size, mul_size(queue_max_segments, sizeof(MapSlot)));
	size = add_size(size, mul_size(max_chunks(), sizeof(MapChunk)));
	size = add_size(size, mul_size(max_key_cells(), sizeof(KeyCell)));
	size = add_size(size, mul_size(2 * key_buckets(), sizeof(int)));
	return add_size(size, 9 * PG_CACHE_LINE_SIZE);
}

/* Hook: asks for what is needed */
static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(shmem_size());
	RequestAddinShmemSpace(hash_estimate_size(queue_max_queues,
											  sizeof(QueueEntry)));
	RequestAddinShmemSpace(hash_estimate_size(queue_max_segments,
											  sizeof(MapSlotEntry)));
	RequestNamedLWLockTranche("queue", 3);
}

/* A tail without pages */
void
shmem_init_tail(TailState *tail)
{
	SpinLockInit(&tail->mutex);
	tail->fresh = tail->extended = 0;
	for (int i = 0; i < QUEUE_TAIL_PAGES; i++)
		pg_atomic_init_u32(&tail->pages[i], InvalidBlockNumber);
}

/* An unused place for a queue */
static void
init_queue(QueueShared *qs)
{
	memset(qs, 0, sizeof(QueueShared));
	SpinLockInit(&qs->id_mutex);
	pg_atomic_init_u32(&qs->in_flight, 0);
	pg_atomic_init_u32(&qs->counted, 0);
	SpinLockInit(&qs->limit_mutex);
	pg_atomic_init_u32(&qs->active_pid, 0);
	pg_atomic_init_u32(&qs->senders, 0);
	pg_atomic_init_u32(&qs->limit_suspect, 0);
	pg_atomic_init_u32(&qs->waiters, 0);
	pg_atomic_init_u32(&qs->choosy, 0);
	pg_atomic_init_u32(&qs->turns, 0);
	pg_atomic_init_u32(&qs->changes, 0);
	pg_atomic_init_u32(&qs->notify, 0);
	pg_atomic_init_u32(&qs->reap, 0);
	for (int i = 0; i < QUEUE_COUNTERS; i++)
	{
		pg_atomic_init_u64(&qs->counter[i], 0);
		pg_atomic_init_u64(&qs->sampled[i], 0);
		pg_atomic_init_u64(&qs->rate[i], 0);
	}
	for (int i = 0; i < QUEUE_HISTOGRAM_BUCKETS; i++)
	{
		pg_atomic_init_u64(&qs->wait_time.bucket[i], 0);
		pg_atomic_init_u64(&qs->processing_time.bucket[i], 0);
	}
}

/* Summaries of no page */
void
shmem_init_lanes(MapSummary *lane)
{
	for (int i = 0; i < MAP_LANES; i++)
	{
		pg_atomic_init_u64(&lane[i].bumps, 0);
		pg_atomic_init_u64(&lane[i].cleared, 0);
	}
}

/* An unused slot of the ready map */
static void
init_slot(MapSlot *slot)
{
	memset(slot, 0, sizeof(MapSlot));
	SpinLockInit(&slot->deciders_mutex);
	pg_atomic_init_u32(&slot->npages, 0);
	pg_atomic_init_u32(&slot->appends, 0);
	pg_atomic_init_u32(&slot->stale, 0);
	pg_atomic_init_u32(&slot->cold, 0);
	pg_atomic_init_u32(&slot->lanes, 0);
	pg_atomic_init_u64(&slot->due, QUEUE_NO_DUE);
	shmem_init_lanes(slot->lane);
	pg_atomic_init_u64(&slot->ready, 0);
	pg_atomic_init_u64(&slot->delayed, 0);
	pg_atomic_init_u64(&slot->leased, 0);
	pg_atomic_init_u64(&slot->dead, 0);
	pg_atomic_init_u64(&slot->bytes, 0);
}

/* The registry of keys, empty; returns what is behind it */
static char *
init_keys(QueueShmem *shm, char *next)
{
	shm->keys_lock = &GetNamedLWLockTranche("queue")[2].lock;
	shm->max_key_cells = max_key_cells();
	shm->fresh_key_cell = 1;
	shm->key_cells = (KeyCell *) next;
	next += CACHELINEALIGN(shm->max_key_cells * sizeof(KeyCell));
	shm->nkey_buckets = key_buckets();
	shm->key_entries = (int *) next;
	shm->key_pages = shm->key_entries + shm->nkey_buckets;
	pg_atomic_init_u32(&shm->claim_serial, 0);
	return next + CACHELINEALIGN(2 * shm->nkey_buckets * sizeof(int));
}

/* Carves the arrays out of one zeroed piece of shared memory */
static void
init_shmem(QueueShmem *shm)
{
	char	   *next = (char *) shm + CACHELINEALIGN(sizeof(QueueShmem));

	/* new shared memory is zeroed */
	shm->magic = QUEUE_SHMEM_MAGIC;
	shm->layout = QUEUE_SHMEM_LAYOUT;
	shm->started_at = GetCurrentTimestamp();
	shm->lock = &GetNamedLWLockTranche("queue")->lock;
	shm->waiters_lock = &GetNamedLWLockTranche("queue")[1].lock;

	shm->max_queues = queue_max_queues;
	shm->queues = (QueueShared *) next;
	for (int i = 0; i < shm->max_queues; i++)
		init_queue(&shm->queues[i]);
	next += CACHELINEALIGN(shm->max_queues * sizeof(QueueShared));

	shm->max_databases = queue_max_databases;
	shm->databases = (DatabaseShared *) next;
	for (int i = 0; i < shm->max_databases; i++)
	{
		SpinLockInit(&shm->databases[i].ring_mutex);
		pg_atomic_init_u64(&shm->databases[i].last_activity, 0);
		pg_atomic_init_u64(&shm->databases[i].loops, 0);
		pg_atomic_init_u64(&shm->databases[i].sleep_until, 0);
		pg_atomic_init_u32(&shm->databases[i].full_pass, 0);
		for (int c = 0; c < DEDUP_CLASSES; c++)
			pg_atomic_init_u64(&shm->databases[i].dedup_state[c], 0);
	}
	next += CACHELINEALIGN(shm->max_databases * sizeof(DatabaseShared));

	shm->reasons = (ReasonNote *) next;
	for (int i = 0; i < QUEUE_REASON_NOTES; i++)
		SpinLockInit(&shm->reasons[i].mutex);
	next += CACHELINEALIGN(QUEUE_REASON_NOTES * sizeof(ReasonNote));

	shm->max_waiters = max_waiters();
	shm->waiters = (WaiterShared *) next;
	next += CACHELINEALIGN(shm->max_waiters * sizeof(WaiterShared));

	shm->max_slots = queue_max_segments;
	pg_atomic_init_u32(&shm->used_slots, 0);
	shm->slots = (MapSlot *) next;
	for (int i = 0; i < shm->max_slots; i++)
		init_slot(&shm->slots[i]);
	next += CACHELINEALIGN(shm->max_slots * sizeof(MapSlot));

	/* a chunk's atomics are initialized when it is given to a slot */
	shm->max_chunks = max_chunks();
	shm->chunks = (MapChunk *) next;
	for (int i = 0; i < shm->max_chunks; i++)
		shm->chunks[i].next_free = i + 1 < shm->max_chunks ? i + 1 : -1;
	shm->free_chunk = 0;
	next += CACHELINEALIGN(shm->max_chunks * sizeof(MapChunk));
	(void) init_keys(shm, next);
}

/* Hook: makes or finds what was asked for */
static void
shmem_startup(void)
{
	HASHCTL		info;
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	queue_shmem = ShmemInitStruct("queue", shmem_size(), &found);
	if (!found)
		init_shmem(queue_shmem);

	memset(&info, 0, sizeof(info));
	info.keysize = sizeof(QueueKey);
	info.entrysize = sizeof(QueueEntry);
	queue_hash = compat_shmem_hash("queue queues", queue_max_queues, &info,
								   HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);

	info.keysize = sizeof(MapSlotKey);
	info.entrysize = sizeof(MapSlotEntry);
	queue_slot_hash = compat_shmem_hash("queue map slots", queue_max_segments,
										&info, HASH_ELEM | HASH_BLOBS |
										HASH_FIXED_SIZE);
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Called while the server preloads the library.
 */
void
shmem_install_hooks(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

/*
 * Finds a place that no queue uses, and where nobody waits for one that had
 * it: he will count himself out.  The caller holds the lock.
 */
static int
free_queue_index(void)
{
	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (!qs->in_use && pg_atomic_read_u32(&qs->waiters) == 0 &&
			pg_atomic_read_u32(&qs->senders) == 0)
			return i;
	}
	return -1;
}

/* Takes a place for a queue; NULL = none free.  Lock held. */
static QueueShared *
assign_queue(QueueKey *key, Oid relid)
{
	QueueEntry *entry;
	QueueShared *qs;
	int			index = free_queue_index();
	bool		found;

	if (index < 0)
		return NULL;
	entry = hash_search(queue_hash, key, HASH_ENTER_NULL, &found);
	if (entry == NULL)
		return NULL;
	qs = &queue_shmem->queues[index];
	init_queue(qs);
	qs->dboid = key->dboid;
	qs->id = key->id;
	qs->relid = relid;
	qs->serial = ++queue_shmem->queue_serial;
	qs->in_use = true;
	entry->index = index;
	return qs;
}

/* Gives up the place of a queue.  Lock held. */
static void
release_queue(QueueKey *key)
{
	QueueEntry *entry = hash_search(queue_hash, key, HASH_FIND, NULL);

	if (entry != NULL)
	{
		queue_shmem->queues[entry->index].in_use = false;
		hash_search(queue_hash, key, HASH_REMOVE, NULL);
	}
}

/*
 * This database's queue with the given id, or NULL when it has no place.
 */
QueueShared *
shmem_queue(int32 queue_id)
{
	QueueKey	key = {MyDatabaseId, queue_id};
	QueueEntry *entry;
	QueueShared *qs = NULL;

	LWLockAcquire(queue_shmem->lock, LW_SHARED);
	entry = hash_search(queue_hash, &key, HASH_FIND, NULL);
	if (entry)
		qs = &queue_shmem->queues[entry->index];
	LWLockRelease(queue_shmem->lock);
	return qs;
}

/*
 * The same, but a queue without a place gets one, and what another queue of
 * the same id left there (of an extension dropped and created again) goes.
 * NULL when there is none free, and during recovery.
 */
QueueShared *
shmem_queue_assign(int32 queue_id, Oid relid)
{
	QueueKey	key = {MyDatabaseId, queue_id};
	QueueEntry *entry;
	QueueShared *qs = shmem_queue(queue_id);

	if (qs != NULL && qs->relid == relid)
		return qs;
	if (RecoveryInProgress())
		return NULL;

	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	entry = hash_search(queue_hash, &key, HASH_FIND, NULL);
	if (entry && queue_shmem->queues[entry->index].relid == relid)
		qs = &queue_shmem->queues[entry->index];
	else
	{
		release_queue(&key);
		qs = assign_queue(&key, relid);
	}
	LWLockRelease(queue_shmem->lock);
	return qs;
}

/* Does a remembered place still belong to this queue? */
bool
shmem_queue_valid(QueueShared *qs, int32 queue_id, Oid relid)
{
	return qs->in_use && qs->dboid == MyDatabaseId && qs->id == queue_id &&
		qs->relid == relid;
}

/*
 * A stand-in for a queue that finds no place in shared memory: the same
 * structure, private to this session.  Its ids are reserved by the session
 * alone, and nobody can wake its waiters.
 */
QueueShared *
shmem_private_queue(int32 queue_id, Oid relid)
{
	QueueShared *qs = MemoryContextAlloc(TopMemoryContext,
										 sizeof(QueueShared));

	init_queue(qs);
	qs->dboid = MyDatabaseId;
	qs->id = queue_id;
	qs->relid = relid;
	qs->in_use = true;
	return qs;
}

/* Is it such a stand-in? */
bool
shmem_queue_is_private(QueueShared *qs)
{
	return qs < queue_shmem->queues ||
		qs >= queue_shmem->queues + queue_shmem->max_queues;
}

/*
 * Gives up the place of a queue that no longer exists.
 */
void
shmem_queue_forget(Oid dboid, int32 queue_id)
{
	QueueKey	key = {dboid, queue_id};

	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	release_queue(&key);
	LWLockRelease(queue_shmem->lock);
}

/*
 * The part of shared memory that belongs to a database's worker, or NULL
 * when there is none and none is free or wanted.
 */
DatabaseShared *
shmem_database(Oid dboid, bool assign)
{
	DatabaseShared *result = NULL;
	DatabaseShared *unused = NULL;

	LWLockAcquire(queue_shmem->lock, assign ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = 0; i < queue_shmem->max_databases; i++)
	{
		DatabaseShared *db = &queue_shmem->databases[i];

		if (db->dboid == dboid)
			result = db;
		else if (!OidIsValid(db->dboid) && unused == NULL)
			unused = db;
	}
	if (result == NULL && assign && unused != NULL)
	{
		result = unused;
		result->dboid = dboid;
		result->state = WORKER_NONE;
		result->pid = 0;
		result->retry_at = 0;
		result->ring_head = result->ring_tail = 0;
		for (int c = 0; c < DEDUP_CLASSES; c++)
			pg_atomic_write_u64(&result->dedup_state[c], 0);
	}
	LWLockRelease(queue_shmem->lock);
	return result;
}

/*
 * Asks the launcher to start a worker for a database unless one runs.  False
 * when queue.max_databases are served already.  Safe in transaction callbacks.
 */
bool
shmem_want_worker(Oid dboid)
{
	DatabaseShared *db = shmem_database(dboid, true);

	if (db == NULL)
	{
		queue_shmem->unserved = true;
		return false;
	}
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	db->asked = true;
	if (db->state == WORKER_NONE)
	{
		db->state = WORKER_WANTED;
		db->retry_at = 0;
	}
	LWLockRelease(queue_shmem->lock);
	shmem_wake_launcher();
	return true;
}

/* Wakes a database's worker, if it runs.  Safe in transaction callbacks. */
static void
shmem_wake_worker(DatabaseShared *db)
{
	Latch	   *latch;

	SpinLockAcquire(&db->ring_mutex);
	latch = db->latch;
	SpinLockRelease(&db->ring_mutex);
	if (latch)
		SetLatch(latch);
}

/* This session's database, remembered once found */
static DatabaseShared *
my_database(void)
{
	static DatabaseShared *db = NULL;

	if (db == NULL || db->dboid != MyDatabaseId)
	{
		db = NULL;
		for (int i = 0; i < queue_shmem->max_databases; i++)
			if (queue_shmem->databases[i].dboid == MyDatabaseId)
				db = &queue_shmem->databases[i];
	}
	return db;
}

/*
 * Wakes this database's worker when it would otherwise sleep past the given
 * time.  Takes no lock that can be waited for; safe in transaction callbacks.
 */
void
shmem_wake_worker_before(TimestampTz when)
{
	DatabaseShared *db = my_database();

	if (db != NULL &&
		when < (TimestampTz) pg_atomic_read_u64(&db->sleep_until))
		shmem_wake_worker(db);
}

/*
 * Dead messages of a queue may have to be taken away, which the worker does.
 * Safe in transaction callbacks.
 */
void
shmem_want_reaping(QueueShared *qs)
{
	pg_atomic_write_u32(&qs->reap, 1);
	pg_memory_barrier();
	shmem_wake_worker_before(0);
}

/*
 * Hands an aborted claim to the worker.  Returns false when it will not see to
 * it soon: a lease then runs out by itself.  Safe in transaction callbacks.
 */
bool
shmem_push_aborted(const AbortedClaim *claim)
{
	DatabaseShared *db = my_database();
	bool		pushed;

	if (db == NULL)
		return false;
	SpinLockAcquire(&db->ring_mutex);
	pushed = db->ring_tail - db->ring_head < QUEUE_ABORT_RING;
	if (pushed)
		db->ring[db->ring_tail++ % QUEUE_ABORT_RING] = *claim;
	pushed = pushed && db->latch != NULL;
	SpinLockRelease(&db->ring_mutex);
	return pushed;
}

/* Takes the oldest aborted claim; false when there is none. */
bool
shmem_pop_aborted(DatabaseShared *db, AbortedClaim *claim)
{
	bool		found;

	SpinLockAcquire(&db->ring_mutex);
	found = db->ring_tail != db->ring_head;
	if (found)
		*claim = db->ring[db->ring_head++ % QUEUE_ABORT_RING];
	SpinLockRelease(&db->ring_mutex);
	return found;
}

/*
 * Asks the worker to look at all queues, since something was restored or
 * rewritten without its knowledge.
 */
void
shmem_want_full_pass(void)
{
	DatabaseShared *db = my_database();

	if (db == NULL)
		return;
	pg_atomic_write_u32(&db->full_pass, 1);
	shmem_wake_worker(db);
}

/*
 * The state of a class of dedup windows in this database, or NULL when the
 * database has no place.
 */
pg_atomic_uint64 *
shmem_dedup_state(int dclass)
{
	DatabaseShared *db = my_database();

	return db != NULL ? &db->dedup_state[dclass] : NULL;
}

/* The tables behind these states are new: read the states again. */
void
shmem_forget_dedup_state(void)
{
	for (int c = 0; c < DEDUP_CLASSES; c++)
		if (shmem_dedup_state(c) != NULL)
			pg_atomic_write_u64(shmem_dedup_state(c), 0);
}

/* Wakes the launcher, if it runs.  Safe in transaction callbacks. */
void
shmem_wake_launcher(void)
{
	Latch	   *latch = queue_shmem->launcher_latch;

	if (latch)
		SetLatch(latch);
}

/* In which bucket of a histogram a duration counts */
static int
histogram_bucket(int64 microseconds)
{
	if (microseconds <= 0)
		return 0;
	return Min(pg_leftmost_one_pos64(microseconds) + 1,
			   QUEUE_HISTOGRAM_BUCKETS - 1);
}

/*
 * Counts durations in microseconds.  Those of one page are much alike: most
 * are one addition, since others add to the same place.
 */
void
histogram_add(Histogram *h, const int64 *durations, int n)
{
	for (int i = 0; i < n;)
	{
		int			bucket = histogram_bucket(durations[i]);
		int			count = 0;

		while (i < n && histogram_bucket(durations[i]) == bucket)
		{
			count++;
			i++;
		}
		pg_atomic_fetch_add_u64(&h->bucket[bucket], count);
	}
}
