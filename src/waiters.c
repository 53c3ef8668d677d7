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

/* How many wait for the queue, as senders or as consumers */
static pg_atomic_uint32 *
waiter_count(QueueShared *qs, bool sender)
{
	return sender ? &qs->senders : &qs->waiters;
}

/* Enters the list */
static void
join(QueueShared **queues, int nqueues, bool sender, bool choosy)
{
	WaiterShared *me = my_waiter();

	Assert(!joined && nqueues <= QUEUE_MAX_WAIT_QUEUES);
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	memcpy(me->queue, queues, nqueues * sizeof(queues[0]));
	me->nqueues = nqueues;
	me->sender = sender;
	me->woken = false;
	me->choosy = choosy;
	me->ticket = queue_shmem->next_ticket++;
	me->pid = MyProcPid;
	me->latch = MyLatch;
	me->since = GetCurrentTimestamp();
	for (int i = 0; i < nqueues; i++)
	{
		pg_atomic_fetch_add_u32(waiter_count(queues[i], sender), 1);
		if (choosy)
			pg_atomic_fetch_add_u32(&queues[i]->choosy, 1);
	}
	joined = true;
	LWLockRelease(queue_shmem->waiters_lock);
}

/*
 * Enters the list for up to QUEUE_MAX_WAIT_QUEUES queues.
 */
void
waiters_join(QueueShared **queues, int nqueues, bool choosy)
{
	join(queues, nqueues, false, choosy);
}

/*
 * The same for a session that waits for room in a queue.
 */
void
waiters_join_sender(QueueShared *qs)
{
	join(&qs, 1, true, false);
}

/* Does the waiter wait for this queue and was not woken yet?  Lock held. */
static bool
is_candidate(WaiterShared *waiter, QueueShared *qs, bool sender)
{
	int			active = (int) pg_atomic_read_u32(&qs->active_pid);

	if (waiter->woken || waiter->sender != sender)
		return false;
	/* nobody else would get anything */
	if (active != 0 && !sender && waiter->pid != active)
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

		if (waiter->nqueues > 0 && waiter->choosy &&
			is_candidate(waiter, qs, false))
		{
			waiter->woken = true;
			SetLatch(waiter->latch);
		}
	}
}

/*
 * Wakes the waiter of the queue that waits longest and is not choosy, of those
 * that came with this ticket or later.  Lock held.
 */
static bool
wake_one(QueueShared *qs, bool sender, uint64 from)
{
	WaiterShared *first = NULL;

	for (int i = 0; i < queue_shmem->max_waiters; i++)
	{
		WaiterShared *waiter = &queue_shmem->waiters[i];

		if (waiter->nqueues > 0 && !waiter->choosy &&
			waiter->ticket >= from && is_candidate(waiter, qs, sender) &&
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
	while (n-- > 0 && wake_one(qs, false, 0))
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
 * There is more room in the queue: wakes the sender that waits longest.  If
 * that leaves room, he wakes the next.
 */
void
waiters_wake_sender(QueueShared *qs)
{
	if (pg_atomic_read_u32(&qs->senders) == 0)
		return;
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	wake_one(qs, true, 0);
	LWLockRelease(queue_shmem->waiters_lock);
}

/*
 * This session, a sender, needs more room than there is: wakes the sender that
 * came after it, who may need less.
 */
void
waiters_wake_next_sender(QueueShared *qs)
{
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	wake_one(qs, true, my_waiter()->ticket + 1);
	LWLockRelease(queue_shmem->waiters_lock);
}

/*
 * The queue's definition changed: wakes all who wait for it.
 */
void
waiters_wake_all(QueueShared *qs)
{
	LWLockAcquire(queue_shmem->waiters_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue_shmem->max_waiters; i++)
	{
		WaiterShared *waiter = &queue_shmem->waiters[i];

		for (int j = 0; j < waiter->nqueues; j++)
		{
			if (waiter->queue[j] != qs)
				continue;
			waiter->woken = true;
			SetLatch(waiter->latch);
		}
	}
	LWLockRelease(queue_shmem->waiters_lock);
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
		pg_atomic_fetch_sub_u32(waiter_count(me->queue[i], me->sender), 1);
		if (me->choosy)
			pg_atomic_fetch_sub_u32(&me->queue[i]->choosy, 1);
		if (pass_on)
			wake_one(me->queue[i], me->sender, 0);
	}
	me->nqueues = 0;
	joined = false;
	LWLockRelease(queue_shmem->waiters_lock);
}
