/*
 * overflow.c
 *	  What a send does when its queue is full.
 *
 * Owns the property "overflow": reject raises an error, block waits until
 * there is room, drop_oldest takes the oldest ready messages away as part of
 * the sender's transaction, into the dead-letter queue where there is one.
 *
 * Locks: none while waiting.  drop_oldest: RowExclusiveLock on the
 * dead-letter queue's tail and on segments, kept to the end of the transaction
 * when something was taken; one exclusive buffer lock at a time.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tupdesc.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "deadletter.h"
#include "fn_send.h"
#include "mapwalk.h"
#include "overflow.h"
#include "readymap.h"
#include "transfer.h"
#include "txn.h"

/* Messages taken away at once; and tries, since others send too */
#define DROP_BATCH	1000
#define DROP_TRIES	1000

/* What drop_oldest is about to take */
typedef struct Drop
{
	Transfer	t;
	TimestampTz now;
	Room		missing;
	TupleDesc	desc;			/* of what was taken */
	HeapTuple	tuple[DROP_BATCH];
} Drop;

/* Raises 53400: there is no room, or never can be */
pg_noreturn static void
fail(Queue *q, const char *detail, const char *hint)
{
	StringInfoData limits;

	initStringInfo(&limits);
	if (q->max_messages > 0)
		appendStringInfo(&limits, "max_messages is " INT64_FORMAT,
						 q->max_messages);
	if (q->max_bytes > 0)
		appendStringInfo(&limits, "%smax_bytes is " INT64_FORMAT,
						 limits.len > 0 ? ", " : "", q->max_bytes);
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("queue \"%s\" is full", q->name),
			 errdetail("%s  Its %s.", detail, limits.data),
			 errhint("%s", hint)));
}

/* Must more be dropped? */
static bool
is_missing(Drop *drop)
{
	return drop->missing.messages > 0 || drop->missing.bytes > 0;
}

/* The oldest first: is it ready, and is room still missing? */
static bool
is_droppable(Transfer *t, HeapTuple tup)
{
	Drop	   *drop = t->arg;
	MessageHead *head = message_head(tup->t_data);

	if (!is_missing(drop))
		return false;
	if (head->lease != 0 || head->visible_at > drop->now)
		return false;
	drop->missing.messages--;
	drop->missing.bytes -= message_size(tup->t_data);
	return true;
}

/* Takes from one segment; false when the catalog changed */
static bool
drop_from_segment(Drop *drop, QueueSegment *seg)
{
	Transfer   *t = &drop->t;
	MapSlot    *slot = catalog_slot(t->q, seg);
	BlockNumber block;
	MapWalk		walk;
	int			before = t->n;

	if (slot != NULL && !map_maybe_ready(slot, 0, drop->now))
		return true;
	t->seg = seg;
	t->rel = catalog_open_segment(t->q, seg, true);
	if (t->rel == NULL)
		return false;
	if (drop->desc == NULL)
		drop->desc = CreateTupleDescCopy(RelationGetDescr(t->rel));
	map_walk_begin(&walk, seg->slot, t->rel, MAP_WALK_READY, 0, drop->now);
	while (is_missing(drop) && t->n < t->max &&
		   (block = map_walk_next(&walk)) != InvalidBlockNumber)
	{
		CHECK_FOR_INTERRUPTS();
		transfer_take(t, block);
	}
	relation_close(t->rel, t->n > before ? NoLock : RowExclusiveLock);
	return true;
}

/* Puts what was taken from the queue into its dead-letter queue */
static void
dead_letter(Queue *q, Queue *to, Drop *drop)
{
	HeapTuple  *renewed = palloc(Max(drop->t.n, 1) * sizeof(HeapTuple));
	int			n = 0;

	for (int i = 0; i < drop->t.n; i++)
	{
		HeapTuple	copy = deadletter_copy(q, to, drop->desc,
										   drop->tuple[i],
										   DEATH_OVERFLOW, true, drop->now);

		if (copy != NULL)
			renewed[n++] = copy;
	}
	if (n == 0)
		return;
	transfer_number(to, renewed, n);
	transfer_append(to, renewed, n, drop->now);
}

