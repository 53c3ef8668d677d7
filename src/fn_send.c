/*
 * fn_send.c
 *	  SQL functions enqueue() and enqueue_batch().
 *
 * Owns the checks of their arguments and the making of message tuples.
 * Locks: those of append.c.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "append.h"
#include "catalog.h"
#include "dedup.h"
#include "duration.h"
#include "fn_send.h"
#include "guc.h"
#include "overflow.h"

PG_FUNCTION_INFO_V1(queue_enqueue);
PG_FUNCTION_INFO_V1(queue_enqueue_batch);

/* When, and how, the messages of one call are to be delivered */
typedef struct SendOptions
{
	Queue	   *q;
	TimestampTz now;
	TimestampTz visible_at;
	TimestampTz expires_at;		/* QUEUE_NO_EXPIRY = never */
	int			chain;
	int			priority;
} SendOptions;

/* The row type of a segment, made once a session */
static TupleDesc
message_descriptor(void)
{
	static TupleDesc desc = NULL;

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	new = CreateTemplateTupleDesc(Natts_msg);

		for (int i = 0; i < Natts_msg; i++)
			TupleDescInitEntry(new, i + 1, NULL, layout_column_types[i],
							   -1, 0);
		compat_finalize_descriptor(new);
		desc = new;
		MemoryContextSwitchTo(old);
	}
	return desc;
}

/* Makes the tuple of one message */
static HeapTuple
form_message(SendOptions *options, int64 id, MessageParts *parts)
{
	Datum		values[Natts_msg] = {0};
	bool		nulls[Natts_msg] = {0};

#define SET(attno, value) values[(attno) - 1] = (value)
	SET(Anum_msg_id, Int64GetDatum(id));
	SET(Anum_msg_visible_at, TimestampTzGetDatum(options->visible_at));
	SET(Anum_msg_priority, Int16GetDatum(options->priority));
	SET(Anum_msg_enqueued_at, TimestampTzGetDatum(options->now));
	SET(Anum_msg_expires_at, TimestampTzGetDatum(options->expires_at));
	SET(Anum_msg_key, parts->key.value);
	SET(Anum_msg_body, parts->body.value);
	SET(Anum_msg_payload, parts->payload.value);
	SET(Anum_msg_headers, parts->headers.value);
#undef SET
	nulls[Anum_msg_expires_at - 1] =
		options->expires_at == QUEUE_NO_EXPIRY;
	nulls[Anum_msg_key - 1] = parts->key.isnull;
	nulls[Anum_msg_body - 1] = parts->body.isnull;
	nulls[Anum_msg_payload - 1] = parts->payload.isnull;
	nulls[Anum_msg_headers - 1] = parts->headers.isnull;
	return heap_form_tuple(message_descriptor(), values, nulls);
}

/* The size of a message as the limits of its queue count it */
static int64
parts_size(MessageParts *parts)
{
	NullableDatum *part[] = {
		&parts->body, &parts->payload, &parts->headers, &parts->key
	};
	int64		size = 0;

	for (size_t i = 0; i < lengthof(part); i++)
		if (!part[i]->isnull)
			size += toast_raw_datum_size(part[i]->value) - VARHDRSZ;
	return size;
}

/*
 * Raises 54000 for a key that the queue does not take.
 */
void
send_check_key(Queue *q, int64 size)
{
	if (!queue_takes_key(q, size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("key is too long for fifo queue \"%s\"", q->name),
				 errdetail("It can have %d bytes.", MAX_FIFO_KEY)));
}

/*
 * Raises 54000 for a message that is larger than the queue takes.
 */
void
send_check_size(Queue *q, int64 size)
{
	if (q->max_message_bytes > 0 && size > q->max_message_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("message of %lld bytes is too long for queue \"%s\"",
						(long long) size, q->name),
				 errdetail("Its max_message_bytes is %d.",
						   q->max_message_bytes)));
}

/* Raises 22023 for headers that no filter could ever look into */
static void
check_headers(MessageParts *parts)
{
	if (!parts->headers.isnull &&
		!JB_ROOT_IS_OBJECT(DatumGetJsonbP(parts->headers.value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be a JSON object")));
}

/*
 * Raises an error for a message that the queue does not take.
 */
void
send_check(Queue *q, MessageParts *parts)
{
	check_headers(parts);
	if (!parts->key.isnull)
		send_check_key(q, toast_raw_datum_size(parts->key.value) - VARHDRSZ);
	send_check_size(q, parts_size(parts));
}

/*
 * Raises 55000 while nothing is to be sent to the queue.
 */
void
send_check_paused(Queue *q)
{
	if (q->enqueue_paused)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue \"%s\" is paused for enqueue", q->name),
				 errhint("Its owner can call queue.resume().")));
}

