/*
 * fn_browse.c
 *	  SQL functions peek(), get(), cancel() and purge().
 *
 * Owns the checks of their arguments and the making of result rows.
 * Locks: those of browse.c and remove.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "admin.h"
#include "browse.h"
#include "catalog.h"
#include "dedup.h"
#include "filter.h"
#include "fn_message.h"
#include "guc.h"
#include "remove.h"

PG_FUNCTION_INFO_V1(queue_peek);
PG_FUNCTION_INFO_V1(queue_get);
PG_FUNCTION_INFO_V1(queue_cancel);
PG_FUNCTION_INFO_V1(queue_purge);

/* Of peek() and get(): a message and its state */
#define BROWSE_COLS (MESSAGE_COLS + 1)

/* What peek() shows when it is not told how many */
#define DEFAULT_PEEK 10

static const char *const state_names[] = {
	[BROWSE_ANY] = "",
	[BROWSE_READY] = "ready",
	[BROWSE_DELAYED] = "delayed",
	[BROWSE_LEASED] = "leased",
	[BROWSE_DEAD] = "dead"
};

/* The queue's name, the first argument */
static text *
name_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
}

/* The second argument of get() and cancel() */
static int64
read_id(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", "id")));
	return PG_GETARG_INT64(1);
}

/* How many messages to show; an explicit NULL means the default */
static int
read_max(FunctionCallInfo fcinfo, int argno)
{
	int			max = PG_ARGISNULL(argno) ? DEFAULT_PEEK :
		PG_GETARG_INT32(argno);

	if (max <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max\" must be greater than zero")));
	return max;
}

/* The state that peek() is asked for, by its name */
static BrowseState
read_state(FunctionCallInfo fcinfo, int argno)
{
	char	   *name;

	if (PG_ARGISNULL(argno))
		return BROWSE_ANY;
	name = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	for (int i = BROWSE_READY; i < (int) lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (BrowseState) i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a state of a message", name),
			 errhint("The states are ready, delayed, leased and dead.")));
}

/* Do the message's headers contain the filter?  Garbage goes to the page. */
static bool
matches(Browse *browse, HeapTuple tuple, Jsonb *filter)
{
	MemoryContext old;
	Datum		headers;
	bool		isnull;
	bool		result;

	headers = heap_getattr(tuple, Anum_msg_headers,
						   RelationGetDescr(browse->rel), &isnull);
	if (isnull)
		return false;
	old = MemoryContextSwitchTo(browse->context);
	result = DatumGetBool(DirectFunctionCall2(jsonb_contains, headers,
											  JsonbPGetDatum(filter)));
	MemoryContextSwitchTo(old);
	return result;
}

/* Adds a message to the result */
static void
put_row(ReturnSetInfo *rsinfo, Browse *browse, HeapTuple tuple)
{
	MemoryContext old = MemoryContextSwitchTo(browse->context);
	BrowseState state = browse_state(tuple->t_data, browse->now);
	Datum		values[BROWSE_COLS];
	bool		nulls[BROWSE_COLS];

	/* what is out of line is read when the row is */
	browse->keep_lock = true;
	message_values(RelationGetDescr(browse->rel), tuple, 0, values, nulls);
	values[MESSAGE_COLS] = CStringGetTextDatum(state_names[state]);
	nulls[MESSAGE_COLS] = false;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
}

/* Returns up to max of the messages that the walk finds */
static void
put_rows(FunctionCallInfo fcinfo, Queue *q, Browse *browse, int max,
		 Jsonb *filter)
{
	HeapTuple	tuple;

	InitMaterializedSRF(fcinfo, 0);
	browse_begin(browse, q, GetActiveSnapshot());
	while (max > 0 && (tuple = browse_next(browse)) != NULL)
	{
		if (filter != NULL && !matches(browse, tuple, filter))
			continue;
		put_row((ReturnSetInfo *) fcinfo->resultinfo, browse, tuple);
		max--;
	}
	browse_end(browse);
}

/*
 * peek(queue, max, state, filter)
 */
Datum
queue_peek(PG_FUNCTION_ARGS)
{
	Browse		browse = {0};
	Queue	   *q;
	int			max;

	queue_require_preload();
	q = catalog_queue(name_argument(fcinfo), "queue");
	catalog_check_access(q, ACL_SELECT, "queue.peek()");
	max = read_max(fcinfo, 1);
	browse.state = read_state(fcinfo, 2);
	put_rows(fcinfo, q, &browse, max, filter_from_call(fcinfo, 3));
	PG_RETURN_NULL();
}

/*
 * get(queue, id)
 */
Datum
queue_get(PG_FUNCTION_ARGS)
{
	Browse		browse = {.by_id = true};
	Queue	   *q;

	queue_require_preload();
	q = catalog_queue(name_argument(fcinfo), "queue");
	catalog_check_access(q, ACL_SELECT, "queue.get()");
	browse.id = read_id(fcinfo);
	put_rows(fcinfo, q, &browse, 1, NULL);
	PG_RETURN_NULL();
}

/*
 * cancel(queue, id)
 */
Datum
queue_cancel(PG_FUNCTION_ARGS)
{
	const char *what = "queue.cancel()";
	Queue	   *q;

	queue_prevent_readonly(what);
	q = catalog_queue(name_argument(fcinfo), "queue");
	catalog_check_access(q, ACL_DELETE, what);
	PG_RETURN_BOOL(remove_message(q, read_id(fcinfo)));
}

/*
 * purge(name)
 */
Datum
queue_purge(PG_FUNCTION_ARGS)
{
	Queue	   *q;

	queue_prevent_readonly("queue.purge()");
	q = catalog_queue(name_argument(fcinfo), "name");
	admin_check_manage(q->relid, q->name, "purge");
	dedup_forget(q->id);
	PG_RETURN_INT64(remove_all(q));
}
