/*
 * reasons.h
 *	  Why consumers gave messages up, in their own words.
 */
#ifndef QUEUE_REASONS_H
#define QUEUE_REASONS_H

#include "shmem.h"

extern char *reasons_cut(const char *text);
extern void reasons_note(QueueShared *qs, int64 message_id,
						 const char *reason);
extern bool reasons_find(QueueShared *qs, int64 message_id, char *reason);

#endif							/* QUEUE_REASONS_H */
