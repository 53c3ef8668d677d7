/*
 * shmem.h
 *	  Shared memory of the extension: what is in it and where it lives.
 *
 * Everything in it can be rebuilt from tables.  A structure that is full
 * means "no slot" to its user, which is slow and correct.
 */
#ifndef QUEUE_SHMEM_H
#define QUEUE_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/block.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "compat.h"

#define QUEUE_SHMEM_MAGIC	0x51554555
#define QUEUE_SHMEM_LAYOUT	1

#define QUEUE_NO_DUE		PG_INT64_MAX

/*
 * Tail pages a segment offers to concurrent producers.  A lone producer uses
 * one; each producer that finds the ones before it busy uses the next.
 */
#define QUEUE_TAIL_PAGES	16

#define QUEUE_MAIN_CHAIN	0
#define QUEUE_PARKING_CHAIN 1
#define QUEUE_ARCHIVE_CHAIN 2	/* acked messages; never delivered */
#define QUEUE_CHAINS		3

/*
 * Where the next messages of a segment go.  The pages [fresh, extended) exist
 * in the file and were given to nobody yet.
 */
typedef struct TailState
{
	slock_t		mutex;			/* protects all but pages */
	BlockNumber fresh;
	BlockNumber extended;
	pg_atomic_uint32 pages[QUEUE_TAIL_PAGES];	/* InvalidBlockNumber = none */
} TailState;

/* Histogram of durations: bucket i counts those below 2^i microseconds */
#define QUEUE_HISTOGRAM_BUCKETS 48

typedef struct Histogram
{
	pg_atomic_uint64 bucket[QUEUE_HISTOGRAM_BUCKETS];
} Histogram;

/* Events since the server started */
typedef enum QueueCounter
{
	COUNT_ENQUEUED,
	COUNT_DELIVERED,
	COUNT_ACKED,
	COUNT_NACKED,
	COUNT_EXPIRED,
	COUNT_DEAD_LETTERED,
	COUNT_DROPPED,
	COUNT_REDELIVERED,
	COUNT_STALE_RECEIPTS,
	QUEUE_COUNTERS
} QueueCounter;

/* One queue's part of shared memory */
typedef struct QueueShared
{
	Oid			dboid;			/* with id: the key; set once at assignment */
	int32		id;
	Oid			relid;			/* ids may come again, this does not */
	bool		in_use;			/* under queue_shmem->lock */

	/* see keys.c */
	uint32		serial;			/* of the assignment; 0 = private */
	int			max_in_flight;	/* as last read from the catalog */
	pg_atomic_uint32 in_flight; /* leases registered */
	pg_atomic_uint32 turns;		/* claims of a fair queue */
	pg_atomic_uint32 counted;	/* KEYS_COUNTED: in_flight is exact */

	slock_t		id_mutex;		/* protects the two below */
	int64		id_next;		/* ids [next, end) are reserved on disk */
	int64		id_end;

	pg_atomic_uint32 waiters;	/* sessions waiting for this queue */
	pg_atomic_uint32 choosy;	/* those of them that have a filter */
	pg_atomic_uint32 changes;	/* bumped by every committed DDL on it */
	pg_atomic_uint32 notify;	/* something to NOTIFY about */
	pg_atomic_uint32 reap;		/* dead messages may have to go */

	pg_atomic_uint32 active_pid;	/* see active.c, 0 = none */

	/* what is in a queue with limits, see limits.c */
	pg_atomic_uint32 senders;	/* sessions waiting for room */
	pg_atomic_uint32 limit_suspect; /* the totals should be checked */
	slock_t		limit_mutex;	/* protects those below */
	bool		limit_known;
	int			limit_shares;	/* transactions that change the totals */
	uint64		limit_moves;	/* changes, ever */
	int64		limit_messages;
	int64		limit_bytes;

	/* worker only */
	TimestampTz last_notify;
	int			failures;		/* of the worker with it, in a row */
	TimestampTz failed_until;	/* it is left alone till then */
	int			reap_failures;	/* of taking dead messages away, in a row */
	TimestampTz reap_at;		/* not before */
	uint32		reap_changes;	/* value of changes at the last look */
	TimestampTz reap_watch_until;	/* it is looked at again till then */
	TimestampTz limit_check_at; /* the same for checks of the totals */

	pg_atomic_uint64 counter[QUEUE_COUNTERS];
	Histogram	wait_time;		/* enqueued to first delivery */
	Histogram	processing_time;	/* delivery to ack */

	/* the worker's samples, from which the views compute rates */
	pg_atomic_uint64 sampled[QUEUE_COUNTERS];
	pg_atomic_uint64 rate[QUEUE_COUNTERS];	/* thousandths per second */
} QueueShared;

