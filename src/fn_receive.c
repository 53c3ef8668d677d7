/*
 * fn_receive.c
 *	  SQL functions dequeue(), dequeue_any(), pop() and procedure receive().
 *
 * Owns the checks of their arguments and the making of result rows.
 * Locks: those of claim.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"

#include "active.h"
#include "catalog.h"
#include "duration.h"
#include "filter.h"
#include "fn_message.h"
#include "guc.h"
#include "wait.h"

PG_FUNCTION_INFO_V1(queue_dequeue);
PG_FUNCTION_INFO_V1(queue_dequeue_any);
PG_FUNCTION_INFO_V1(queue_pop);
PG_FUNCTION_INFO_V1(queue_receive);
PG_FUNCTION_INFO_V1(queue_step_down);

/* Sink of dequeue() and pop() */
static void
put_message(void *arg, Queue *q, TupleDesc desc, HeapTuple tuple,
			int64 receipt)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		values[MESSAGE_COLS];
	bool		nulls[MESSAGE_COLS];

	message_values(desc, tuple, receipt, values, nulls);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* Sink of dequeue_any(): the same behind the queue's name */
static void
put_named_message(void *arg, Queue *q, TupleDesc desc, HeapTuple tuple,
				  int64 receipt)
{
	ReturnSetInfo *rsinfo = arg;
	Datum		values[MESSAGE_COLS + 1];
	bool		nulls[MESSAGE_COLS + 1];

	values[0] = CStringGetTextDatum(q->name);
	nulls[0] = false;
	message_values(desc, tuple, receipt, values + 1, nulls + 1);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[0]));
}

/* The argument max: 1 unless given */
static int
read_max(FunctionCallInfo fcinfo, int argno)
{
	int			max = PG_ARGISNULL(argno) ? 1 : PG_GETARG_INT32(argno);

	if (max <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max\" must be greater than zero")));
	return max;
}

/* An interval argument in microseconds, 0 for null */
static int64
read_duration(FunctionCallInfo fcinfo, int argno, const char *name)
{
	int64		duration;

	if (PG_ARGISNULL(argno))
		return 0;
	duration = interval_microseconds(PG_GETARG_INTERVAL_P(argno));
	if (duration < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be negative", name)));
	return duration;
}

/* The length of the leases; 0 where the argument is null */
static int64
read_visibility(FunctionCallInfo fcinfo, int argno)
{
	int64		visibility = read_duration(fcinfo, argno, "visibility");

	if (visibility == 0 && !PG_ARGISNULL(argno))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be greater than zero", "visibility")));
	return visibility;
}

/* The queue of this name, if the user may do this with it */
static Queue *
open_queue(text *name, const char *argument, AclMode mode, const char *what)
{
	Queue	   *q = catalog_queue(name, argument);

	catalog_check_access(q, mode, what);
	return q;
}

static text *
queue_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
}

/*
 * dequeue(queue, max, visibility, wait, filter)
 */
Datum
queue_dequeue(PG_FUNCTION_ARGS)
{
	const char *what = "queue.dequeue()";
	Receive		receive = {.nqueues = 1};
	Queue	   *q;

	queue_prevent_readonly(what);
	q = open_queue(queue_argument(fcinfo), "queue", ACL_UPDATE, what);
	receive.queues = &q;
	receive.max = read_max(fcinfo, 1);
	receive.default_visibility = PG_ARGISNULL(2);
	receive.visibility = read_visibility(fcinfo, 2);
	receive.wait = read_duration(fcinfo, 3, "wait");
	receive.filter = filter_from_call(fcinfo, 4);
	receive.sink = put_message;
	receive.arg = fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	receive_messages(&receive);
	PG_RETURN_NULL();
}

/*
 * pop(queue, max, wait, filter)
 */
Datum
queue_pop(PG_FUNCTION_ARGS)
{
	const char *what = "queue.pop()";
	Receive		receive = {.nqueues = 1, .pop = true};
	Queue	   *q;

	queue_prevent_readonly(what);
	q = open_queue(queue_argument(fcinfo), "queue", ACL_DELETE, what);
	receive.queues = &q;
	receive.max = read_max(fcinfo, 1);
	receive.wait = read_duration(fcinfo, 2, "wait");
	receive.filter = filter_from_call(fcinfo, 3);
	receive.sink = put_message;
	receive.arg = fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	receive_messages(&receive);
	PG_RETURN_NULL();
}

