/*
 * fn_archive.c
 *	  SQL functions archived() and replay().
 *
 * Owns the reading of a queue's archive: a query over its segments, which are
 * no children of the queue's table, run as the extension's owner after the
 * caller's privileges on the queue were checked.
 *
 * Locks: AccessShareLock on the archive's segments, to the end of the
 * transaction; those of append.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "admin_spi.h"
#include "catalog.h"
#include "fn_message.h"
#include "fn_send.h"
#include "guc.h"

PG_FUNCTION_INFO_V1(queue_archived);
PG_FUNCTION_INFO_V1(queue_replay);

/* Of archived(): a message and the time of its ack */
#define ARCHIVED_COLS (MESSAGE_COLS + 1)

/* Of replay(): what is sent again, and the headers with a note added */
#define REPLAY_COLS 6

/* What archived() shows when it is not told how many */
#define DEFAULT_MAX 100

/* Rows fetched at once */
#define FETCH_ROWS	SEND_CHUNK

/* From when to when the acks were made */
typedef struct Span
{
	TimestampTz since;
	TimestampTz until;
} Span;

static const char *const archived_columns =
"m.id, NULL::pg_catalog.int8, m.body, m.payload, m.headers, m.key, "
"m.priority::pg_catalog.int4, m.deliveries, m.failures, m.enqueued_at, "
"NULL::pg_catalog.timestamptz, m.expires_at, m.visible_at";

static const char *const replay_columns =
"m.body, m.payload, m.headers, m.key, "
"COALESCE(m.headers, '{}') OPERATOR(pg_catalog.||) "
"pg_catalog.jsonb_build_object('x-replay', pg_catalog.jsonb_build_object("
"'queue', $3, 'id', m.id, 'acked_at', m.visible_at)), "
"m.priority::pg_catalog.int4";

/* The arguments since and until; NULL = no limit */
static Span
read_span(FunctionCallInfo fcinfo)
{
	Span		span;

	span.since = PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
	span.until = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	if (span.since > span.until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"since\" must not be after \"until\"")));
	return span;
}

/* The queue that is the first argument, if it has an archive to read */
static Queue *
open_archive(FunctionCallInfo fcinfo, const char *what)
{
	Queue	   *q = catalog_queue(PG_ARGISNULL(0) ? NULL :
								  PG_GETARG_TEXT_PP(0), "queue");

	catalog_check_access(q, ACL_SELECT, what);
	if (q->archive == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue \"%s\" has no archive", q->name),
				 errhint("Use queue.alter(name, archive => '1 day') to keep "
						 "messages that are acked from now on.")));
	return q;
}

/*
 * The query over all segments of the archive, in the order of acks; NULL when
 * there are none.  Its parameters are since, until and the queue's name.
 */
