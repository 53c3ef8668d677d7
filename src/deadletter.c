/*
 * deadletter.c
 *	  Takes dead messages away; for the worker.
 *
 * A message dies in place, at once, by whoever finds out.  Owns what happens
 * next: with a dead-letter queue it is moved there; without one it is dropped
 * when it expired or had to make room, and else kept for redrive().
 *
 * Invariants
 *	- The move is one transaction, delete and insert: see transfer.c.
 *	- While the dead-letter queue is missing, paused, busy or full, messages
 *	  stay where they are and are tried again.
 *	- A message that would come back to a queue where it has been, and that no
 *	  consumer rejected since, goes no further: nothing goes round by itself.
 *	  It is dropped if it expired or had to make room; one that failed too
 *	  often stays.
 *
 * Whoever makes a message dead sets the queue's flag "reap" and wakes the
 * worker; the pages are found by the ready map's facts.  Segments without a
 * slot are looked through now and then.
 *
 * Room in a dead-letter queue with limits is reserved before anything is
 * taken: one transaction finds out how much is needed, the next one reserves
 * it.
 *
 * Locks: never waits for one.  RowExclusiveLock on the dead-letter queue's
 * tail, then on segments of the queue, to the end of the transaction; what
 * transfer.c takes.
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "deadletter.h"
#include "debug.h"
#include "duration.h"
#include "limits.h"
#include "overflow.h"
#include "readymap.h"
#include "reasons.h"
#include "transfer.h"
#include "worker.h"
#include "xdeath.h"

/* Messages taken in one transaction */
#define REAP_BATCH		1000

/* Transactions in a row for one queue, so that others have their turn */
#define REAP_BATCHES	8

/* A queue whose messages die one by one is looked at this often */
#define REAP_PAUSE_USECS	(USECS_PER_SEC / 50)

/* The same when locks were in the way, or the dead-letter queue is */
#define BUSY_PAUSE_USECS	(USECS_PER_SEC / 4)
#define BLOCKED_MAX_USECS	(5 * USECS_PER_SEC)

/* So long a change of the definition may take to be seen by others */
#define CHANGE_WATCH_USECS	USECS_PER_SEC

/* Longest pause after errors in a row */
#define ERROR_MAX_USECS		(600 * USECS_PER_SEC)

/* One batch */
typedef struct ReapWork
{
	int32		queue_id;
	bool		unmapped;		/* look at pages the map knows nothing of */
	Room		room;			/* to be reserved, if the target has limits */
	int			taken;
	int			dropped;
	bool		none;			/* nothing is dead */
	bool		busy;			/* passed over a segment */
	bool		blocked;		/* the dead-letter queue takes nothing */
	Room		left;			/* what had to stay for want of room */
	bool		unfit;			/* one stays that the queue can never take */
} ReapWork;

/* Where a batch stands */
typedef struct Reap
{
	ReapWork   *work;
	Transfer	t;
	Queue	   *to;				/* NULL: there is no dead-letter queue */
	int64		growth;			/* of a message's headers, at most */
	Room		reserved;		/* in the dead-letter queue */
	Room		free;			/* of that, not used yet */
	Room		left;			/* the same as the work's */
	TimestampTz now;
	MemoryContext page_context; /* of suspects */
	bool		judged;			/* those that have to stay are not suspects */
	int			nsuspects;		/* of the page */
	HeapTuple	suspect[RECEIPT_MAX_OFFSET];
	int			nrenewed;		/* to be appended */
	HeapTuple	taken[REAP_BATCH];
	HeapTuple	renewed[REAP_BATCH];
} Reap;

/* Is there room for it in the dead-letter queue?  Counts it. */
static bool
has_room(Reap *reap, HeapTuple tup)
{
	Room		need = {1, message_size(tup->t_data) + reap->growth};

	if (!limits_fits(reap->to, &need))
	{
		reap->work->unfit = true;
		return false;
	}
	if (reap->free.messages < 1 || reap->free.bytes < need.bytes)
	{
		reap->left.messages++;
		reap->left.bytes += need.bytes;
		return false;
	}
	reap->free.messages--;
	reap->free.bytes -= need.bytes;
	return true;
}

/*
 * May the dead message go round, and has then to be kept?  Its headers, which
 * may be out of line, tell.
 */
static bool
is_suspect(HeapTuple tup)
{
	MessageHead *head = message_head(tup->t_data);

	return head->holder != DEATH_REJECTED && !message_is_droppable(head) &&
		!heap_attisnull(tup, Anum_msg_headers, NULL);
}

