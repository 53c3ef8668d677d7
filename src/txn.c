/*
 * txn.c
 *	  What a transaction did to queues, and what happens when it ends.
 *
 * Owns lists of this session's transaction: the pages it wrote, the leases it
 * took, what it deleted of queues that the registry of keys is kept for, and
 * what else is counted if it commits.
 * At commit the pages become known to the ready map and waiting sessions are
 * woken; at abort, pages whose deletes came to nothing are bumped, and the
 * leases go to the worker, which releases them.
 *
 * Invariants
 *	- The callbacks run after the transaction has left the proc array, so what
 *	  they announce can be seen.
 *	- Nothing allocates, maps memory, looks up a catalog or can fail in a
 *	  callback: entries are reserved before the page is written.
 *	- A page is noted before, or under the same buffer lock as, its write.
 *	- Every relation whose slot is in the list stays locked to the end of the
 *	  transaction, so that no slot is given up under us.
 *	- COMMIT PREPARED calls no callback.  At PREPARE all pages are bumped: the
 *	  next look finds the messages undecided and leaves them to the worker.
 *
 * Locks: none of its own; spinlocks and LWLocks of the modules it calls.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "debug.h"
#include "guc.h"
#include "readymap.h"
#include "shmem.h"
#include "txn.h"
#include "waiters.h"

typedef struct TxnPage
{
	TxnPageKind kind;
	SubTransactionId subid;
	QueueShared *qs;
	MapSlot    *slot;
	BlockNumber first;
	BlockNumber last;
	int64		nmessages;
	int			lane;			/* the highest of theirs */
	TimestampTz due;			/* earliest delivery, 0 = at once */
	TimestampTz expires_at;		/* earliest end of a time to live */
} TxnPage;

typedef struct TxnClaim
{
	QueueShared *qs;
	AbortedClaim claim;
} TxnClaim;

/* Messages of a tracked queue that were deleted */
typedef struct TxnGone
{
	SubTransactionId subid;
	KeyGone		keys;
} TxnGone;

/* Events that count when the transaction commits */
typedef struct TxnCount
{
	SubTransactionId subid;
	QueueShared *qs;
	QueueCounter which;
	int64		n;
} TxnCount;

/* The lists are kept between transactions unless they grew beyond this */
#define KEEP_ENTRIES 1024

static TxnPage *pages = NULL;
static int	npages = 0;
static int	max_pages = 0;

static TxnClaim *claims = NULL;
static int	nclaims = 0;
static int	max_claims = 0;

static TxnGone *gone = NULL;
static int	ngone = 0;
static int	max_gone = 0;

static TxnCount *counts = NULL;
static int	ncounts = 0;
static int	max_counts = 0;

static int32 *changes = NULL;
static int	nchanges = 0;
static int	max_changes = 0;

static bool extension_created = false;

/* Makes room for n more elements; may fail, so call it before a write */
static void
reserve(void **list, int used, int *max, int n, Size size)
{
	int			want = Max(*max * 2, Max(used + n, 32));

	if (used + n <= *max)
		return;
	if (*list == NULL)
		*list = MemoryContextAllocHuge(TopMemoryContext, want * size);
	else
		*list = repalloc_huge(*list, want * size);
	*max = want;
}

void
txn_reserve_pages(int n)
{
	reserve((void **) &pages, npages, &max_pages, n, sizeof(TxnPage));
}

/* Room for one call of txn_note_gone() */
void
txn_reserve_gone(void)
{
	reserve((void **) &gone, ngone, &max_gone, 1, sizeof(TxnGone));
}

void
txn_reserve_claims(int n)
{
	reserve((void **) &claims, nclaims, &max_claims, n, sizeof(TxnClaim));
}

/*
 * Can a page be added to an entry?  A range of pages shares a lane, so that
 * one urgent message does not make all of them urgent.
 */
static bool
fits(TxnPage *page, BlockNumber block, int lane)
{
	if (page->last == block)
		return lane <= page->lane || page->first == block;
	return page->last + 1 == block && lane == page->lane;
}