static char *
archive_query(Queue *q, const char *columns, int max)
{
	StringInfoData sql;
	int			found = 0;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM (", columns);
	for (int i = q->nsegments; i < q->ntables; i++)
	{
		QueueSegment *seg = &q->segments[i];

		if (seg->state == SEGMENT_FREE)
			continue;
		appendStringInfo(&sql, "%sSELECT s.* FROM ONLY %s s "
						 "WHERE s.visible_at OPERATOR(pg_catalog.>=) $1 "
						 "AND s.visible_at OPERATOR(pg_catalog.<) $2 ",
						 found++ > 0 ? "UNION ALL " : "",
						 admin_qualified_name(seg->relid));
	}
	appendStringInfoString(&sql, ") m WHERE $3 IS NOT NULL "
						   "ORDER BY m.visible_at, m.id");
	if (max > 0)
		appendStringInfo(&sql, " LIMIT %d", max);
	return found > 0 ? sql.data : NULL;
}

/* Opens a cursor for the query, under the active snapshot */
static Portal
open_cursor(const char *sql, const Span *span, const char *name)
{
	Oid			types[] = {TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {
		TimestampTzGetDatum(span->since), TimestampTzGetDatum(span->until),
		CStringGetTextDatum(name)
	};

	return SPI_cursor_open_with_args(NULL, sql, lengthof(types), types,
									 values, NULL, true,
									 CURSOR_OPT_NO_SCROLL);
}

/*
 * Fetches the next rows, at most FETCH_ROWS, and returns their number.  The
 * caller frees them.
 */
static int
fetch(Portal portal, SPITupleTable **rows)
{
	CHECK_FOR_INTERRUPTS();
	SPI_cursor_fetch(portal, true, FETCH_ROWS);
	*rows = SPI_tuptable;
	return (int) SPI_processed;
}

/*
 * archived(queue, since, until, max)
 */
Datum
queue_archived(PG_FUNCTION_ARGS)
{
	int			max = PG_ARGISNULL(3) ? DEFAULT_MAX : PG_GETARG_INT32(3);
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	AdminContext ctx;
	SPITupleTable *rows;
	Portal		portal;
	Queue	   *q;
	Span		span;
	char	   *sql;
	int			n;

	queue_require_preload();
	q = open_archive(fcinfo, "queue.archived()");
	span = read_span(fcinfo);
	if (max <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"max\" must be greater than zero")));
	InitMaterializedSRF(fcinfo, 0);
	sql = archive_query(q, archived_columns, max);
	if (sql == NULL)
		PG_RETURN_NULL();

	admin_enter(&ctx, true);
	portal = open_cursor(sql, &span, q->name);
	while ((n = fetch(portal, &rows)) > 0)
	{
		for (int i = 0; i < n; i++)
		{
			Datum		values[ARCHIVED_COLS];
			bool		nulls[ARCHIVED_COLS];

			heap_deform_tuple(rows->vals[i], rows->tupdesc, values, nulls);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values,
								 nulls);
		}
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	admin_leave(&ctx);
	PG_RETURN_NULL();
}

/* Sends the rows that were fetched to the queue */
static void
send_rows(Queue *target, SPITupleTable *rows, int n)
{
	static MessageParts parts[FETCH_ROWS];
	int			priority[FETCH_ROWS];

	for (int i = 0; i < n; i++)
	{
		Datum		values[REPLAY_COLS];
		bool		nulls[REPLAY_COLS];

		heap_deform_tuple(rows->vals[i], rows->tupdesc, values, nulls);
		parts[i].body = (NullableDatum) {values[0], nulls[0]};
		parts[i].payload = (NullableDatum) {values[1], nulls[1]};
		parts[i].headers = (NullableDatum) {values[2], nulls[2]};
		parts[i].key = (NullableDatum) {values[3], nulls[3]};
		/* the note is not counted: what the queue took once, it takes again */
		send_check(target, &parts[i]);
		parts[i].headers = (NullableDatum) {values[4], nulls[4]};
		priority[i] = DatumGetInt32(values[5]);
	}
	send_parts(target, parts, priority, n);
}

/*
 * replay(queue, since, until, target) returns the number of messages.
 */
Datum
queue_replay(PG_FUNCTION_ARGS)
{
	const char *what = "queue.replay()";
	AdminContext ctx;
	SPITupleTable *rows;
	Portal		portal;
	Queue	   *q;
	Queue	   *target;
	Span		span;
	char	   *sql;
	char	   *name;
	int64		sent = 0;
	int			n;

	queue_prevent_readonly(what);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", "since")));
	q = open_archive(fcinfo, what);
	span = read_span(fcinfo);
	sql = archive_query(q, replay_columns, 0);
	name = pstrdup(q->name);

	target = catalog_queue(PG_GETARG_TEXT_PP(PG_ARGISNULL(3) ? 0 : 3),
						   "target");
	catalog_check_access(target, ACL_INSERT, what);
	send_check_paused(target);
	if (sql == NULL)
		PG_RETURN_INT64(0);

	admin_enter(&ctx, true);
	portal = open_cursor(sql, &span, name);
	while ((n = fetch(portal, &rows)) > 0)
	{
		sent += n;
		send_rows(target, rows, n);
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	admin_leave(&ctx);
	PG_RETURN_INT64(sent);
}
