/*
 * active.c
 *	  The one session that a queue with single_active serves.
 *
 * Owns QueueShared.active_pid.  The first session that asks for messages
 * becomes the active one, and stays so until it ends or steps down; then the
 * one that waits longest is woken and becomes it.  Shared memory does not
 * survive a crash, nor does any session.
 *
 * The list of queues that this session is active for is kept for its end:
 * then nothing is looked up, allocated, or can fail.  It is after the end of
 * the last transaction, so that the next one finds what that gave back.
 *
 * Locks: those of waiters.c.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "active.h"
#include "waiters.h"

static QueueShared **mine = NULL;
static int	nmine = 0;
static int	max_mine = 0;
static bool registered = false;

/* The session ends: its places are free */
static void
at_exit(int code, Datum arg)
{
	while (nmine > 0)
		active_step_down(mine[nmine - 1]);
}

/* Makes room for one more queue, and for the end of the session */
static void
prepare(void)
{
	if (!registered)
	{
		on_shmem_exit(at_exit, (Datum) 0);
		registered = true;
	}
	if (nmine < max_mine)
		return;
	if (mine == NULL)
		mine = MemoryContextAlloc(TopMemoryContext, 8 * sizeof(*mine));
	else
		mine = repalloc(mine, max_mine * 2 * sizeof(*mine));
	max_mine = Max(8, max_mine * 2);
}

/*
 * Is this session the queue's active one?  It becomes that if there is none.
 */
bool
active_become(QueueShared *qs)
{
	uint32		nobody = 0;

	if (active_is_me(qs, MyProcPid))
		return true;
	prepare();
	if (!pg_atomic_compare_exchange_u32(&qs->active_pid, &nobody,
										(uint32) MyProcPid))
	{
		/* what we were woken for may be for him */
		waiters_wake(qs, 1);
		return false;
	}
	mine[nmine++] = qs;
	return true;
}

/*
 * Lets another session become the active one.  False when this one is not.
 */
bool
active_step_down(QueueShared *qs)
{
	uint32		me = (uint32) MyProcPid;
	bool		was;

	for (int i = 0; i < nmine; i++)
		if (mine[i] == qs)
			mine[i--] = mine[--nmine];
	was = pg_atomic_compare_exchange_u32(&qs->active_pid, &me, 0);
	if (was)
		waiters_wake(qs, 1);
	return was;
}