/* The argument priority: 0 unless given */
static int
read_priority(FunctionCallInfo fcinfo, int argno, Queue *q)
{
	int			priority = PG_ARGISNULL(argno) ? 0 : PG_GETARG_INT32(argno);

	if (priority < 0 || priority > 9)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("priority %d is out of range", priority),
				 errdetail("It must be between 0 and 9.")));
	if (priority != 0 && q->kind == 'f')
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("queue \"%s\" is a fifo queue and has no priorities",
						q->name)));
	return priority;
}

/* What is delayed for long stays out of the way of the others */
static void
choose_chain(SendOptions *options)
{
	options->chain = QUEUE_MAIN_CHAIN;
	/* a delayed message keeps its place among those of its key */
	if (options->q->kind != 'f' && options->visible_at - options->now >
		(int64) queue_park_after * USECS_PER_SEC)
		options->chain = QUEUE_PARKING_CHAIN;
}

/* The time to live of messages counts from now, delayed or not; 0 = none */
static void
set_expiry(SendOptions *options, int64 ttl)
{
	options->expires_at = ttl > 0 ? timestamp_plus(options->now, ttl) :
		QUEUE_NO_EXPIRY;
}

/* The lower time to live of the queue's and the caller's holds */
static void
read_ttl(FunctionCallInfo fcinfo, int argno, SendOptions *options)
{
	int64		ttl = options->q->ttl;

	if (!PG_ARGISNULL(argno))
	{
		int64		given = interval_microseconds(PG_GETARG_INTERVAL_P(argno));

		if (given <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"ttl\" must be greater than zero")));
		ttl = ttl > 0 ? Min(ttl, given) : given;
	}
	set_expiry(options, ttl);
}

/*
 * Reads what enqueue() and enqueue_batch() have in common, from argno on:
 * priority, delay, deliver_at, ttl, dedup.
 */
static void
read_options(FunctionCallInfo fcinfo, const char *what, int argno,
			 SendOptions *options)
{
	Queue	   *q;
	int64		delay;

	queue_prevent_readonly(what);
	q = catalog_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0), "queue");
	catalog_check_access(q, ACL_INSERT, what);
	send_check_paused(q);
	if (!PG_ARGISNULL(argno + 1) && !PG_ARGISNULL(argno + 2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"delay\" and \"deliver_at\" exclude each other")));

	options->q = q;
	options->priority = read_priority(fcinfo, argno, q);
	options->now = GetCurrentTimestamp();
	delay = PG_ARGISNULL(argno + 1) ? q->delay :
		interval_microseconds(PG_GETARG_INTERVAL_P(argno + 1));
	if (delay < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"delay\" must not be negative")));
	if (PG_ARGISNULL(argno + 2))
		options->visible_at = timestamp_plus(options->now, delay);
	else
	{
		TimestampTz at = PG_GETARG_TIMESTAMPTZ(argno + 2);

		if (TIMESTAMP_NOT_FINITE(at))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"deliver_at\" must be finite")));
		options->visible_at = Max(at, options->now);
	}
	read_ttl(fcinfo, argno + 3, options);
	choose_chain(options);
}

/*
 * The first of n ids.  0 in a fifo queue, whose messages get their ids when
 * they are appended, unless they must be known before.
 */
static int64
reserve_ids(SendOptions *options, int n, bool now)
{
	return options->q->kind == 'f' && !now ? 0 :
		append_reserve_ids(options->q, n);
}

/* Appends messages that were formed, of which there may be none */
static void
send(SendOptions *options, HeapTuple *tuples, int n)
{
	/* all may be duplicates */
	if (n == 0)
		return;
	append_messages(options->q, options->chain, TXN_APPENDED, tuples, n,
					options->visible_at <= options->now ? 0 :
					options->visible_at);
}

/*
 * Sends up to SEND_CHUNK messages, with the queue's own delay.  The caller
 * has checked them, and the right to do so.
 */
