/*
 * overflow.c
 *	  What a send does when its queue is full.
 *
 * Owns the property "overflow": reject raises an error, block waits until
 * there is room, drop_oldest takes the oldest ready messages away as part of
 * the sender's transaction, into the dead-letter queue where there is one.
 * If that is full as well and drops, it is treated likewise; if it does not
 * drop, nothing is sent.
 *
 * move() and redrive() send in this sense.  The worker, who brings dead
 * messages, takes what room there is, and never waits.
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

/* A queue that drops into one that drops, and so on: so many at most */
#define DROP_DEPTH	8

/* What drop_oldest is about to take */
typedef struct Drop
{
	Transfer	t;
	TimestampTz now;
	bool		wait;			/* for locks */
	Queue	   *to;				/* the dead-letter queue, NULL = none */
	Room		missing;		/* less what was taken */
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

static bool make_room(Queue *q, const Room *need, bool wait, int depth);

/* Must more be dropped? */
static bool
is_missing(Drop *drop)
{
	return drop->missing.messages > 0 || drop->missing.bytes > 0;
}

/*
 * The oldest first: is it ready, may it go where it has to, and is room still
 * missing?
 */
static bool
is_droppable(Transfer *t, HeapTuple tup)
{
	Drop	   *drop = t->arg;
	MessageHead *head = message_head(tup->t_data);

	if (!is_missing(drop))
		return false;
	if (head->lease != 0 || head->visible_at > drop->now)
		return false;
	if (drop->to != NULL &&
		!queue_takes_key(drop->to, message_key_size(tup->t_data)))
		return false;
	drop->missing.messages--;
	drop->missing.bytes -= message_size(tup->t_data);
	return true;
}

/* Takes from one segment; false when it cannot be had */
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
	t->rel = catalog_open_segment(t->q, seg, drop->wait);
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

/*
 * Puts what was taken from the queue into its dead-letter queue; returns how
 * many went there, since none goes round.  Raises 53400 when that has no room.
 */
static int
dead_letter(Queue *q, Queue *to, Drop *drop, int depth)
{
	HeapTuple  *renewed = palloc(Max(drop->t.n, 1) * sizeof(HeapTuple));
	int			n = 0;
	Room		need;

	for (int i = 0; i < drop->t.n; i++)
	{
		HeapTuple	copy = deadletter_copy(q, to, drop->desc,
										   drop->tuple[i],
										   DEATH_OVERFLOW, true, drop->now);

		if (copy != NULL)
			renewed[n++] = copy;
	}
	if (n == 0)
		return 0;
	need = limits_room_of(renewed, n);
	if (to->limited && !make_room(to, &need, drop->wait, depth + 1))
		fail(q, _("Its dead-letter queue is full."),
			 _("Consumers of the dead-letter queue make room by ack."));
	transfer_number(to, renewed, n);
	transfer_append(to, renewed, n, drop->now);
	return n;
}

/*
 * Sets *to to the dead-letter queue, NULL when the queue has none.  When it
 * takes nothing: false for one who cannot wait, else 53400.
 */
static bool
find_dead_letter_queue(Queue *q, bool wait, Queue **to)
{
	*to = NULL;
	if (q->dead_letter[0] == '\0')
		return true;
	*to = deadletter_target(q, wait);
	if (*to == NULL && wait)
		fail(q, _("Its dead-letter queue takes no messages."),
			 _("See that the dead-letter queue exists and is not "
			   "paused."));
	return *to != NULL;
}

/*
 * Takes the oldest ready messages away until there is as much room as is
 * missing, or a batch is full.  Returns how many.
 */
static int
drop_oldest(Queue *q, const Room *missing, bool wait, int depth)
{
	MemoryContext context;
	MemoryContext old;
	Drop	   *drop;
	Queue	   *to;
	Room		room;
	int			n;
	int			kept = 0;

	if (!find_dead_letter_queue(q, wait, &to))
		return 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "queue drop",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	drop = palloc0(sizeof(Drop));
	drop->t.q = q;
	drop->t.wanted = is_droppable;
	drop->t.arg = drop;
	drop->t.max = DROP_BATCH;
	drop->t.tuple = drop->tuple;
	drop->t.uncounted = true;
	drop->now = GetCurrentTimestamp();
	drop->wait = wait;
	drop->to = to;
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
	room = limits_room_of(drop->tuple, n);
	if (to != NULL && n > 0)
		kept = dead_letter(q, to, drop, depth);
	if (n > 0)
	{
		limits_give_back(q, &room);
		txn_count(q->shared, COUNT_DEAD_LETTERED, n);
		txn_count(q->shared, COUNT_DROPPED, n - kept);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return n;
}

/*
 * Reserves room; drops messages until there is enough of it, if the queue does
 * that.  False when that is not to be had.
 */
static bool
make_room(Queue *q, const Room *need, bool wait, int depth)
{
	Room		missing;

	if (!limits_fits(q, need))
		return false;
	for (int tries = 0; tries < DROP_TRIES; tries++)
	{
		if (limits_reserve(q, need, wait, &missing))
			return true;
		CHECK_FOR_INTERRUPTS();
		if (q->overflow != 'd' || depth == DROP_DEPTH ||
			(drop_oldest(q, &missing, wait, depth) == 0 &&
			 (q->valid || !wait)))
			break;
		q = catalog_queue_reload(q);
	}
	return false;
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
	if (limits_reserve(q, &need, true, &missing))
		return;
	switch (q->overflow)
	{
		case 'b':
			wait_for_room(q, &need);
			break;
		case 'd':
			if (!make_room(q, &need, true, 0))
				fail(q, _("No message in it can be dropped: none is ready."),
					 _("Leased, delayed and dead messages are not "
					   "dropped."));
			break;
		default:
			fail(q, _("The messages do not fit into it."),
				 _("Consumers make room by ack; overflow => 'block' or "
				   "'drop_oldest' would wait, or drop the oldest."));
	}
}

/*
 * Reserves as much of the room as there is, for one who cannot wait; drops
 * messages first, if the queue does that.  *room says how much it was; false
 * when there is none.
 */
bool
overflow_reserve_some(Queue *q, Room *room)
{
	Room		missing;

	if (q->max_messages > 0)
		room->messages = Min(room->messages, q->max_messages);
	if (q->max_bytes > 0)
		room->bytes = Min(room->bytes, q->max_bytes);
	if (make_room(q, room, false, 0))
		return true;
	if (limits_reserve(q, room, false, &missing))
		return true;
	room->messages -= missing.messages;
	room->bytes -= missing.bytes;
	return room->messages > 0 && room->bytes > 0 &&
		limits_reserve(q, room, false, &missing);
}
