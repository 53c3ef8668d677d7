/*
 * wait.c
 *	  A receive call: claims, and waits for something to claim.
 *
 * Owns the order of things on which wake-ups rest: enter the waiter list,
 * look once more, sleep.  After waking dequeue claims with a fresh snapshot,
 * since what it waited for is always newer than the statement's own.  A pop
 * must not: it would delete messages whose companion rows the rest of the
 * statement cannot see.  So a pop that meets something newer returns no row,
 * and the next call takes it.
 *
 * While the worker lives nobody polls, unless DDL had locked a segment: nobody
 * tells of the end of that.  If the worker does not live, a sleeper wakes when
 * the first lease has been expired for the grace that claim.c grants.
 *
 * Locks: none while asleep.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/pquery.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "active.h"
#include "compat.h"
#include "debug.h"
#include "duration.h"
#include "wait.h"
#include "waiters.h"

/* For how long, and how often, a sleeper looks for DDL that was announced */
#define CHANGE_WATCH_USECS	USECS_PER_SEC
#define CHANGE_POLL_MS		10

/* How often a queue without a place in shared memory is looked at */
#define PRIVATE_POLL_MS		100

/* ... or one of which a segment was locked */
#define LOCKED_POLL_MS		100

/* A nap is cut in pieces: the latch takes no longer ones */
#define LONGEST_NAP_MS		(24 * 3600 * 1000L)

/* State of a call that waits */
typedef struct Wait
{
	Receive    *receive;
	TimestampTz deadline;
	QueueShared *shared[QUEUE_MAX_WAIT_QUEUES]; /* where we wait */
	uint32		changes[QUEUE_MAX_WAIT_QUEUES]; /* of each queue, last seen */
	TimestampTz watch_until;	/* DDL was announced: look often till then */
	int64		taken;
	bool		newer;			/* with a filter: a message fits that the
								 * snapshot does not see yet */
	bool		locked;			/* a segment was passed over */
	bool		over;			/* nothing is left of what woke us */
} Wait;

/* One pass over the queues, in the order given */
static void
claim_pass(Wait *w)
{
	Receive    *receive = w->receive;
	int64		taken = 0;

	w->newer = w->locked = false;
	for (int i = 0; i < receive->nqueues && taken < receive->max; i++)
	{
		Claim		claim;

		claim.q = receive->queues[i];
		claim.max = receive->max - taken;
		claim.pop = receive->pop;
		claim.visibility = receive->default_visibility ?
			claim.q->visibility_timeout : receive->visibility;
		claim.filter = receive->filter;
		claim.sink = receive->sink;
		claim.arg = receive->arg;
		taken += claim_messages(&claim);
		w->newer |= claim.newer;
		w->locked |= claim.locked;
		receive->queues[i] = claim.q;
	}
	w->taken = taken;
}

/* A pass with a snapshot that sees what was committed until now */
static void
claim_pass_fresh(Wait *w)
{
	if (!w->receive->pop)
		PushActiveSnapshot(GetLatestSnapshot());
	claim_pass(w);
	if (!w->receive->pop)
		PopActiveSnapshot();
}

/* Is there a message that the snapshot does not see yet? */
static bool
something_newer(Wait *w)
{
	Receive    *receive = w->receive;

	if (receive->filter != NULL)
		return w->newer;
	for (int i = 0; i < receive->nqueues; i++)
		if (claim_something_newer(receive->queues[i]))
			return true;
	return false;
}

/*
 * The earliest deadline of any message of the queue that may be for us.  What
 * the map does not know of, for want of memory, counts as due.
 */
static TimestampTz
queue_due(Queue *q)
{
	TimestampTz due = QUEUE_NO_DUE;

	if (q->single_active && !active_is_me(q->shared, MyProcPid))
		return due;
	for (int i = 0; i < q->nsegments; i++)
	{
		QueueSegment *seg = &q->segments[i];
		MapSlot    *slot = catalog_slot(q, seg);

		if (seg->state == SEGMENT_FREE)
			continue;
		if (slot == NULL || map_is_partial(slot))
			return 0;
		due = Min(due, (TimestampTz) pg_atomic_read_u64(&slot->due));
	}
	return due;
}

/* How long to sleep, in milliseconds; 0 = the wait is over */
static long
nap(Wait *w)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = w->deadline;
	long		ms;

	if (now >= w->deadline)
		return 0;
	for (int i = 0; i < w->receive->nqueues; i++)
	{
		Queue	   *q = w->receive->queues[i];
		TimestampTz due = queue_due(q);

		if (due != QUEUE_NO_DUE)
			until = Min(until, Max(due + CLAIM_GRACE_USECS,
								   now + PRIVATE_POLL_MS * 1000));
		if (shmem_queue_is_private(q->shared))
			until = Min(until, now + PRIVATE_POLL_MS * 1000);
	}
	if (w->locked)
		until = Min(until, now + LOCKED_POLL_MS * 1000);
	if (now < w->watch_until)
		until = Min(until, now + CHANGE_POLL_MS * 1000);
	ms = (long) Min((until - now + 999) / 1000, LONGEST_NAP_MS);
	return Max(ms, 1);
}

