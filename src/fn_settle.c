/*
 * fn_settle.c
 *	  SQL functions ack(), nack(), release(), reject(), extend() and their
 *	  batch forms.
 *
 * Owns the checks of their arguments.  Locks: those of settle.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "catalog.h"
#include "duration.h"
#include "guc.h"
#include "reasons.h"
#include "settle.h"

PG_FUNCTION_INFO_V1(queue_ack);
PG_FUNCTION_INFO_V1(queue_ack_batch);
PG_FUNCTION_INFO_V1(queue_nack);
PG_FUNCTION_INFO_V1(queue_nack_batch);
PG_FUNCTION_INFO_V1(queue_release);
PG_FUNCTION_INFO_V1(queue_release_batch);
PG_FUNCTION_INFO_V1(queue_reject);
PG_FUNCTION_INFO_V1(queue_reject_batch);
PG_FUNCTION_INFO_V1(queue_extend);
PG_FUNCTION_INFO_V1(queue_extend_batch);

/* By kind, and for the batch form */
static const char *const function_names[][2] = {
	[SETTLE_ACK] = {"queue.ack()", "queue.ack_batch()"},
	[SETTLE_NACK] = {"queue.nack()", "queue.nack_batch()"},
	[SETTLE_RELEASE] = {"queue.release()", "queue.release_batch()"},
	[SETTLE_REJECT] = {"queue.reject()", "queue.reject_batch()"},
	[SETTLE_EXTEND] = {"queue.extend()", "queue.extend_batch()"}
};

/* The delay or extension, the third argument of those that have one */
static int64
read_delay(FunctionCallInfo fcinfo, SettleKind kind)
{
	const char *name = kind == SETTLE_EXTEND ? "visibility" : "delay";
	int64		delay;

	if (kind == SETTLE_ACK || kind == SETTLE_REJECT)
		return SETTLE_DEFAULT_DELAY;
	if (PG_ARGISNULL(2))
	{
		if (kind == SETTLE_EXTEND)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"%s\" must not be null", name)));
		return SETTLE_DEFAULT_DELAY;
	}
	delay = interval_microseconds(PG_GETARG_INTERVAL_P(2));
	if (delay < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be negative", name)));
	if (delay == 0 && kind == SETTLE_EXTEND)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be greater than zero", name)));
	return delay;
}

/* The reason, the last argument of those that have one; NULL = none */
static char *
read_reason(FunctionCallInfo fcinfo, SettleKind kind)
{
	int			argno = kind == SETTLE_REJECT ? 2 : 3;

	if ((kind != SETTLE_NACK && kind != SETTLE_REJECT) || PG_ARGISNULL(argno))
		return NULL;
	return reasons_cut(text_to_cstring(PG_GETARG_TEXT_PP(argno)));
}

/* Checks what all of them check; returns the queue */
static Queue *
open_queue(FunctionCallInfo fcinfo, SettleKind kind, bool batch)
{
	const char *what = function_names[kind][batch];
	Queue	   *q;

	queue_prevent_readonly(what);
	q = catalog_queue(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0), "queue");
	catalog_check_access(q, ACL_UPDATE, what);
	return q;
}

/* A receipt that is null fits nothing, like a stale one */
static Datum
settle_one(FunctionCallInfo fcinfo, SettleKind kind)
{
	Queue	   *q = open_queue(fcinfo, kind, false);
	int64		delay = read_delay(fcinfo, kind);
	int64		receipt = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);

	PG_RETURN_BOOL(settle_receipts(q, kind, &receipt, 1, delay,
								   read_reason(fcinfo, kind)) == 1);
}

/* Null receipts fit nothing, like stale ones; no array is an empty one */
static Datum
settle_batch(FunctionCallInfo fcinfo, SettleKind kind)
{
	Queue	   *q = open_queue(fcinfo, kind, true);
	int64		delay = read_delay(fcinfo, kind);
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;
	int64	   *receipts;
	int			n;

	if (PG_ARGISNULL(1))
		PG_RETURN_INT32(0);
	array = PG_GETARG_ARRAYTYPE_P(1);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be a one-dimensional array",
						"receipts")));
	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &values, &nulls, &n);
	receipts = palloc(Max(n, 1) * sizeof(int64));
	for (int i = 0; i < n; i++)
		receipts[i] = nulls[i] ? 0 : DatumGetInt64(values[i]);
	PG_RETURN_INT32(settle_receipts(q, kind, receipts, n, delay,
									read_reason(fcinfo, kind)));
}

Datum
queue_ack(PG_FUNCTION_ARGS)
{
	return settle_one(fcinfo, SETTLE_ACK);
}

Datum
queue_ack_batch(PG_FUNCTION_ARGS)
{
	return settle_batch(fcinfo, SETTLE_ACK);
}

Datum
queue_nack(PG_FUNCTION_ARGS)
{
	return settle_one(fcinfo, SETTLE_NACK);
}

Datum
queue_nack_batch(PG_FUNCTION_ARGS)
{
	return settle_batch(fcinfo, SETTLE_NACK);
}

Datum
queue_release(PG_FUNCTION_ARGS)
{
	return settle_one(fcinfo, SETTLE_RELEASE);
}

Datum
queue_release_batch(PG_FUNCTION_ARGS)
{
	return settle_batch(fcinfo, SETTLE_RELEASE);
}

Datum
queue_reject(PG_FUNCTION_ARGS)
{
	return settle_one(fcinfo, SETTLE_REJECT);
}

Datum
queue_reject_batch(PG_FUNCTION_ARGS)
{
	return settle_batch(fcinfo, SETTLE_REJECT);
}

Datum
queue_extend(PG_FUNCTION_ARGS)
{
	return settle_one(fcinfo, SETTLE_EXTEND);
}

Datum
queue_extend_batch(PG_FUNCTION_ARGS)
{
	return settle_batch(fcinfo, SETTLE_EXTEND);
}