/* Notes one of them, to be judged without the buffer lock */
static void
note_suspect(Reap *reap, HeapTuple tup)
{
	MemoryContext old = MemoryContextSwitchTo(reap->page_context);

	reap->suspect[reap->nsuspects++] = heap_copytuple(tup);
	MemoryContextSwitchTo(old);
}

/* Is it one of those that were found not to go round? */
static bool
is_acquitted(Reap *reap, HeapTuple tup)
{
	for (int i = 0; i < reap->nsuspects; i++)
		if (ItemPointerEquals(&reap->suspect[i]->t_self, &tup->t_self))
			return message_head(reap->suspect[i]->t_data)->id ==
				message_head(tup->t_data)->id;
	return false;
}

/* Leaves those of the suspects that may go to the dead-letter queue */
static void
judge_suspects(Reap *reap)
{
	MemoryContext old = MemoryContextSwitchTo(reap->page_context);
	TupleDesc	desc = RelationGetDescr(reap->t.rel);
	int			n = 0;

	for (int i = 0; i < reap->nsuspects; i++)
	{
		bool		isnull;
		Datum		headers = heap_getattr(reap->suspect[i], Anum_msg_headers,
										   desc, &isnull);

		if (!xdeath_is_cycle(DatumGetJsonbP(headers), reap->to->name))
			reap->suspect[n++] = reap->suspect[i];
	}
	reap->nsuspects = n;
	MemoryContextSwitchTo(old);
}

/* Is it dead, and not to be kept? */
static bool
is_wanted(Transfer *t, HeapTuple tup)
{
	Reap	   *reap = t->arg;
	MessageHead *head = message_head(tup->t_data);

	if (reap->to == NULL)
		return message_is_droppable(head);
	if (!MESSAGE_IS_DEAD(head))
		return false;
	if (reap->judged && !is_acquitted(reap, tup))
		return false;
	if (!reap->judged && is_suspect(tup))
	{
		note_suspect(reap, tup);
		return false;
	}
	if (!queue_takes_key(reap->to, message_key_size(tup->t_data)))
	{
		reap->work->unfit = true;
		return false;
	}
	return !reap->to->limited || has_room(reap, tup);
}

/*
 * What goes into a dead-letter queue for a message of q that is gone; NULL =
 * nothing, since it would go round.
 */
HeapTuple
deadletter_copy(Queue *q, Queue *to, TupleDesc desc, HeapTuple tuple,
				DeathReason reason, bool droppable, TimestampTz now)
{
	int64		id = message_head(tuple->t_data)->id;
	char		detail[REASON_MAX_BYTES + 1];
	bool		has_detail = reasons_find(q->shared, id, detail);
	Renewal		renewal;
	Jsonb	   *headers;
	Datum		value;
	bool		isnull;

	value = heap_getattr(tuple, Anum_msg_headers, desc, &isnull);
	headers = xdeath_add(isnull ? NULL : DatumGetJsonbP(value), q->name,
						 reason, id, now, has_detail ? detail : NULL);
	if (droppable && xdeath_is_cycle(headers, to->name))
		return NULL;
	renewal.visible_at = renewal.enqueued_at = now;
	renewal.expires_at = to->ttl > 0 ? timestamp_plus(now, to->ttl) :
		QUEUE_NO_EXPIRY;
	renewal.headers = JsonbPGetDatum(headers);
	return transfer_renew(desc, tuple, &renewal);
}

/* Makes what goes into the dead-letter queue; NULL = dropped */
static HeapTuple
dead_letter(Reap *reap, HeapTuple tuple)
{
	MessageHead *head = message_head(tuple->t_data);

	if (reap->to == NULL)
		return NULL;
	return deadletter_copy(reap->t.q, reap->to, RelationGetDescr(reap->t.rel),
						   tuple, (DeathReason) head->holder,
						   message_is_droppable(head), reap->now);
}

/* Is there perhaps something for us on the page? */
static bool
page_is_concerned(Reap *reap, BlockNumber block)
{
	MapPage		page;

	if (!map_read_page(reap->t.seg->slot, block, &page))
		return reap->work->unmapped;
	return reap->to != NULL ? page.facts.dead > 0 : page.facts.droppable;
}

/* Has enough been found for this transaction and the next? */
static bool
is_full(Reap *reap)
{
	return reap->t.n == reap->t.max ||
		reap->left.messages >= REAP_BATCH;
}

/* Takes from a page: first what is beyond suspicion */
static void
reap_page(Reap *reap, BlockNumber block)
{
	transfer_take(&reap->t, block);
	if (reap->nsuspects == 0)
		return;
	judge_suspects(reap);
	reap->judged = true;
	if (reap->nsuspects > 0)
		transfer_take(&reap->t, block);
	reap->judged = false;
	reap->nsuspects = 0;
	MemoryContextReset(reap->page_context);
}