/* A lease or pop whose transaction aborted, on its way to the worker */
typedef struct AbortedClaim
{
	int32		queue_id;
	bool		popped;
	bool		disconnected;	/* by the end of its session */
	int64		receipt;
	int64		message_id;
} AbortedClaim;

#define QUEUE_ABORT_RING 4096

/* Why a consumer gave a message up, see reasons.c */
#define REASON_MAX_BYTES	120
#define QUEUE_REASON_NOTES	4096

typedef struct ReasonNote
{
	slock_t		mutex;			/* protects those below */
	uint32		queue;			/* its place's serial, 0 = no note */
	int64		message_id;
	char		reason[REASON_MAX_BYTES + 1];
} ReasonNote;

/* Classes of dedup windows, see dedup.c */
#define DEDUP_CLASSES	4

typedef enum WorkerState
{
	WORKER_NONE,				/* no process, none wanted */
	WORKER_WANTED,				/* launcher should start one */
	WORKER_STARTING,
	WORKER_RUNNING
} WorkerState;

/* One database's worker */
typedef struct DatabaseShared
{
	Oid			dboid;			/* InvalidOid = free; under lock */
	WorkerState state;			/* under lock */
	bool		asked;			/* since the worker's start; under lock */
	pid_t		pid;
	TimestampTz started_at;
	TimestampTz retry_at;		/* launcher only: not before */
	pg_atomic_uint64 last_activity;
	pg_atomic_uint64 loops;

	/* latch of the running worker, NULL without one; under ring_mutex */
	slock_t		ring_mutex;
	Latch	   *latch;
	uint32		ring_head;		/* next to read */
	uint32		ring_tail;		/* next to write */
	AbortedClaim ring[QUEUE_ABORT_RING];
	pg_atomic_uint64 sleep_until;	/* when the worker will look again */
	pg_atomic_uint32 full_pass; /* look at all queues, not the active ones */
	pg_atomic_uint64 dedup_state[DEDUP_CLASSES];	/* 0 = unknown */
} DatabaseShared;

/* A session that waits for a message, indexed by proc number */
#define QUEUE_MAX_WAIT_QUEUES 32

typedef struct WaiterShared
{
	int			nqueues;		/* 0 = not waiting */
	bool		sender;			/* waits for room, not for messages */
	bool		woken;
	bool		choosy;			/* waits with a filter */
	uint64		ticket;			/* order of arrival */
	int			pid;
	TimestampTz since;
	Latch	   *latch;
	QueueShared *queue[QUEUE_MAX_WAIT_QUEUES];
} WaiterShared;

/*
 * The registry of keys; keys.c explains it and owns its contents.  A cell is
 * the entry of a key, one lease, or one page on which a key's messages wait.
 * Cell 0 is never used: 0 means none.
 */
typedef struct KeyEntry
{
	uint64		hash;			/* of the key */
	uint32		queue;			/* its place's serial */
	int			place;			/* and index */
	int			next;			/* in the bucket */
	int			pages;			/* root of the tree of pages listed */
	int			nleased;		/* leases of its messages */
} KeyEntry;

