/*
 * txn.h
 *	  What a transaction did to queues, and what happens when it ends.
 */
#ifndef QUEUE_TXN_H
#define QUEUE_TXN_H

#include "keys.h"
#include "shmem.h"

typedef enum TxnPageKind
{
	TXN_APPENDED,				/* messages inserted */
	TXN_MOVED_IN,				/* the same, but they are not new */
	TXN_ACKED,					/* leased messages deleted */
	TXN_POPPED,					/* ready messages deleted and delivered */
	TXN_REMOVED					/* deleted by cancel, purge or a move */
} TxnPageKind;

extern void txn_init(void);

extern void txn_reserve_pages(int n);
extern void txn_note_page(TxnPageKind kind, QueueShared *qs, MapSlot *slot,
						  BlockNumber block, int nmessages, int lane,
						  TimestampTz due);
extern void txn_note_expiry(TimestampTz expires_at);
extern void txn_reserve_gone(void);
extern void txn_note_gone(const KeyPlace *place, const OffsetNumber *offsets,
						  int n, uint32 owner);
extern void txn_reserve_claims(int n);
extern void txn_note_claim(QueueShared *qs, bool popped, int64 receipt,
						   int64 message_id);
extern void txn_count(QueueShared *qs, QueueCounter which, int64 n);
extern bool txn_show_own_appends(QueueShared *qs);
extern void txn_queue_changed(int32 queue_id);
extern void txn_extension_created(void);

#endif							/* QUEUE_TXN_H */