void
send_parts(Queue *q, MessageParts *parts, const int *priority, int n)
{
	SendOptions options = {.q = q,.now = GetCurrentTimestamp()};
	HeapTuple	tuples[SEND_CHUNK];
	int64		first;

	Assert(n <= SEND_CHUNK);
	options.visible_at = timestamp_plus(options.now, q->delay);
	set_expiry(&options, q->ttl);
	choose_chain(&options);
	if (q->limited)
	{
		int64		bytes = 0;

		for (int i = 0; i < n; i++)
			bytes += parts_size(&parts[i]);
		overflow_reserve(q, n, bytes);
	}
	first = reserve_ids(&options, n, false);
	for (int i = 0; i < n; i++)
	{
		options.priority = priority[i];
		tuples[i] = form_message(&options, first == 0 ? 0 : first + i,
								 &parts[i]);
	}
	send(&options, tuples, n);
}

/*
 * Was this dedup_id sent before?  Then *id becomes that message's.
 */
static bool
is_duplicate(Queue *q, text *dedup_id, int64 *id)
{
	DedupEntry	entry = {.message_id = *id};

	dedup_set_id(&entry, dedup_id);
	dedup_enter(q, &entry, 1);
	*id = entry.message_id;
	return entry.duplicate;
}

/*
 * enqueue(queue, body, payload, headers, key, priority, delay, deliver_at,
 * ttl, dedup_id) returns the message's id.
 */
Datum
queue_enqueue(PG_FUNCTION_ARGS)
{
	SendOptions options;
	MessageParts parts;
	bool		dedup = !PG_ARGISNULL(9);
	HeapTuple	tuple;
	int64		id;

	read_options(fcinfo, "queue.enqueue()", 5, &options);
	parts.body = fcinfo->args[1];
	parts.payload = fcinfo->args[2];
	parts.headers = fcinfo->args[3];
	parts.key = fcinfo->args[4];
	send_check(options.q, &parts);

	/* what there is no room for waits with as few locks as can be */
	if (options.q->limited && !dedup)
		overflow_reserve(options.q, 1, parts_size(&parts));
	id = reserve_ids(&options, 1, dedup);
	if (dedup && is_duplicate(options.q, PG_GETARG_TEXT_PP(9), &id))
		PG_RETURN_INT64(id);
	if (options.q->limited && dedup)
		overflow_reserve(options.q, 1, parts_size(&parts));
	tuple = form_message(&options, id, &parts);
	send(&options, &tuple, 1);
	PG_RETURN_INT64(message_head(tuple->t_data)->id);
}

/* One of enqueue_batch()'s arrays, taken apart */
typedef struct BatchColumn
{
	const char *name;
	Oid			type;
	Datum	   *values;			/* NULL: the array was not given */
	bool	   *nulls;
} BatchColumn;

/* Takes an array apart; all arrays given must be equally long */
static void
read_column(FunctionCallInfo fcinfo, int argno, BatchColumn *column,
			int *count)
{
	ArrayType  *array;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	int			n;

	if (PG_ARGISNULL(argno))
		return;
	array = PG_GETARG_ARRAYTYPE_P(argno);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be a one-dimensional array",
						column->name)));
	get_typlenbyvalalign(column->type, &typlen, &typbyval, &typalign);
	deconstruct_array(array, column->type, typlen, typbyval, typalign,
					  &column->values, &column->nulls, &n);
	if (*count >= 0 && n != *count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" has %d elements where %d are expected",
						column->name, n, *count),
				 errdetail("All arrays of a batch must be equally long.")));
	*count = n;
}

/* One element of an array, null when the array was not given */
static NullableDatum
column_value(BatchColumn *column, int i)
{
	NullableDatum result = {.isnull = true};

	if (column->values != NULL && !column->nulls[i])
	{
		result.value = column->values[i];
		result.isnull = false;
	}
	return result;
}

/*
 * Gives the messages of a batch their ids: new ones, or that of the first
 * message with the same dedup_id.  skip tells which are not to be stored.
 */
