/*
 * remove.h
 *	  Deletes messages on behalf of whoever manages a queue.
 */
#ifndef QUEUE_REMOVE_H
#define QUEUE_REMOVE_H

#include "catalog.h"

extern bool remove_message(Queue *q, int64 id);
extern int64 remove_all(Queue *q);

#endif							/* QUEUE_REMOVE_H */
