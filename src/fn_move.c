/*
 * fn_move.c
 *	  SQL functions move() and redrive().
 *
 * Owns which messages they take and where these go.  Candidates are found by
 * reading, as peek() does, which is where filters and histories are looked
 * into; each is taken only if it is still there and in the same state, under
 * the page's lock (transfer.c).  What others have locked or leased is left.
 *
 * Locks: those of browse.c, transfer.c and overflow.c.  Segments that
 * something was taken from stay locked to the end of the transaction.
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "browse.h"
#include "catalog.h"
#include "compat.h"
#include "duration.h"
#include "filter.h"
#include "fn_send.h"
#include "guc.h"
#include "overflow.h"
#include "transfer.h"
#include "xdeath.h"

PG_FUNCTION_INFO_V1(queue_move);
PG_FUNCTION_INFO_V1(queue_redrive);

/* Messages appended at once */
#define MOVE_BATCH	1000

/* A message to take from the page that is being read */
typedef struct Candidate
{
	OffsetNumber offset;
	int64		id;
	bool		dead;
	int32		to;				/* id of the queue it goes to */
} Candidate;

/* The messages of a batch that go to one queue */
typedef struct Route
{
	int32		to;
	int			n;
	HeapTuple	tuple[MOVE_BATCH];
} Route;

/* One call's work */
typedef struct Move
{
	const char *what;			/* the function's name */
	bool		redrive;
	Queue	   *from;
	Queue		reading;		/* a copy that stays as it is while we read */
	int32		to;				/* 0: where each came from */
	Jsonb	   *filter;
	int64		left;			/* still to be taken */
	int64		moved;
	TimestampTz now;

	Browse		browse;
	int			segment;		/* of the candidates */
	BlockNumber block;
	int			ncandidates;
	Candidate	candidate[MaxHeapTuplesPerPage];

	/* what was taken and not appended yet */
	MemoryContext context;
	int			ntaken;
	List	   *routes;			/* of Route */
} Move;

/* Raises an error unless the caller may send to the queue now */
static void
check_target(Queue *to, const char *what)
{
	catalog_check_access(to, ACL_INSERT, what);
	if (to->enqueue_paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue \"%s\" is paused for enqueue", to->name),
				 errhint("Its owner can call queue.resume().")));
}

/*
 * Where a message goes; 0 = it stays.  One that is dead in this queue goes
 * back into it.
 */
static int32
destination(Move *m, bool dead, Jsonb *headers)
{
	Queue	   *to;
	char	   *name;

	if (m->to != 0)
		return m->to;
	if (dead)
	{
		check_target(m->from, m->what);
		return m->from->id;
	}
	name = xdeath_origin(headers);
	/* looking up the queue that is being read is not allowed, nor useful */
	if (name == NULL || strcmp(name, m->from->name) == 0)
		return 0;
	to = catalog_queue_named(name);
	if (to == NULL)
		return 0;
	check_target(to, m->what);
	return to->id;
}

/* Judges a message that was read; true = it is a candidate */
static bool
is_candidate(Move *m, HeapTuple tuple, Candidate *c)
{
	TupleDesc	desc = RelationGetDescr(m->browse.rel);
	MessageHead *head = message_head(tuple->t_data);
	BrowseState state = browse_state(tuple->t_data, m->browse.now);
	Jsonb	   *headers = NULL;
	MemoryContext old;
	bool		isnull;
	Datum		value;
	bool		result;

	if (state == BROWSE_LEASED || message_is_droppable(head) ||
		(state == BROWSE_DEAD && !MESSAGE_IS_DEAD(head)))
		return false;			/* what has expired is about to go */
	c->offset = ItemPointerGetOffsetNumber(&tuple->t_self);
	c->id = head->id;
	c->dead = MESSAGE_IS_DEAD(head);
	c->to = m->to;
	if (m->filter == NULL && m->to != 0)
		return true;

	old = MemoryContextSwitchTo(m->browse.context);
	value = heap_getattr(tuple, Anum_msg_headers, desc, &isnull);
	if (!isnull)
		headers = DatumGetJsonbP(value);
	result = m->filter == NULL ||
		(headers != NULL &&
		 DatumGetBool(DirectFunctionCall2(jsonb_contains,
										  JsonbPGetDatum(headers),
										  JsonbPGetDatum(m->filter))));
	MemoryContextSwitchTo(old);
	if (!result)
		return false;
	c->to = destination(m, c->dead, headers);
	return c->to != 0;
}