/*
 * Gives up the snapshot of a top-level CALL for the time of the nap, so that
 * a waiting consumer does not hold back the cleaning of other tables.  Only
 * when it is the portal's own and nobody else's.  Says whether the portal held
 * one for its result as well: that of a DO block does not, and has no resource
 * owner to hold one after a COMMIT in it.
 */
static bool
drop_snapshot(bool *held)
{
	if (ActivePortal == NULL || ActivePortal->portalSnapshot == NULL ||
		!ActiveSnapshotSet() ||
		ActivePortal->portalSnapshot != GetActiveSnapshot())
		return false;
	PopActiveSnapshot();
	ActivePortal->portalSnapshot = NULL;
	*held = ActivePortal->holdSnapshot != NULL;
	if (*held)
	{
		UnregisterSnapshotFromOwner(ActivePortal->holdSnapshot,
									ActivePortal->resowner);
		ActivePortal->holdSnapshot = NULL;
	}
	InvalidateCatalogSnapshot();
	return true;
}

/* The opposite: the portal's snapshot, a new one, protects the result */
static void
restore_snapshot(bool held)
{
	EnsurePortalSnapshotExists();
	if (held)
		ActivePortal->holdSnapshot =
			RegisterSnapshotOnOwner(GetActiveSnapshot(),
									ActivePortal->resowner);
}

/* Sleeps until woken, without a snapshot where that is possible */
static void
sleep_on_latch(Receive *receive, long ms)
{
	static uint32 event = 0;
	bool		held = false;
	bool		dropped = receive->drop_snapshot && drop_snapshot(&held);

	if (event == 0)
		event = compat_wait_event("QueueReceive");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 ms, event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (dropped)
		restore_snapshot(held);
}

/* Raises 55000 when the queue does not hand out messages */
static void
check_paused(Queue *q)
{
	if (q->dequeue_paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue \"%s\" is paused for dequeue", q->name),
				 errhint("Its owner can call queue.resume().")));
}

/* Enters the waiter list for all queues */
static void
join(Wait *w)
{
	int			n = w->receive->nqueues;

	for (int i = 0; i < n; i++)
	{
		w->shared[i] = w->receive->queues[i]->shared;
		w->changes[i] = pg_atomic_read_u32(&w->shared[i]->changes);
	}
	waiters_join(w->shared, n, w->receive->filter != NULL);
}

/* Notices DDL: reads definitions again, and watches for a while */
static void
check_changes(Wait *w)
{
	bool		moved = false;

	for (int i = 0; i < w->receive->nqueues; i++)
	{
		Queue	   *q = w->receive->queues[i];
		uint32		changes = pg_atomic_read_u32(&q->shared->changes);

		if (changes != w->changes[i])
		{
			w->changes[i] = changes;
			w->watch_until = GetCurrentTimestamp() + CHANGE_WATCH_USECS;
		}
		q = w->receive->queues[i] = catalog_queue_reload(q);
		check_paused(q);
		moved |= q->shared != w->shared[i];
	}

	/* a queue got a place in shared memory: be found there */
	if (moved)
	{
		waiters_leave(true);
		join(w);
	}
}

/* Looks and sleeps in turn until there are messages or time is up */
static void
wait_loop(Wait *w)
{
	Receive    *receive = w->receive;
	long		ms;

	for (;;)
	{
		w->over = false;
		waiters_rearm();
		claim_pass_fresh(w);
		if (w->taken > 0)
		{
			/* of several queues, it may be another that woke us */
			w->over = receive->nqueues == 1;
			return;
		}
		if (receive->pop && something_newer(w))
			return;
		w->over = !w->locked;
		QUEUE_DEBUG_POINT("nap");
		ms = nap(w);
		if (ms == 0)
			return;
		sleep_on_latch(receive, ms);
		check_changes(w);
	}
}

/*
 * Claims messages for a receive call, waiting for the first of them when
 * asked to.  Returns their number.
 */
int64
receive_messages(Receive *receive)
{
	Wait		w = {0};

	if (receive->wait > 0 && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cannot wait for messages in a transaction with "
						"isolation level %s",
						XactIsoLevel == XACT_SERIALIZABLE ?
						"SERIALIZABLE" : "REPEATABLE READ"),
				 errdetail("Its snapshot would never see a message that "
						   "arrives while it waits.")));
	for (int i = 0; i < receive->nqueues; i++)
		check_paused(receive->queues[i]);

	w.receive = receive;
	claim_pass(&w);
	if (w.taken > 0 || receive->wait == 0 || receive->nqueues == 0)
		return w.taken;

	w.deadline = timestamp_plus(GetCurrentTimestamp(), receive->wait);
	join(&w);
	PG_TRY();
	{
		wait_loop(&w);
	}
	PG_FINALLY();
	{
		waiters_leave(!w.over);
	}
	PG_END_TRY();
	return w.taken;
}
