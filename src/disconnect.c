/*
 * disconnect.c
 *	  Leases that end with the session that took them.
 *
 * Owns the list of leases that this session took with the setting
 * queue.release_on_disconnect and has not settled.  When it ends they go to
 * the worker, which counts a failure and gives the messages back at once.  A
 * lease that an open transaction has acked stays in the list until that
 * commits.
 *
 * A receipt that is not good any more does no harm: the worker finds out.  So
 * the list need not be exact, and is bounded: leases that are over are dropped
 * from it when it is full, and one that finds no room runs out by itself.
 *
 * Nothing in shared memory or on disk says who holds a lease but the process
 * id, which will be another session's some day.  The id is written negative
 * with this setting: after a start the worker ends such leases of before, see
 * message_is_orphan().
 *
 * Locks: none but the ring's.  At the end of the session nothing is allocated
 * or can fail.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "debug.h"
#include "disconnect.h"

/* As many as the ring to the worker takes */
#define MAX_LEASES	QUEUE_ABORT_RING

typedef struct HeldLease
{
	int64		receipt;		/* the key */
	int32		queue_id;
	int64		message_id;
	TimestampTz until;
} HeldLease;

static HTAB *leases = NULL;
static TimestampTz pruned_at = 0;

/* What the current transaction has acked */
typedef struct AckedLease
{
	int64		receipt;
	SubTransactionId subid;
} AckedLease;

static AckedLease *acked = NULL;
static int	nacked = 0;
static int	max_acked = 0;

/* The session ends: its leases go to the worker */
static void
at_exit(int code, Datum arg)
{
	HASH_SEQ_STATUS status;
	HeldLease  *lease;

	hash_seq_init(&status, leases);
	while ((lease = hash_seq_search(&status)) != NULL)
	{
		AbortedClaim claim = {0};

		claim.queue_id = lease->queue_id;
		claim.receipt = lease->receipt;
		claim.message_id = lease->message_id;
		claim.disconnected = true;
		(void) shmem_push_aborted(&claim);
	}
	shmem_wake_worker_before(0);
}

/* Makes the list, and sees to the session's end */
static void
make_list(void)
{
	HASHCTL		info;

	memset(&info, 0, sizeof(info));
	info.keysize = sizeof(int64);
	info.entrysize = sizeof(HeldLease);
	leases = hash_create("queue leases held", 64, &info,
						 HASH_ELEM | HASH_BLOBS);
	on_shmem_exit(at_exit, (Datum) 0);
}

/* Drops what is over from the list, once a second at most */
static void
prune(void)
{
	TimestampTz now = GetCurrentTimestamp();
	HASH_SEQ_STATUS status;
	HeldLease  *lease;

	if (now - pruned_at < USECS_PER_SEC)
		return;
	pruned_at = now;
	hash_seq_init(&status, leases);
	while ((lease = hash_seq_search(&status)) != NULL)
		if (lease->until < now)
			hash_search(leases, &lease->receipt, HASH_REMOVE, NULL);
}

/*
 * Notes a lease that is to end with the session.
 */
void
disconnect_note(int32 queue_id, int64 receipt, int64 message_id,
				TimestampTz until)
{
	HeldLease  *lease;

	if (leases == NULL)
		make_list();
	if (hash_get_num_entries(leases) >= MAX_LEASES)
		prune();
	if (hash_get_num_entries(leases) >= MAX_LEASES)
		return;
	lease = hash_search(leases, &receipt, HASH_ENTER, NULL);
	lease->queue_id = queue_id;
	lease->message_id = message_id;
	lease->until = until;
}

/*
 * These leases were settled, or will be when the transaction commits.
 */
void
disconnect_settled(const int64 *receipts, int n, bool at_commit)
{
	if (leases == NULL || hash_get_num_entries(leases) == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		if (!at_commit)
		{
			hash_search(leases, &receipts[i], HASH_REMOVE, NULL);
			continue;
		}
		if (hash_search(leases, &receipts[i], HASH_FIND, NULL) == NULL)
			continue;
		if (nacked == max_acked)
		{
			max_acked = Max(64, max_acked * 2);
			acked = acked == NULL ?
				MemoryContextAlloc(TopMemoryContext,
								   max_acked * sizeof(AckedLease)) :
				repalloc(acked, max_acked * sizeof(AckedLease));
		}
		acked[nacked].receipt = receipts[i];
		acked[nacked++].subid = GetCurrentSubTransactionId();
	}
}

/*
 * These leases last longer, or shorter, now.
 */
void
disconnect_extended(const int64 *receipts, int n, TimestampTz until)
{
	if (leases == NULL || hash_get_num_entries(leases) == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		HeldLease  *lease = hash_search(leases, &receipts[i], HASH_FIND, NULL);

		if (lease != NULL)
			lease->until = until;
	}
}

/* End of a transaction: what it acked is gone, or not */
static void
xact_callback(XactEvent event, void *arg)
{
	if (nacked == 0)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		debug_forbid_allocation();
		while (nacked > 0)
			hash_search(leases, &acked[--nacked].receipt, HASH_REMOVE, NULL);
		debug_allow_allocation();
	}
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		nacked = 0;
}

/* End of a savepoint: the same, or it becomes its parent's */
static void
subxact_callback(SubXactEvent event, SubTransactionId subid,
				 SubTransactionId parent, void *arg)
{
	int			kept = 0;

	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (int i = 0; i < nacked; i++)
	{
		bool		concerned = acked[i].subid == subid;

		if (concerned && event == SUBXACT_EVENT_ABORT_SUB)
			continue;
		acked[kept] = acked[i];
		if (concerned)
			acked[kept].subid = parent;
		kept++;
	}
	nacked = kept;
}

/*
 * Called once a process, when the library is loaded.
 */
void
disconnect_init(void)
{
	RegisterXactCallback(xact_callback, NULL);
	RegisterSubXactCallback(subxact_callback, NULL);
}
