/*
 * active.h
 *	  The one session that a queue with single_active serves.
 */
#ifndef QUEUE_ACTIVE_H
#define QUEUE_ACTIVE_H

#include "shmem.h"

extern bool active_become(QueueShared *qs);
extern bool active_step_down(QueueShared *qs);

/* Is this session the one that is served? */
static inline bool
active_is_me(QueueShared *qs, int pid)
{
	return (int) pg_atomic_read_u32(&qs->active_pid) == pid;
}

#endif							/* QUEUE_ACTIVE_H */
