/*
 * waiters.c
 *	  Sessions that wait for a message, and how they are woken.
 *
 * Owns the waiter list in shared memory.  A session enters the list, looks
 * at the queue once more, and only then sleeps on its latch; n messages wake
 * the n sessions that wait longest.  A session that was woken and leaves
 * without having taken what it was woken for wakes the next one in its place,
 * so that no wake-up is lost.  One too many does no harm.  Nobody polls.
 *
 * A choosy waiter has a filter: nobody knows here whether it wants what came.
 * All of them are woken, beside the n others.
 *
 * Locks: queue_shmem->waiters_lock, taken last and held for the walk over the
 * list only.  Everything but waiters_join() is safe in transaction callbacks.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "guc.h"
#include "waiters.h"

static bool joined = false;

static WaiterShared *
my_waiter(void)
{
	return &queue_shmem->waiters[compat_my_proc_number()];
}

/*
 * Enters the list for up to QUEUE_MAX_WAIT_QUEUES queues.
 */
void
waiters_join(QueueShared **queues, int nqueues, bool choosy)
{
	WaiterShared *me = my_waiter();

	Assert(!joined && nqueues <= QUEUE_MAX_WAIT_QUEUES);
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	memcpy(me->queue, queues, nqueues * sizeof(queues[0]));
	me->nqueues = nqueues;
	me->woken = false;
	me->choosy = choosy;
	me->ticket = queue_shmem->next_ticket++;
	me->pid = MyProcPid;
	me->latch = MyLatch;
	me->since = GetCurrentTimestamp();
	for (int i = 0; i < nqueues; i++)
	{
		pg_atomic_fetch_add_u32(&queues[i]->waiters, 1);
		if (choosy)
			pg_atomic_fetch_add_u32(&queues[i]->choosy, 1);
	}
	joined = true;
	LWLockRelease(queue_shmem->waiters_lock);
}

/* Does the waiter wait for this queue and was not woken yet?  Lock held. */
static bool
is_candidate(WaiterShared *waiter, QueueShared *qs)
{
	if (waiter->woken)
		return false;
	for (int i = 0; i < waiter->nqueues; i++)
		if (waiter->queue[i] == qs)
			return true;
	return false;
}

/* Wakes all choosy waiters of the queue.  Lock held. */
static void
wake_choosy(QueueShared *qs)
{
	for (int i = 0; i < queue_shmem->max_waiters; i++)
	{
		WaiterShared *waiter = &queue_shmem->waiters[i];

		if (waiter->nqueues > 0 && waiter->choosy && is_candidate(waiter, qs))
		{
			waiter->woken = true;
			SetLatch(waiter->latch);
		}
	}
}

/* Wakes the other waiter of the queue that waits longest.  Lock held. */
static bool
wake_one(QueueShared *qs)
{
	WaiterShared *first = NULL;

	for (int i = 0; i < queue_shmem->max_waiters; i++)
	{
		WaiterShared *waiter = &queue_shmem->waiters[i];

		if (waiter->nqueues > 0 && !waiter->choosy &&
			is_candidate(waiter, qs) &&
			(first == NULL || waiter->ticket < first->ticket))
			first = waiter;
	}
	if (first == NULL)
		return false;
	first->woken = true;
	SetLatch(first->latch);
	return true;
}

/*
 * Up to n messages of the queue became claimable: wakes up to n waiters, and
 * all choosy ones.
 */
void
waiters_wake(QueueShared *qs, int64 n)
{
	if (n <= 0 || pg_atomic_read_u32(&qs->waiters) == 0)
		return;
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&qs->choosy) > 0)
		wake_choosy(qs);
	while (n-- > 0 && wake_one(qs))
		;
	LWLockRelease(queue_shmem->waiters_lock);
}

/*
 * Messages of the queue became claimable, n of them if that is known: wakes
 * as many waiters, and has the worker send a NOTIFY for those who listen.
 */
void
waiters_announce(QueueShared *qs, int64 n)
{
	waiters_wake(qs, n);
	if (queue_notify_interval >= 0 &&
		pg_atomic_exchange_u32(&qs->notify, 1) == 0)
		shmem_wake_worker_before(0);
}

/*
 * The session is about to look again: from now on it can be woken anew.
 */
void
waiters_rearm(void)
{
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	my_waiter()->woken = false;
	LWLockRelease(queue_shmem->waiters_lock);
}

/*
 * Leaves the list, if the session is in it.  A wake-up that it received after
 * its last look goes to the next waiter of each queue, and so does, with
 * pass_on, the one that made it look: it did not take what it was woken for,
 * or that is not known.
 */
void
waiters_leave(bool pass_on)
{
	WaiterShared *me;

	if (!joined)
		return;
	me = my_waiter();
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	pass_on |= me->woken;
	me->woken = true;			/* no candidate */
	for (int i = 0; i < me->nqueues; i++)
	{
		pg_atomic_fetch_sub_u32(&me->queue[i]->waiters, 1);
		if (me->choosy)
			pg_atomic_fetch_sub_u32(&me->queue[i]->choosy, 1);
		if (pass_on)
			wake_one(me->queue[i]);
	}
	me->nqueues = 0;
	joined = false;
	LWLockRelease(queue_shmem->waiters_lock);
}
