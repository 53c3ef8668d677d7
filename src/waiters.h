/*
 * waiters.h
 *	  Sessions that wait for a message, and how they are woken.
 */
#ifndef QUEUE_WAITERS_H
#define QUEUE_WAITERS_H

#include "shmem.h"

extern void waiters_join(QueueShared **queues, int nqueues, bool choosy);
extern void waiters_leave(bool pass_on);
extern void waiters_join_sender(QueueShared *qs);
extern void waiters_wake_sender(QueueShared *qs);
extern void waiters_wake_next_sender(QueueShared *qs);
extern void waiters_wake_all(QueueShared *qs);
extern void waiters_rearm(void);
extern void waiters_wake(QueueShared *qs, int64 n);
extern void waiters_announce(QueueShared *qs, int64 n);

#endif							/* QUEUE_WAITERS_H */