/*
 * Notes that messages of a page were written; room was reserved.  lane is the
 * highest of theirs, due the earliest time of delivery of messages appended,
 * 0 for at once.
 */
void
txn_note_page(TxnPageKind kind, QueueShared *qs, MapSlot *slot,
			  BlockNumber block, int nmessages, int lane, TimestampTz due)
{
	TxnPage    *page = npages > 0 ? &pages[npages - 1] : NULL;

	if (page != NULL && page->kind == kind && page->slot == slot &&
		page->qs == qs && page->subid == GetCurrentSubTransactionId() &&
		(page->due == 0) == (due == 0) && fits(page, block, lane))
	{
		page->last = block;
		page->nmessages += nmessages;
		page->lane = Max(page->lane, lane);
		page->due = Min(page->due, due);
		return;
	}
	Assert(npages < max_pages);
	page = &pages[npages++];
	page->kind = kind;
	page->subid = GetCurrentSubTransactionId();
	page->qs = qs;
	page->slot = slot;
	page->first = page->last = block;
	page->nmessages = nmessages;
	page->lane = lane;
	page->due = due;
	page->expires_at = QUEUE_NO_DUE;
}

/*
 * The page noted last got a message whose time to live ends then.
 */
void
txn_note_expiry(TimestampTz expires_at)
{
	TxnPage    *page = &pages[npages - 1];

	page->expires_at = Min(page->expires_at, expires_at);
}

/*
 * Notes that messages of a page of a tracked queue were deleted, after
 * txn_note_page(); room was reserved.  A pop names its claim as the owner.
 */
void
txn_note_gone(const KeyPlace *place, const OffsetNumber *offsets, int n,
			  uint32 owner)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	TxnGone    *last = ngone > 0 ? &gone[ngone - 1] : NULL;

	if (last == NULL || last->subid != subid || last->keys.owner != owner ||
		last->keys.place.page != place->page ||
		last->keys.serial != place->qs->serial)
	{
		Assert(ngone < max_gone);
		last = &gone[ngone++];
		memset(last, 0, sizeof(*last));
		last->subid = subid;
		last->keys.place = *place;
		last->keys.serial = place->qs->serial;
		last->keys.owner = owner;
	}
	for (int i = 0; i < n; i++)
		last->keys.offsets[offsets[i] / 64] |=
			UINT64CONST(1) << (offsets[i] % 64);
}

/*
 * Notes a lease or a pop of this transaction; room was reserved.
 */
void
txn_note_claim(QueueShared *qs, bool popped, int64 receipt, int64 message_id)
{
	TxnClaim   *claim;

	Assert(nclaims < max_claims);
	claim = &claims[nclaims++];
	claim->qs = qs;
	claim->claim.queue_id = qs->id;
	claim->claim.popped = popped;
	claim->claim.disconnected = queue_release_on_disconnect && !popped;
	claim->claim.receipt = receipt;
	claim->claim.message_id = message_id;
}

/*
 * Counts events of a queue if the transaction commits.  May fail.  A segment
 * of the queue is locked to the end of the transaction.
 */
void
txn_count(QueueShared *qs, QueueCounter which, int64 n)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	TxnCount   *count;

	for (int i = 0; i < ncounts; i++)
	{
		count = &counts[i];
		if (count->qs == qs && count->which == which && count->subid == subid)
		{
			count->n += n;
			return;
		}
	}
	reserve((void **) &counts, ncounts, &max_counts, 1, sizeof(TxnCount));
	count = &counts[ncounts++];
	count->subid = subid;
	count->qs = qs;
	count->which = which;
	count->n = n;
}

/*
 * Lets this transaction's own next look at the queue find what it appended.
 * To other sessions the messages are undecided, and if one looks first, the
 * page is hidden again.  Returns false when nothing was appended.
 */
bool
txn_show_own_appends(QueueShared *qs)
{
	bool		found = false;

	for (int i = 0; i < npages; i++)
	{
		if (pages[i].kind != TXN_APPENDED || pages[i].qs != qs)
			continue;
		found = true;
		for (BlockNumber b = pages[i].first; b <= pages[i].last; b++)
			map_bump(pages[i].slot, b, true, pages[i].lane, QUEUE_NO_DUE);
	}
	return found;
}

