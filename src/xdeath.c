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
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "compat.h"
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

/* A number of times that can go up by one; any other is taken for none */
static int64
count_of(Numeric number)
{
	Datum		given = NumericGetDatum(number);
	Datum		zero = NumericGetDatum(int64_to_numeric(0));
	Datum		max = NumericGetDatum(int64_to_numeric(PG_INT64_MAX));
	Datum		whole;

	/* comparisons do not fail, however long the number is */
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, given, zero)) ||
		DatumGetBool(DirectFunctionCall2(numeric_ge, given, max)))
		return 0;
	whole = DirectFunctionCall1(numeric_floor, given);
	if (DatumGetBool(DirectFunctionCall2(numeric_ne, given, whole)))
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, whole));
}

/* How often it has died this way, this time included */
static Numeric
next_count(JsonbValue *before)
{
	JsonbValue *count = before == NULL ? NULL :
		field(before, "count", jbvNumeric);

	/* whoever forged a history may have put any number there */
	return int64_to_numeric(count == NULL ? 1 :
							count_of(count->val.numeric) + 1);
}

/* Adds a key, or a text that is the value of one */
static void
add_text(JsonbInState *to, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	compat_push_jsonb(to, token, &value);
}

static void
add_pair(JsonbInState *to, const char *key, const char *text)
{
	add_text(to, WJB_KEY, key);
	add_text(to, WJB_VALUE, text);
}

/* The same with a number */
static void
add_number(JsonbInState *to, const char *key, Numeric number)
{
	JsonbValue	value = {.type = jbvNumeric};

	value.val.numeric = number;
	add_text(to, WJB_KEY, key);
	compat_push_jsonb(to, WJB_VALUE, &value);
}

/* A death of this queue and reason, and whether the entry is of one */
typedef struct Death
{
	const char *queue;
	const char *reason;
} Death;

static bool
is_of(JsonbValue *entry, const Death *death)
{
	return field_is(entry, "queue", death->queue) &&
		field_is(entry, "reason", death->reason);
}

/* Adds the entry of a death; before is the one that it takes the place of */
static void
add_entry(JsonbInState *to, const Death *death, JsonbValue *before, int64 id,
		  TimestampTz at, const char *detail)
{
	JsonbValue *first = before == NULL ? NULL :
		field(before, "first", jbvString);
	char		now[MAXDATELEN + 1];
	int			utc = 0;

	JsonEncodeDateTime(now, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
	compat_push_jsonb(to, WJB_BEGIN_OBJECT, NULL);
	add_pair(to, "queue", death->queue);
	add_pair(to, "reason", death->reason);
	add_number(to, "count", next_count(before));
	add_text(to, WJB_KEY, "first");
	if (first != NULL)
		compat_push_jsonb(to, WJB_VALUE, first);
	else
		add_text(to, WJB_VALUE, now);
	add_pair(to, "last", now);
	add_number(to, "id", int64_to_numeric(id));
	if (detail != NULL)
		add_pair(to, "detail", detail);
	compat_push_jsonb(to, WJB_END_OBJECT, NULL);
}

/*
 * The headers, NULL for none, of a message that died in a queue: with one
 * entry more in its history, or one that counts more, in front.
 */
Jsonb *
xdeath_add(Jsonb *headers, const char *queue, DeathReason reason, int64 id,
		   TimestampTz at, const char *detail)
{
	Death		death = {queue, reason_names[reason]};
	JsonbContainer *entries = history(headers);
	int			n = entries == NULL ? 0 : JsonContainerSize(entries);
	JsonbValue *before = NULL;
	JsonbInState header = {0};
	Datum		added;

	for (int i = 0; i < n && before == NULL; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);

		if (is_of(entry, &death))
			before = entry;
	}

	compat_push_jsonb(&header, WJB_BEGIN_OBJECT, NULL);
	add_text(&header, WJB_KEY, XDEATH_KEY);
	compat_push_jsonb(&header, WJB_BEGIN_ARRAY, NULL);
	add_entry(&header, &death, before, id, at, detail);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);

		if (!is_of(entry, &death))
			compat_push_jsonb(&header, WJB_ELEM, entry);
	}
	compat_push_jsonb(&header, WJB_END_ARRAY, NULL);
	compat_push_jsonb(&header, WJB_END_OBJECT, NULL);

	added = JsonbPGetDatum(JsonbValueToJsonb(header.result));
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
 * So many bytes of the headers, as message_size() counts them, are the
 * history's.
 */
int64
xdeath_size(Jsonb *headers)
{
	Datum		key = CStringGetTextDatum(XDEATH_KEY);
	Jsonb	   *rest;

	if (!JB_ROOT_IS_OBJECT(headers))
		return 0;
	rest = DatumGetJsonbP(DirectFunctionCall2(jsonb_delete,
											  JsonbPGetDatum(headers), key));
	if (JB_ROOT_COUNT(rest) == JB_ROOT_COUNT(headers))
		return 0;
	/* there may have been no headers before */
	if (JB_ROOT_COUNT(rest) == 0)
		return VARSIZE(headers) - VARHDRSZ;
	return VARSIZE(headers) - VARSIZE(rest);
}

/*
 * Has the message been in the target before, and has no consumer rejected it
 * since?  Then it would go round for ever.  Whether its present death, if that
 * is no rejection, has its entry yet makes no difference.
 */
bool
xdeath_is_cycle(Jsonb *headers, const char *target)
{
	JsonbContainer *entries = history(headers);
	int			n = entries == NULL ? 0 : JsonContainerSize(entries);

	for (int i = 0; i < n; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);

		if (field_is(entry, "reason", reason_names[DEATH_REJECTED]))
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