/*
 * step_down(queue)
 */
Datum
queue_step_down(PG_FUNCTION_ARGS)
{
	const char *what = "queue.step_down()";
	Queue	   *q;

	queue_prevent_readonly(what);
	q = open_queue(queue_argument(fcinfo), "queue", ACL_UPDATE, what);
	PG_RETURN_BOOL(active_step_down(q->shared));
}

/* Opens the queues of dequeue_any() */
static int
open_queues(ArrayType *array, Queue ***queues, const char *what)
{
	Datum	   *names;
	bool	   *nulls;
	int			n;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be a one-dimensional array",
						"queues")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &names, &nulls, &n);
	*queues = palloc(Max(n, 1) * sizeof(Queue *));
	for (int i = 0; i < n; i++)
		(*queues)[i] = open_queue(nulls[i] ? NULL : DatumGetTextPP(names[i]),
								  "queues", ACL_UPDATE, what);
	return n;
}

/*
 * dequeue_any(queues, max, visibility, wait)
 */
Datum
queue_dequeue_any(PG_FUNCTION_ARGS)
{
	const char *what = "queue.dequeue_any()";
	Receive		receive = {0};

	queue_prevent_readonly(what);
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"queues\" must not be null")));
	receive.nqueues = open_queues(PG_GETARG_ARRAYTYPE_P(0), &receive.queues,
								  what);
	receive.max = read_max(fcinfo, 1);
	receive.default_visibility = PG_ARGISNULL(2);
	receive.visibility = read_visibility(fcinfo, 2);
	receive.wait = read_duration(fcinfo, 3, "wait");
	if (receive.wait > 0 && receive.nqueues > QUEUE_MAX_WAIT_QUEUES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot wait for more than %d queues",
						QUEUE_MAX_WAIT_QUEUES)));
	receive.sink = put_named_message;
	receive.arg = fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	receive_messages(&receive);
	PG_RETURN_NULL();
}

/* Collects the messages of receive() */
typedef struct MessageArray
{
	TupleDesc	desc;			/* of queue.message */
	ArrayBuildState *state;
	Oid			type;
	MemoryContext context;
} MessageArray;

/* Sink of receive() */
static void
append_message(void *arg, Queue *q, TupleDesc desc, HeapTuple tuple,
			   int64 receipt)
{
	MessageArray *array = arg;
	MemoryContext old = MemoryContextSwitchTo(array->context);
	Datum		values[MESSAGE_COLS];
	bool		nulls[MESSAGE_COLS];
	HeapTuple	row;

	message_values(desc, tuple, receipt, values, nulls);
	row = heap_form_tuple(array->desc, values, nulls);
	array->state = accumArrayResult(array->state,
									HeapTupleGetDatum(row), false,
									array->type, array->context);
	MemoryContextSwitchTo(old);
}

/*
 * receive(queue, max, visibility, wait, INOUT messages)
 */
Datum
queue_receive(PG_FUNCTION_ARGS)
{
	const char *what = "queue.receive()";
	Receive		receive = {.nqueues = 1, .drop_snapshot = true};
	MessageArray array = {0};
	TupleDesc	result;
	Datum		value;
	bool		isnull = false;
	Queue	   *q;

	queue_prevent_readonly(what);
	if (get_call_result_type(fcinfo, NULL, &result) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	array.type = get_element_type(TupleDescAttr(result, 0)->atttypid);
	array.desc = lookup_rowtype_tupdesc_copy(array.type, -1);
	array.context = CurrentMemoryContext;
	array.state = initArrayResult(array.type, array.context, false);

	q = open_queue(queue_argument(fcinfo), "queue", ACL_UPDATE, what);
	receive.queues = &q;
	receive.max = read_max(fcinfo, 1);
	receive.default_visibility = PG_ARGISNULL(2);
	receive.visibility = read_visibility(fcinfo, 2);
	receive.wait = read_duration(fcinfo, 3, "wait");
	receive.sink = append_message;
	receive.arg = &array;
	receive_messages(&receive);

	value = makeArrayResult(array.state, array.context);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(result),
													  &value, &isnull)));
}