/*
 * Takes the oldest ready messages away until there is as much room as is
 * missing, or a batch is full.  Returns how many.
 */
static int
drop_oldest(Queue *q, const Room *missing)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "queue drop",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Drop	   *drop = palloc0(sizeof(Drop));
	Queue	   *to = NULL;
	Room		room = {0, 0};
	int			n;

	if (q->dead_letter[0] != '\0')
	{
		to = deadletter_target(q, true);
		if (to == NULL)
			fail(q, _("Its dead-letter queue takes no messages."),
				 _("See that the dead-letter queue exists and is not "
				   "paused."));
	}
	drop->t.q = q;
	drop->t.wanted = is_droppable;
	drop->t.arg = drop;
	drop->t.max = DROP_BATCH;
	drop->t.tuple = drop->tuple;
	drop->t.uncounted = true;
	drop->now = GetCurrentTimestamp();
	drop->missing = *missing;
	txn_show_own_appends(q->shared);
	for (int i = 0; i < q->nsegments && drop->t.n < DROP_BATCH; i++)
	{
		if (q->segments[i].state == SEGMENT_FREE || q->segments[i].restored)
			continue;
		if (!is_missing(drop) || !drop_from_segment(drop, &q->segments[i]))
			break;
	}
	n = drop->t.n;
	room.messages = n;
	for (int i = 0; i < n; i++)
		room.bytes += message_size(drop->tuple[i]->t_data);
	if (to != NULL && n > 0)
		dead_letter(q, to, drop);
	if (n > 0)
	{
		limits_dropped(q, &room);
		queue_count(q->shared, COUNT_DROPPED, to == NULL ? n : 0);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return n;
}

/* Drops messages until there is room for the new ones */
static void
make_room(Queue *q, const Room *need)
{
	Room		missing;

	for (int tries = 0; tries < DROP_TRIES; tries++)
	{
		if (limits_reserve(q, need, &missing))
			return;
		CHECK_FOR_INTERRUPTS();
		if (drop_oldest(q, &missing) == 0 && q->valid)
			break;
		q = catalog_queue_reload(q);
	}
	fail(q, _("No message in it can be dropped: none is ready."),
		 _("Leased, delayed and dead messages are not dropped."));
}

/* Waits until there is room for the new messages */
static void
wait_for_room(Queue *q, const Room *need)
{
	Room		own = limits_own(q);
	Room		all = {own.messages + need->messages,
	own.bytes + need->bytes};

	if (!limits_fits(q, &all))
		fail(q, _("This transaction alone has sent more than there is room "
				  "for, and nobody can take that before it commits."),
			 _("Send less in one transaction."));
	while (!limits_wait(q, need))
	{
		q = catalog_queue_reload(q);
		send_check_paused(q);
		if (q->overflow != 'b')
		{
			overflow_reserve(q, need->messages, need->bytes);
			return;
		}
	}
}

/*
 * Reserves room in a queue with limits for messages that are about to be
 * appended, and does what the queue says when there is none.
 */
void
overflow_reserve(Queue *q, int64 messages, int64 bytes)
{
	Room		need = {messages, bytes};
	Room		missing;

	if (messages == 0)
		return;
	if (!limits_fits(q, &need))
		fail(q, _("The messages do not fit into it at once, however empty "
				  "it is."),
			 _("Send less at once."));
	if (limits_reserve(q, &need, &missing))
		return;
	switch (q->overflow)
	{
		case 'b':
			wait_for_room(q, &need);
			break;
		case 'd':
			make_room(q, &need);
			break;
		default:
			fail(q, _("The messages do not fit into it."),
				 _("Consumers make room by ack; overflow => 'block' or "
				   "'drop_oldest' would wait, or drop the oldest."));
	}
}