typedef struct KeyNode
{
	uint64		page;			/* order within the queue */
	int			entry;
	int			left;			/* of a page listed */
	int			right;
	int			next;			/* in the bucket of the page */
	uint32		owner;			/* of a lease: the claim that took it */
	unsigned	slot:22;		/* of the ready map */
	unsigned	leased:1;		/* a lease, not a page listed */
	unsigned	offset:8;		/* of a lease */
} KeyNode;

typedef union KeyCell
{
	KeyEntry	entry;
	KeyNode		node;
	int			next_free;
} KeyCell;

/*
 * The ready map's parts; readymap.c explains them and owns their contents.
 * A chunk covers MAP_CHUNK_PAGES pages of one segment.
 */
#define MAP_CHUNK_PAGES 256
#define MAP_SLOT_CHUNKS 256		/* twice the largest queue.segment_size */
#define MAP_SLOT_PAGES	(MAP_CHUNK_PAGES * MAP_SLOT_CHUNKS)
#define MAP_MAX_DECIDERS 16

/* What the last look at a page found; written under its buffer lock */
typedef struct MapFacts
{
	uint8		ready;
	uint8		delayed;
	uint8		leased;
	uint8		dead;
	uint16		bytes:15;
	uint16		droppable:1;	/* one is dead and not to be kept */
} MapFacts;

/*
 * Pages are ready on one of so many lanes: two for each priority, of which
 * the upper one is used by queues with option fair.
 */
#define MAP_LANES 20

/* Pages that are ready on a lane or a higher one */
typedef struct MapSummary
{
	pg_atomic_uint64 bumps;		/* pages turned ready, ever */
	pg_atomic_uint64 cleared;	/* value of bumps at which none was ready */
} MapSummary;

typedef struct MapChunk
{
	int			next_free;		/* under lock */
	pg_atomic_uint32 stale;		/* some page's facts are out of date */
	pg_atomic_uint64 due;		/* least of the pages' */
	MapSummary	lane[MAP_LANES];
	pg_atomic_uint64 id_base;	/* of ids[], see idmap.c; 0 = not set yet */
	pg_atomic_uint64 id_least;	/* of all messages ever entered */
	pg_atomic_uint64 id_greatest;
	pg_atomic_uint32 ids_unknown;	/* pages of which the ids are not known */
	pg_atomic_uint32 word[MAP_CHUNK_PAGES];
	pg_atomic_uint64 page_due[MAP_CHUNK_PAGES];
	pg_atomic_uint32 ids[MAP_CHUNK_PAGES];
	MapFacts	facts[MAP_CHUNK_PAGES];
} MapChunk;

typedef struct MapSlot
{
	Oid			dboid;			/* with relnumber: the key; under lock */
	RelFileNumber relnumber;
	Oid			relid;
	int32		queue_id;
	bool		in_use;
	bool		tail_only;		/* of an archive segment: covers no page */
	bool		unseen;			/* under keys_lock: made anew, see keys.c */
	bool		ordered;		/* of a fifo queue's main chain */

	uint32		generation;		/* number of this assignment; under lock */
	pg_atomic_uint32 npages;	/* pages covered; those behind are "all set" */
	pg_atomic_uint32 appends;	/* inserts ever made, see rotate.c */
	TailState	tail;			/* see append.c */
	pg_atomic_uint32 stale;		/* some chunk has stale pages */
	pg_atomic_uint32 cold;		/* pages never looked at since assignment */
	pg_atomic_uint32 lanes;		/* bit mask of those ever used; 0 always */
	pg_atomic_uint64 due;		/* least of the chunks' */
	MapSummary	lane[MAP_LANES];

	/* sums of the facts of all pages looked at */
	pg_atomic_uint64 ready;
	pg_atomic_uint64 delayed;
	pg_atomic_uint64 leased;
	pg_atomic_uint64 dead;
	pg_atomic_uint64 bytes;

	/* transactions that decide about messages on pending pages */
	slock_t		deciders_mutex;
	int			ndeciders;
	bool		more_deciders;	/* there were more than fit */
	struct
	{
		TransactionId xid;
		bool		is_multi;
	}			decider[MAP_MAX_DECIDERS];

	/* worker only */
	TimestampTz assigned_at;
	TimestampTz error_until;	/* left alone till then after an error */
	TimestampTz drained_at;		/* first seen without a message, 0 = not */
	uint32		drained_appends;	/* value of appends then */
	TransactionId newest_deleter;
	int			nchunks;		/* under lock; grows only */
	int			chunk[MAP_SLOT_CHUNKS];
} MapSlot;