static void
assign_ids(SendOptions *options, BatchColumn *dedup_ids, int count, Datum *ids,
		   bool *skip)
{
	DedupEntry *entries;
	int			n = 0;

	for (int start = 0; start < count; start += SEND_CHUNK)
	{
		int			chunk = Min(SEND_CHUNK, count - start);
		int64		first = reserve_ids(options, chunk,
										dedup_ids->values != NULL);

		for (int i = 0; i < chunk; i++)
			ids[start + i] = Int64GetDatum(first == 0 ? 0 : first + i);
	}
	if (dedup_ids->values == NULL)
		return;

	entries = palloc0(Max(count, 1) * sizeof(DedupEntry));
	for (int i = 0; i < count; i++)
	{
		if (dedup_ids->nulls[i])
			continue;
		entries[n].index = i;
		entries[n].message_id = DatumGetInt64(ids[i]);
		dedup_set_id(&entries[n++], DatumGetTextPP(dedup_ids->values[i]));
	}
	dedup_enter(options->q, entries, n);
	for (int i = 0; i < n; i++)
	{
		ids[entries[i].index] = Int64GetDatum(entries[i].message_id);
		skip[entries[i].index] = entries[i].duplicate;
	}
	pfree(entries);
}

/* Takes one message of a batch from its arrays */
static void
take_parts(BatchColumn *column, int i, MessageParts *parts)
{
	parts->body = column_value(&column[0], i);
	parts->payload = column_value(&column[1], i);
	parts->headers = column_value(&column[2], i);
	parts->key = column_value(&column[3], i);
}

/* Reserves room for what is to be stored of a batch, all of it at once */
static void
reserve_batch(Queue *q, BatchColumn *column, int count, const bool *skip)
{
	int64		messages = 0;
	int64		bytes = 0;

	for (int i = 0; i < count; i++)
	{
		MessageParts parts;

		if (skip[i])
			continue;
		take_parts(column, i, &parts);
		messages++;
		bytes += parts_size(&parts);
	}
	overflow_reserve(q, messages, bytes);
}

/* Forms and appends the messages of a batch from start on */
static void
send_chunk(SendOptions *options, BatchColumn *column, int start, int n,
		   Datum *ids, bool *skip)
{
	HeapTuple	tuples[SEND_CHUNK];
	int			stored = 0;

	for (int i = 0; i < n; i++)
	{
		MessageParts parts;

		take_parts(column, start + i, &parts);
		send_check(options->q, &parts);
		if (!skip[start + i])
			tuples[stored++] = form_message(options,
											DatumGetInt64(ids[start + i]),
											&parts);
	}
	send(options, tuples, stored);

	/* a fifo queue has numbered them just now */
	for (int i = 0, next = 0; i < n; i++)
		if (!skip[start + i])
			ids[start + i] =
				Int64GetDatum(message_head(tuples[next++]->t_data)->id);
}

/*
 * enqueue_batch(queue, bodies, payloads, headers, keys, priority, delay,
 * deliver_at, ttl, dedup_ids) returns the messages' ids, in order.
 */
Datum
queue_enqueue_batch(PG_FUNCTION_ARGS)
{
	BatchColumn column[4] = {
		{"bodies", JSONBOID}, {"payloads", BYTEAOID},
		{"headers", JSONBOID}, {"keys", TEXTOID}
	};
	BatchColumn dedup_ids = {"dedup_ids", TEXTOID};
	SendOptions options;
	MemoryContext context;
	Datum	   *ids;
	bool	   *skip;
	int			count = -1;

	read_options(fcinfo, "queue.enqueue_batch()", 5, &options);
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("one of \"bodies\" and \"payloads\" must be given")));
	for (int i = 0; i < 4; i++)
		read_column(fcinfo, i + 1, &column[i], &count);
	read_column(fcinfo, 9, &dedup_ids, &count);

	ids = palloc(Max(count, 1) * sizeof(Datum));
	skip = palloc0(Max(count, 1) * sizeof(bool));
	context = AllocSetContextCreate(CurrentMemoryContext, "queue batch",
									ALLOCSET_DEFAULT_SIZES);
	if (options.q->limited && dedup_ids.values == NULL)
		reserve_batch(options.q, column, count, skip);
	assign_ids(&options, &dedup_ids, count, ids, skip);
	if (options.q->limited && dedup_ids.values != NULL)
		reserve_batch(options.q, column, count, skip);
	for (int start = 0; start < count; start += SEND_CHUNK)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		send_chunk(&options, column, start, Min(SEND_CHUNK, count - start),
				   ids, skip);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, count, INT8OID, sizeof(int64),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