/* Takes what there is in the open segment, up to the batch */
static void
reap_segment(Reap *reap)
{
	Transfer   *t = &reap->t;
	BlockNumber nblocks = RelationGetNumberOfBlocks(t->rel);

	for (BlockNumber block = 0; block < nblocks && !is_full(reap); block++)
	{
		int			before = t->n;

		if (!page_is_concerned(reap, block))
			continue;
		CHECK_FOR_INTERRUPTS();
		reap_page(reap, block);
		for (int i = before; i < t->n; i++)
		{
			HeapTuple	renewed = dead_letter(reap, t->tuple[i]);

			if (renewed == NULL)
				reap->work->dropped++;
			else
				reap->renewed[reap->nrenewed++] = renewed;
		}
	}
}

/* Takes from all segments of the queue, up to the batch */
static void
reap_segments(Reap *reap)
{
	Transfer   *t = &reap->t;

	for (int i = 0; i < t->q->nsegments && !is_full(reap); i++)
	{
		QueueSegment *seg = &t->q->segments[i];
		MapSlot    *slot = catalog_slot(t->q, seg);
		int			before = t->n;

		if (seg->state == SEGMENT_FREE || seg->restored)
			continue;
		if (!reap->work->unmapped &&
			(slot == NULL || pg_atomic_read_u64(&slot->dead) == 0))
			continue;
		t->seg = seg;
		t->rel = catalog_open_segment(t->q, seg, false);
		if (t->rel == NULL)
		{
			reap->work->busy = true;
			if (!t->q->valid)
				return;
			continue;
		}
		reap_segment(reap);
		relation_close(t->rel, t->n > before ? NoLock : RowExclusiveLock);
	}
}

/*
 * The dead-letter queue of a queue that has one, with its tail locked so that
 * nothing need be waited for later; NULL when it can take nothing now.  May be
 * full.
 */
Queue *
deadletter_target(Queue *q, bool wait)
{
	Queue	   *to = catalog_queue_named(q->dead_letter);
	QueueSegment *tail;
	Relation	rel;

	if (to == NULL || to == q || to->enqueue_paused || to->kind == 's')
		return NULL;
	tail = catalog_tail(to, QUEUE_MAIN_CHAIN);
	if (tail == NULL)
		return NULL;
	rel = catalog_open_segment(to, tail, wait);
	if (rel == NULL)
		return NULL;
	relation_close(rel, NoLock);
	return to;
}

/* Does the map know of dead messages? */
static bool
has_dead(Queue *q)
{
	for (int i = 0; i < q->nsegments; i++)
	{
		MapSlot    *slot = catalog_slot(q, &q->segments[i]);

		if (slot != NULL && pg_atomic_read_u64(&slot->dead) > 0)
			return true;
	}
	return false;
}

/*
 * Finds the dead-letter queue, if there is one, and reserves the room there
 * that is asked for.  Returns the queue to be reaped, which may have been read
 * again meanwhile; NULL when it is gone.
 */
static Queue *
prepare_target(Reap *reap, Queue *q)
{
	ReapWork   *work = reap->work;

	if (q->dead_letter[0] == '\0')
		return q;
	reap->to = deadletter_target(q, false);
	work->blocked = reap->to == NULL;
	if (reap->to == NULL || !reap->to->limited)
		return q;
	reap->growth = xdeath_max_growth(q->name);
	if (work->room.messages == 0)
		return q;
	reap->reserved = work->room;
	if (overflow_reserve_some(reap->to, &reap->reserved))
		reap->free = reap->reserved;
	else
	{
		memset(&reap->reserved, 0, sizeof(Room));
		work->blocked = true;
	}
	return catalog_queue_by_id(work->queue_id);
}

/* Puts what was taken into the dead-letter queue */
static void
append_renewed(Reap *reap)
{
	if (reap->reserved.messages > 0)
	{
		Room		used = limits_room_of(reap->renewed, reap->nrenewed);
		Room		unused = {reap->reserved.messages - used.messages,
		reap->reserved.bytes - used.bytes};

		limits_give_back(reap->to, &unused);
	}
	if (reap->nrenewed == 0)
		return;
	transfer_number(reap->to, reap->renewed, reap->nrenewed);
	transfer_append(reap->to, reap->renewed, reap->nrenewed, reap->now);
}