/*
 * The definition or tables of a queue change with this transaction: at its
 * end sessions that wait for the queue are woken to notice.
 */
void
txn_queue_changed(int32 queue_id)
{
	reserve((void **) &changes, nchanges, &max_changes, 1, sizeof(int32));
	changes[nchanges++] = queue_id;
}

/* CREATE EXTENSION runs: at commit the launcher is told of this database. */
void
txn_extension_created(void)
{
	extension_created = true;
}

static bool
is_insert(TxnPage *page)
{
	return page->kind == TXN_APPENDED || page->kind == TXN_MOVED_IN;
}

static void
bump_pages(TxnPage *page, bool ready, TimestampTz due)
{
	for (BlockNumber b = page->first; b <= page->last; b++)
		map_bump(page->slot, b, ready, page->lane, due);
}

/* Does a look have to find out what became of the messages of the page? */
static bool
is_ordered(TxnPage *page)
{
	return page->slot != NULL && page->slot->ordered;
}

/* The messages that a committed transaction appended.  Callback. */
static void
announce_appended(TxnPage *page)
{
	if (page->kind == TXN_APPENDED)
		queue_count(page->qs, COUNT_ENQUEUED, page->nmessages);
	if (page->due == 0)
	{
		bump_pages(page, true, page->expires_at);
		waiters_announce(page->qs, page->nmessages);
		if (page->expires_at != QUEUE_NO_DUE)
			shmem_wake_worker_before(page->expires_at);
	}
	else
	{
		TimestampTz due = Min(page->due, page->expires_at);

		bump_pages(page, is_ordered(page), due);
		shmem_wake_worker_before(due);
	}
}

/* What the transaction did is visible now.  Callback. */
static void
at_commit(void)
{
	for (int i = 0; i < npages; i++)
	{
		TxnPage    *page = &pages[i];

		if (is_insert(page))
			announce_appended(page);
		else
		{
			bump_pages(page, false, QUEUE_NO_DUE);
			if (page->kind != TXN_REMOVED)
				queue_count(page->qs, COUNT_ACKED, page->nmessages);
		}
	}
	for (int i = 0; i < ncounts; i++)
		queue_count(counts[i].qs, counts[i].which, counts[i].n);
	for (int i = 0; i < ngone; i++)
	{
		int			freed = keys_gone(&gone[i].keys);

		if (freed > 0)
			waiters_announce(gone[i].keys.place.qs, freed);
	}
}

/*
 * Messages that were appended are not there after all.  In a fifo queue they
 * kept back others.  Callback.
 */
static void
undo_insert(TxnPage *page)
{
	bump_pages(page, is_ordered(page), QUEUE_NO_DUE);
	if (is_ordered(page))
		waiters_announce(page->qs, page->nmessages);
}

/* A delete came to nothing: the message is back.  Callback. */
static void
undo_delete(TxnPage *page)
{
	bump_pages(page, true, QUEUE_NO_DUE);
	waiters_announce(page->qs, page->nmessages);
}

/*
 * What the transaction did has come to nothing.  Who waits for a message that
 * was popped is woken by the worker when it has counted the failure: a
 * consumer who takes it before that, and fails as well, would go uncounted.
 * Callback.
 */
static void
at_abort(void)
{
	for (int i = 0; i < npages; i++)
	{
		if (pages[i].kind == TXN_POPPED)
			bump_pages(&pages[i], true, QUEUE_NO_DUE);
		else if (is_insert(&pages[i]))
			undo_insert(&pages[i]);
		else
			undo_delete(&pages[i]);
	}
	for (int i = 0; i < ngone; i++)
	{
		int			freed = keys_back(&gone[i].keys);

		if (freed > 0)
			waiters_announce(gone[i].keys.place.qs, freed);
	}
	for (int i = 0; i < nclaims; i++)
	{
		claims[i].claim.disconnected &= proc_exit_inprogress;
		if (!shmem_push_aborted(&claims[i].claim) && claims[i].claim.popped)
			waiters_announce(claims[i].qs, 1);
	}
	if (nclaims > 0)
		shmem_wake_worker_before(0);
}