/* Is the live message one of the candidates, as it was? */
static bool
is_still_candidate(Transfer *t, HeapTuple tup)
{
	Move	   *m = t->arg;
	OffsetNumber offset = ItemPointerGetOffsetNumber(&tup->t_self);
	MessageHead *head = message_head(tup->t_data);

	for (int i = 0; i < m->ncandidates; i++)
	{
		Candidate  *c = &m->candidate[i];

		if (c->offset == offset)
			return c->id == head->id && c->dead == MESSAGE_IS_DEAD(head) &&
				browse_state(tup->t_data, m->now) != BROWSE_LEASED;
	}
	return false;
}

/* Which candidate the taken message was */
static Candidate *
candidate_of(Move *m, HeapTuple tuple)
{
	for (int i = 0; i < m->ncandidates; i++)
		if (m->candidate[i].offset ==
			ItemPointerGetOffsetNumber(&tuple->t_self))
			return &m->candidate[i];
	Assert(false);
	return NULL;
}

/* The batch's messages for one queue */
static Route *
route_to(Move *m, int32 to)
{
	ListCell   *lc;
	Route	   *route;

	foreach(lc, m->routes)
	{
		route = lfirst(lc);
		if (route->to == to)
			return route;
	}
	route = palloc0(sizeof(Route));
	route->to = to;
	m->routes = lappend(m->routes, route);
	return route;
}

/*
 * Raises 54000 for a message that another queue does not take.  The history is
 * not counted: what a queue took once, it takes again.
 */
static void
check_message(Queue *to, TupleDesc desc, HeapTuple tuple)
{
	int64		size = message_size(tuple->t_data);
	Datum		headers;
	bool		isnull;

	send_check_key(to, message_key_size(tuple->t_data));
	if (to->max_message_bytes == 0 || size <= to->max_message_bytes)
		return;
	headers = heap_getattr(tuple, Anum_msg_headers, desc, &isnull);
	if (!isnull)
		size -= xdeath_size(DatumGetJsonbP(headers));
	send_check_size(to, size);
}

/*
 * Makes a message's copy for its next queue, which must take it.  What is
 * dead, or comes from a dead-letter queue, starts anew; another keeps its
 * delay and its time to live, unless the queue's is lower.
 */
static HeapTuple
renew(Move *m, TupleDesc desc, HeapTuple tuple, bool dead, Queue *to)
{
	MessageHead *head = message_head(tuple->t_data);
	Renewal		renewal = {.enqueued_at = m->now};

	if (to != m->from)
		check_message(to, desc, tuple);
	renewal.visible_at = dead ? m->now : Max(head->visible_at, m->now);
	renewal.expires_at = dead || m->redrive ? QUEUE_NO_EXPIRY :
		message_expires_at(tuple->t_data);
	if (to->ttl > 0)
		renewal.expires_at = Min(renewal.expires_at,
								 timestamp_plus(m->now, to->ttl));
	return transfer_renew(desc, tuple, &renewal);
}

/* The queue of that id, which was there a moment ago */
static Queue *
find_target(Move *m, int32 id)
{
	Queue	   *to;

	if (id == m->from->id)
		return m->from;
	to = catalog_queue_by_id(id);
	if (to == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("queue was dropped while messages were moved to it")));
	return to;
}

/*
 * Sees to room in a target with limits, as a send does.  What was dead in the
 * queue itself has it already.
 */
static void
reserve_room(Move *m, Queue *to, Route *route)
{
	Room		room;

	if (!to->limited)
		return;
	room = limits_room_of(route->tuple, route->n);
	if (to == m->from)
		limits_note_moved_within(to, route->tuple, route->n);
	else
		overflow_reserve(to, room.messages, room.bytes);
}

