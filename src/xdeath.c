/*
 * xdeath.c
 *	  The history of a message's deaths, in its header x-death.
 *
 * Owns the form of that header: an array, newest first, with one object for
 * each queue and reason:
 *
 *	{"queue": "orders", "reason": "rejected", "count": 2, "id": 17,
 *	 "first": "2026-01-01T00:00:00+00:00", "last": …, "detail": "no stock"}
 *
 * id is the message's in the queue where it died, the last time.  Producers
 * may send any x-death they like: what has another form is kept or ignored,
 * and never an error.
 *
 * Takes no locks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "xdeath.h"

#define XDEATH_KEY "x-death"

static const char *const reason_names[] = {
	[DEATH_UNKNOWN] = "max_attempts",
	[DEATH_REJECTED] = "rejected",
	[DEATH_MAX_ATTEMPTS] = "max_attempts",
	[DEATH_EXPIRED] = "expired",
	[DEATH_OVERFLOW] = "overflow"
};

/* The history, NULL when there is none */
static JsonbContainer *
history(Jsonb *headers)
{
	JsonbValue *v;

	if (headers == NULL || !JB_ROOT_IS_OBJECT(headers))
		return NULL;
	v = getKeyJsonValueFromContainer(&headers->root, XDEATH_KEY,
									 strlen(XDEATH_KEY), NULL);
	if (v == NULL || v->type != jbvBinary ||
		!JsonContainerIsArray(v->val.binary.data))
		return NULL;
	return v->val.binary.data;
}

/* A field of one entry, NULL unless it is of that type */
static JsonbValue *
field(JsonbValue *entry, const char *key, enum jbvType type)
{
	JsonbValue *v;

	if (entry->type != jbvBinary ||
		!JsonContainerIsObject(entry->val.binary.data))
		return NULL;
	v = getKeyJsonValueFromContainer(entry->val.binary.data, key, strlen(key),
									 NULL);
	return v != NULL && v->type == type ? v : NULL;
}

/* Is a field of the entry this text? */
static bool
field_is(JsonbValue *entry, const char *key, const char *text)
{
	JsonbValue *v = field(entry, key, jbvString);

	return v != NULL && v->val.string.len == (int) strlen(text) &&
		memcmp(v->val.string.val, text, v->val.string.len) == 0;
}

/* Adds an instant, in UTC */
static void
add_time(StringInfo json, TimestampTz at)
{
	char		buffer[MAXDATELEN + 1];
	int			utc = 0;

	JsonEncodeDateTime(buffer, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
	escape_json(json, buffer);
}

/* Adds the text of an entry's field, or the present instant */
static void
add_first(StringInfo json, JsonbValue *before, TimestampTz at)
{
	JsonbValue *first = before == NULL ? NULL :
		field(before, "first", jbvString);

	if (first == NULL)
		add_time(json, at);
	else
		escape_json(json, pnstrdup(first->val.string.val,
								   first->val.string.len));
}

/* Adds how often it has died this way, this time included */
static void
add_count(StringInfo json, JsonbValue *before)
{
	Numeric		one = int64_to_numeric(1);
	JsonbValue *count = before == NULL ? NULL :
		field(before, "count", jbvNumeric);
	Datum		sum = NumericGetDatum(one);

	/* whoever forged a history may have put any number there */
	if (count != NULL)
		sum = DirectFunctionCall2(numeric_add, sum,
								  NumericGetDatum(count->val.numeric));
	appendStringInfoString(json,
						   DatumGetCString(DirectFunctionCall1(numeric_out,
															   sum)));
}

/* Adds an entry of before as it was */
static void
add_entry(StringInfo json, JsonbValue *entry)
{
	Jsonb	   *value = JsonbValueToJsonb(entry);

	appendStringInfoString(json, ", ");
	/* a scalar is printed without the array around it */
	JsonbToCString(json, &value->root, VARSIZE(value));
}

/*
 * The headers, NULL for none, of a message that died in a queue: with one
 * entry more in its history, or one that counts more, in front.
 */
Jsonb *
xdeath_add(Jsonb *headers, const char *queue, DeathReason reason, int64 id,
		   TimestampTz at, const char *detail)
{
	const char *name = reason_names[reason];
	JsonbContainer *entries = history(headers);
	int			n = entries == NULL ? 0 : JsonContainerSize(entries);
	JsonbValue *before = NULL;
	StringInfoData json;
	Datum		added;

	for (int i = 0; i < n && before == NULL; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);

		if (field_is(entry, "queue", queue) && field_is(entry, "reason", name))
			before = entry;
	}

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"" XDEATH_KEY "\": [{\"queue\": ");
	escape_json(&json, queue);
	appendStringInfo(&json, ", \"reason\": \"%s\", \"count\": ", name);
	add_count(&json, before);
	appendStringInfoString(&json, ", \"first\": ");
	add_first(&json, before, at);
	appendStringInfoString(&json, ", \"last\": ");
	add_time(&json, at);
	appendStringInfo(&json, ", \"id\": %lld", (long long) id);
	if (detail != NULL)
	{
		appendStringInfoString(&json, ", \"detail\": ");
		escape_json(&json, detail);
	}
	appendStringInfoChar(&json, '}');
	for (int i = 0; i < n; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);

		if (!field_is(entry, "queue", queue) ||
			!field_is(entry, "reason", name))
			add_entry(&json, entry);
	}
	appendStringInfoString(&json, "]}");

	added = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	if (headers != NULL && JB_ROOT_IS_OBJECT(headers))
		added = DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(headers),
									added);
	return DatumGetJsonbP(added);
}

/*
 * So many bytes xdeath_add() adds to headers at most, for a detail of
 * REASON_MAX_BYTES.
 */
int64
xdeath_max_growth(const char *queue)
{
	return strlen(queue) + 512;
}

/*
 * Has the message been in the target before, and has no consumer given it up
 * since?  Then it would go round for ever.  The newest entry is of its present
 * death.
 */
bool
xdeath_is_cycle(Jsonb *headers, const char *target)
{
	JsonbContainer *entries = history(headers);
	int			n = entries == NULL ? 0 : JsonContainerSize(entries);

	for (int i = 0; i < n; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);

		if (field_is(entry, "reason", reason_names[DEATH_REJECTED]) ||
			field_is(entry, "reason", reason_names[DEATH_MAX_ATTEMPTS]))
			return false;
		if (field_is(entry, "queue", target))
			return true;
	}
	return false;
}

/*
 * The queue where the message died last; NULL when there is no history.
 */
char *
xdeath_origin(Jsonb *headers)
{
	JsonbContainer *entries = history(headers);
	JsonbValue *v;

	if (entries == NULL || JsonContainerSize(entries) == 0)
		return NULL;
	v = field(getIthJsonbValueFromContainer(entries, 0), "queue", jbvString);
	return v == NULL ? NULL : pnstrdup(v->val.string.val, v->val.string.len);
}