static void
at_prepare(void)
{
	for (int i = 0; i < npages; i++)
		bump_pages(&pages[i], true, QUEUE_NO_DUE);
	shmem_wake_worker_before(0);
}

/* Wakes who waits for a queue whose definition changed.  Callback. */
static void
announce_changes(void)
{
	for (int i = 0; i < nchanges; i++)
	{
		QueueShared *qs = shmem_queue(changes[i]);

		if (qs != NULL)
		{
			pg_atomic_fetch_add_u32(&qs->changes, 1);
			pg_atomic_write_u32(&qs->reap, 1);
			/* max_in_flight may be new: nobody counted before */
			pg_atomic_write_u32(&qs->counted, 0);
			waiters_wake_all(qs);
		}
	}
	if (nchanges > 0)
	{
		shmem_wake_worker_before(0);
		QUEUE_DEBUG_POINT("announced");
	}
}

/* Another session has to count; those who could went to sleep.  Callback. */
static void
abandon_count(void)
{
	QueueShared *qs = keys_abandon_count();

	if (qs != NULL)
		waiters_wake(qs, 1);
}

/* Forgets the lists; only frees, which cannot fail */
static void
forget(void)
{
	npages = nclaims = ngone = ncounts = nchanges = 0;
	extension_created = false;
	if (max_pages > KEEP_ENTRIES)
	{
		pfree(pages);
		pages = NULL;
		max_pages = 0;
	}
	if (max_gone > KEEP_ENTRIES)
	{
		pfree(gone);
		gone = NULL;
		max_gone = 0;
	}
	if (max_claims > KEEP_ENTRIES)
	{
		pfree(claims);
		claims = NULL;
		max_claims = 0;
	}
}

/* End of a top-level transaction */
static void
xact_callback(XactEvent event, void *arg)
{
	QUEUE_DEBUG_POINT("transaction_ended");
	debug_forbid_allocation();
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			at_commit();
			announce_changes();
			if (extension_created)
				shmem_want_worker(MyDatabaseId);
			forget();
			break;
		case XACT_EVENT_ABORT:
			waiters_leave(true);
			abandon_count();
			at_abort();
			forget();
			break;
		case XACT_EVENT_PREPARE:
			at_prepare();
			forget();
			break;
		default:
			break;
	}
	debug_allow_allocation();
}

/*
 * A savepoint was rolled back: its deletes came to nothing now, while its
 * leases stay until the top-level transaction ends.
 */
static void
abort_subtransaction(SubTransactionId subid)
{
	int			kept = 0;

	for (int i = 0; i < npages; i++)
	{
		if (pages[i].subid != subid)
			pages[kept++] = pages[i];
		else if (is_insert(&pages[i]))
			undo_insert(&pages[i]);
		else
			undo_delete(&pages[i]);
	}
	npages = kept;

	kept = 0;
	for (int i = 0; i < ngone; i++)
	{
		if (gone[i].subid != subid)
			gone[kept++] = gone[i];
		else if (keys_back(&gone[i].keys) > 0)
			waiters_announce(gone[i].keys.place.qs, 1);
	}
	ngone = kept;

	kept = 0;
	for (int i = 0; i < ncounts; i++)
		if (counts[i].subid != subid)
			counts[kept++] = counts[i];
	ncounts = kept;
}

/* End of a savepoint: its entries go to its parent, or are undone */
static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		waiters_leave(true);
		abandon_count();
		abort_subtransaction(subid);
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (int i = npages - 1; i >= 0; i--)
			if (pages[i].subid == subid)
				pages[i].subid = parent;
		for (int i = ngone - 1; i >= 0; i--)
			if (gone[i].subid == subid)
				gone[i].subid = parent;
		for (int i = ncounts - 1; i >= 0; i--)
			if (counts[i].subid == subid)
				counts[i].subid = parent;
	}
}

/*
 * Called once a process, when the library is loaded.
 */
void
txn_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