/* Appends what was taken so far */
static void
append_taken(Move *m)
{
	MemoryContext old = MemoryContextSwitchTo(m->context);
	ListCell   *lc;

	foreach(lc, m->routes)
	{
		Route	   *route = lfirst(lc);
		Queue	   *to = find_target(m, route->to);

		reserve_room(m, to, route);
		transfer_number(to, route->tuple, route->n);
		transfer_append(to, route->tuple, route->n, m->now);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(m->context);
	m->routes = NIL;
	m->ntaken = 0;
}

/* Takes the candidates of a page, and forgets them */
static void
take_candidates(Move *m)
{
	MemoryContext old = MemoryContextSwitchTo(m->context);
	HeapTuple	taken[MaxHeapTuplesPerPage];
	QueueSegment *seg = &m->reading.segments[m->segment];
	Transfer	t = {
		.q = &m->reading,.seg = seg,.wanted = is_still_candidate,.arg = m,
		.max = Min(m->ncandidates, MOVE_BATCH - m->ntaken),.tuple = taken
	};

	m->left += m->ncandidates;
	t.rel = catalog_open_segment(&m->reading, seg, true);
	/* a table that was rewritten has its messages elsewhere */
	if (t.rel != NULL && compat_rel_number(t.rel) == seg->relnumber)
		transfer_take(&t, m->block);
	for (int i = 0; i < t.n; i++)
	{
		Candidate  *c = candidate_of(m, taken[i]);
		Route	   *route = route_to(m, c->to);

		route->tuple[route->n++] = renew(m, RelationGetDescr(t.rel), taken[i],
										 c->dead, find_target(m, c->to));
	}
	if (t.rel != NULL)
		relation_close(t.rel, t.n > 0 ? NoLock : RowExclusiveLock);
	m->left -= t.n;
	m->moved += t.n;
	m->ntaken += t.n;
	m->ncandidates = 0;
	MemoryContextSwitchTo(old);
}

/* Has the reading come to another page than that of the candidates? */
static bool
other_page(Move *m, HeapTuple tuple)
{
	return m->segment != m->browse.segment ||
		m->block != ItemPointerGetBlockNumber(&tuple->t_self);
}

/*
 * Moves up to m->left messages.  What this call itself appends is not read:
 * the snapshot is older.
 */
static int64
move_messages(Move *m)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	HeapTuple	tuple;
	bool		at_end = false;

	m->now = GetCurrentTimestamp();
	m->context = AllocSetContextCreate(CurrentMemoryContext, "queue move",
									   ALLOCSET_DEFAULT_SIZES);
	m->reading = *m->from;
	m->reading.segments = palloc(m->from->nsegments * sizeof(QueueSegment));
	memcpy(m->reading.segments, m->from->segments,
		   m->from->nsegments * sizeof(QueueSegment));

	browse_begin(&m->browse, &m->reading, snapshot);
	while (!at_end)
	{
		tuple = m->left > 0 ? browse_next(&m->browse) : NULL;
		at_end = tuple == NULL && (m->left > 0 || m->ncandidates == 0);
		if (m->ncandidates > 0 && (tuple == NULL || other_page(m, tuple)))
			take_candidates(m);
		if (m->ntaken > MOVE_BATCH - (int) MaxHeapTuplesPerPage)
			append_taken(m);
		if (tuple != NULL &&
			is_candidate(m, tuple, &m->candidate[m->ncandidates]))
		{
			m->segment = m->browse.segment;
			m->block = ItemPointerGetBlockNumber(&tuple->t_self);
			m->ncandidates++;
			m->left--;
		}
	}
	browse_end(&m->browse);
	UnregisterSnapshot(snapshot);
	append_taken(m);
	MemoryContextDelete(m->context);
	return m->moved;
}

/* A name given as an argument, NULL for null */
static text *
name_argument(FunctionCallInfo fcinfo, int argno)
{
	return PG_ARGISNULL(argno) ? NULL : PG_GETARG_TEXT_PP(argno);
}

/*
 * Reads the arguments, which the two functions have in common, and moves.
 */
static Datum
move_call(FunctionCallInfo fcinfo, const char *what, bool redrive)
{
	Move	   *m = palloc0(sizeof(Move));
	Queue	   *to = NULL;

	queue_prevent_readonly(what);
	m->what = what;
	m->redrive = redrive;
	m->left = PG_ARGISNULL(2) ? PG_INT64_MAX : PG_GETARG_INT64(2);
	if (m->left <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max\" must be greater than zero")));
	m->filter = filter_from_call(fcinfo, 3);
	if (!redrive || !PG_ARGISNULL(1))
	{
		to = catalog_queue(name_argument(fcinfo, 1), "target");
		check_target(to, what);
		m->to = to->id;
	}
	m->from = catalog_queue(name_argument(fcinfo, 0),
							redrive ? "dead_letter_queue" : "source");
	catalog_check_access(m->from, ACL_DELETE, what);
	if (m->from == to)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("queue \"%s\" is source and target", to->name)));
	PG_RETURN_INT64(move_messages(m));
}

/*
 * move(source, target, max, filter)
 */
Datum
queue_move(PG_FUNCTION_ARGS)
{
	return move_call(fcinfo, "queue.move()", false);
}

/*
 * redrive(dead_letter_queue, target, max, filter)
 */
Datum
queue_redrive(PG_FUNCTION_ARGS)
{
	return move_call(fcinfo, "queue.redrive()", true);
}