typedef struct MapSlotKey
{
	Oid			dboid;
	RelFileNumber relnumber;
} MapSlotKey;

typedef struct MapSlotEntry
{
	MapSlotKey	key;
	int			index;
} MapSlotEntry;

typedef struct QueueShmem
{
	uint32		magic;
	uint32		layout;
	TimestampTz started_at;		/* of the server, or of its last crash */

	/*
	 * Protects assignment of queues, databases, map slots and map chunks.
	 * Never held across anything that can wait or fail.
	 */
	LWLock	   *lock;

	int			max_queues;
	QueueShared *queues;
	int			max_databases;
	DatabaseShared *databases;

	ReasonNote *reasons;		/* QUEUE_REASON_NOTES of them */

	LWLock	   *waiters_lock;	/* protects the array's contents */
	uint64		next_ticket;
	int			max_waiters;
	WaiterShared *waiters;

	/* ready map, see readymap.c */
	int			max_slots;
	pg_atomic_uint32 used_slots;	/* no slot at or behind this is in use */
	MapSlot    *slots;
	int			max_chunks;
	int			free_chunk;		/* head of the free list, -1 = none */
	MapChunk   *chunks;

	/* registry of keys, see keys.c */
	uint32		queue_serial;	/* of the last assignment; under lock */
	LWLock	   *keys_lock;		/* protects the cells and buckets */
	int			max_key_cells;
	int			fresh_key_cell; /* none at or behind this was ever used */
	int			free_key_cell;	/* head of the free list */
	int			used_key_cells;
	KeyCell    *key_cells;
	uint32		nkey_buckets;	/* of either array; a power of two */
	int		   *key_entries;
	int		   *key_pages;
	pg_atomic_uint32 claim_serial;

	bool		unserved;		/* some database found no place for a worker */
	Latch	   *launcher_latch; /* NULL when no launcher runs; under lock */
	pid_t		launcher_pid;
} QueueShmem;

extern QueueShmem *queue_shmem;
extern HTAB *queue_slot_hash;	/* of MapSlotEntry; under lock */

extern void shmem_install_hooks(void);

extern QueueShared *shmem_queue(int32 queue_id);
extern QueueShared *shmem_queue_assign(int32 queue_id, Oid relid);
extern bool shmem_queue_valid(QueueShared *qs, int32 queue_id, Oid relid);
extern bool shmem_queue_is_private(QueueShared *qs);
extern QueueShared *shmem_private_queue(int32 queue_id, Oid relid);
extern void shmem_queue_forget(Oid dboid, int32 queue_id);
extern DatabaseShared *shmem_database(Oid dboid, bool assign);
extern bool shmem_want_worker(Oid dboid);
extern void shmem_wake_worker_before(TimestampTz when);
extern void shmem_want_reaping(QueueShared *qs);
extern bool shmem_push_aborted(const AbortedClaim *claim);
extern bool shmem_pop_aborted(DatabaseShared *db, AbortedClaim *claim);
extern void shmem_want_full_pass(void);
extern pg_atomic_uint64 *shmem_dedup_state(int dclass);
extern void shmem_forget_dedup_state(void);
extern void shmem_wake_launcher(void);
extern void shmem_init_tail(TailState *tail);
extern void shmem_init_lanes(MapSummary *lane);
extern void histogram_add(Histogram *h, const int64 *durations, int n);

static inline void
queue_count(QueueShared *qs, QueueCounter which, int64 n)
{
	pg_atomic_fetch_add_u64(&qs->counter[which], n);
}

#endif							/* QUEUE_SHMEM_H */
