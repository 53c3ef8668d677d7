/*
 * reasons.c
 *	  Why consumers gave messages up, in their own words.
 *
 * Owns the notes in shared memory that carry the reason of a nack or reject
 * from the session in which the message died to the worker, who adds it to the
 * header x-death.  The message itself has no room: it is changed in place.
 *
 * A note's place follows from queue and message, so that the messages of one
 * batch have places of their own; a newer note replaces an older one.  Nobody
 * takes notes away: no message dies twice under the same id, and a queue's
 * serial is of one assignment.  A note that is gone, after a restart or
 * QUEUE_REASON_NOTES later ones, is a history without the reason.
 *
 * Locks: a note's spinlock, for a short copy; callers may hold a buffer lock.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "reasons.h"

/* The place of a message's note */
static ReasonNote *
place_of(QueueShared *qs, int64 message_id)
{
	/* queues that start at the same id are spread */
	uint64		n = (uint64) message_id + qs->serial * UINT64CONST(2654435761);

	return &queue_shmem->reasons[n % QUEUE_REASON_NOTES];
}

/*
 * The part of a reason that can be kept, in the current memory context; NULL
 * when there is nothing to keep.
 */
char *
reasons_cut(const char *text)
{
	int			length = strlen(text);

	if (length == 0)
		return NULL;
	return pnstrdup(text, pg_mbcliplen(text, length, REASON_MAX_BYTES));
}

/*
 * The message is dead for a reason that reasons_cut() made.  To be called
 * before anybody can see that it is dead.
 */
void
reasons_note(QueueShared *qs, int64 message_id, const char *reason)
{
	ReasonNote *note = place_of(qs, message_id);

	if (qs->serial == 0)
		return;					/* the worker would not find it */
	SpinLockAcquire(&note->mutex);
	note->queue = qs->serial;
	note->message_id = message_id;
	strlcpy(note->reason, reason, sizeof(note->reason));
	SpinLockRelease(&note->mutex);
}

/*
 * Copies the reason of a message's death, if one is known.  reason has room
 * for REASON_MAX_BYTES and the end.
 */
bool
reasons_find(QueueShared *qs, int64 message_id, char *reason)
{
	ReasonNote *note = place_of(qs, message_id);
	bool		found;

	if (qs->serial == 0)
		return false;
	SpinLockAcquire(&note->mutex);
	found = note->queue == qs->serial && note->message_id == message_id;
	if (found)
		strlcpy(reason, note->reason, sizeof(note->reason));
	SpinLockRelease(&note->mutex);
	return found;
}
