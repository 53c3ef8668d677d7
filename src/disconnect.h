/*
 * disconnect.h
 *	  Leases that end with the session that took them.
 */
#ifndef QUEUE_DISCONNECT_H
#define QUEUE_DISCONNECT_H

#include "shmem.h"

extern void disconnect_init(void);
extern void disconnect_note(int32 queue_id, int64 receipt, int64 message_id,
							TimestampTz until);
extern void disconnect_settled(const int64 *receipts, int n, bool at_commit);
extern void disconnect_extended(const int64 *receipts, int n,
								TimestampTz until);

#endif							/* QUEUE_DISCONNECT_H */