/* Takes one batch away, in the current transaction */
static void
reap_batch(void *arg)
{
	ReapWork   *work = arg;
	Queue	   *q = catalog_queue_by_id(work->queue_id);
	MemoryContext context;
	MemoryContext old;
	Reap	   *reap;

	work->none = q == NULL || (!work->unmapped && !has_dead(q));
	if (work->none)
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "queue reap",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	reap = palloc0(sizeof(Reap));
	reap->page_context = AllocSetContextCreate(context, "queue reap page",
											   ALLOCSET_SMALL_SIZES);
	reap->work = work;
	reap->now = GetCurrentTimestamp();
	reap->t.wanted = is_wanted;
	reap->t.arg = reap;
	reap->t.max = REAP_BATCH;
	reap->t.tuple = reap->taken;
	reap->t.q = prepare_target(reap, q);
	if (!work->blocked)
	{
		if (reap->t.q != NULL)
			reap_segments(reap);
		QUEUE_DEBUG_POINT("reaped");
		append_renewed(reap);
		QUEUE_DEBUG_POINT("dead_lettered");
		work->taken = reap->t.n;
		work->left = reap->left;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* A pause that doubles with each failure in a row */
static void
back_off(QueueShared *qs, int64 shortest, int64 longest)
{
	qs->reap_failures = Min(qs->reap_failures + 1, 20);
	qs->reap_at = GetCurrentTimestamp() +
		Min(shortest << (qs->reap_failures - 1), longest);
	pg_atomic_write_u32(&qs->reap, 1);
}

/*
 * Who changes the definition tells us a moment before others can see it.  So
 * what is dead then, and has to stay, is looked at again for a while.
 */
static void
watch_changes(QueueShared *qs, int taken)
{
	uint32		changes = pg_atomic_read_u32(&qs->changes);
	TimestampTz now = GetCurrentTimestamp();

	if (qs->reap_changes != changes)
	{
		qs->reap_changes = changes;
		qs->reap_watch_until = now + CHANGE_WATCH_USECS;
	}
	if (now < qs->reap_watch_until)
	{
		if (taken == 0)
			qs->reap_at = now + BUSY_PAUSE_USECS;
		pg_atomic_write_u32(&qs->reap, 1);
	}
}

/* Takes a queue's dead messages away, batch by batch */
static void
reap_queue(QueueShared *qs)
{
	Room		room = {0, 0};

	for (int i = 0; i < REAP_BATCHES; i++)
	{
		ReapWork	work = {.queue_id = qs->id,.room = room};

		/* cleared before we look */
		pg_atomic_exchange_u32(&qs->reap, 0);
		if (!worker_attempt_sql(reap_batch, &work))
		{
			back_off(qs, USECS_PER_SEC, ERROR_MAX_USECS);
			return;
		}
		queue_count(qs, COUNT_DROPPED, work.dropped);
		room = work.left;
		/* what has to stay does not keep the others waiting for long */
		if (work.taken > 0)
			qs->reap_failures = 0;
		if (work.blocked ||
			(room.messages == 0 && work.taken < REAP_BATCH &&
			 (work.busy || work.unfit)))
		{
			back_off(qs, BUSY_PAUSE_USECS, BLOCKED_MAX_USECS);
			return;
		}
		qs->reap_failures = 0;
		if (work.taken < REAP_BATCH && room.messages == 0)
		{
			qs->reap_at = GetCurrentTimestamp() + REAP_PAUSE_USECS;
			if (!work.none)
				watch_changes(qs, work.taken);
			return;
		}
	}
	/* others first, then the rest */
	pg_atomic_write_u32(&qs->reap, 1);
	qs->reap_at = 0;
}

/*
 * Takes away the dead messages of all queues that ask for it.  Returns when
 * the next one is to be looked at.
 */
TimestampTz
deadletter_reap(TimestampTz now)
{
	TimestampTz next = QUEUE_NO_DUE;

	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (!qs->in_use || qs->dboid != MyDatabaseId ||
			pg_atomic_read_u32(&qs->reap) == 0)
			continue;
		if (qs->reap_at <= now)
			reap_queue(qs);
		if (pg_atomic_read_u32(&qs->reap) != 0)
			next = Min(next, qs->reap_at);
	}
	return next;
}

/*
 * The same for one queue, for pages and queues that have no place in shared
 * memory: nobody can ask there.
 */
void
deadletter_reap_unmapped(int32 queue_id)
{
	Room		room = {0, 0};
	ReapWork	work;

	do
	{
		memset(&work, 0, sizeof(work));
		work.queue_id = queue_id;
		work.unmapped = true;
		work.room = room;
		if (!worker_attempt_sql(reap_batch, &work))
			return;
		room = work.left;
	} while (!work.blocked &&
			 (work.taken == REAP_BATCH || room.messages > 0));
}
