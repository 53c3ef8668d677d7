/*
 * worker.h
 *	  How the worker's parts run their pieces of work.
 */
#ifndef QUEUE_WORKER_H
#define QUEUE_WORKER_H

#include "shmem.h"

extern bool worker_attempt(void (*work) (void *), void *arg);
extern bool worker_attempt_sql(void (*work) (void *), void *arg);
extern MapSlot *worker_next_slot(int *index);

#endif							/* QUEUE_WORKER_H */
