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
#include "utils/array.h"
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

/* An instant as text, in UTC; that of the last call is kept */
static char *
time_text(TimestampTz at)
{
	static TimestampTz last = DT_NOBEGIN;
	static char buffer[MAXDATELEN + 1];
	int			utc = 0;

	if (at != last)
		JsonEncodeDateTime(buffer, TimestampTzGetDatum(at), TIMESTAMPTZOID,
						   &utc);
	last = at;
	return buffer;
}

/* How often it has died this way, this time included */
static Numeric
next_count(JsonbValue *before)
{
	Numeric		one = int64_to_numeric(1);
	JsonbValue *count = before == NULL ? NULL :
		field(before, "count", jbvNumeric);
	Datum		sum;

	/* whoever forged a history may have put any number there */
	if (count == NULL)
		return one;
	sum = DirectFunctionCall2(numeric_add, NumericGetDatum(one),
							  NumericGetDatum(count->val.numeric));
	return DatumGetNumeric(sum);
}

static void
set_text(JsonbValue *value, char *text, int length)
{
	value->type = jbvString;
	value->val.string.val = text;
	value->val.string.len = length;
}

/* Starts a pair; returns its value */
static JsonbValue *
add_pair(JsonbValue *object, char *key)
{
	JsonbPair  *pair = &object->val.object.pairs[object->val.object.nPairs++];

	set_text(&pair->key, key, strlen(key));
	return &pair->value;
}

/* Adds a pair of a key and a text */
static void
add_text(JsonbValue *object, char *key, const char *text)
{
	set_text(add_pair(object, key), unconstify(char *, text), strlen(text));
}

/* The same with a number */
static void
add_number(JsonbValue *object, char *key, Numeric number)
{
	JsonbValue *value = add_pair(object, key);

	value->type = jbvNumeric;
	value->val.numeric = number;
}

/* Makes an object, in memory, that is about to get pairs */
static void
make_object(JsonbValue *object, JsonbPair *pairs)
{
	object->type = jbvObject;
	object->val.object.nPairs = 0;
	object->val.object.pairs = pairs;
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

/* The entries of a history that are of other deaths, 0 = none */
static Datum
other_entries(JsonbContainer *entries, const Death *death)
{
	int			n = entries == NULL ? 0 : JsonContainerSize(entries);
	StringInfoData json;

	if (n == 0)
		return (Datum) 0;
	initStringInfo(&json);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *entry = getIthJsonbValueFromContainer(entries, i);
		Jsonb	   *value;

		if (is_of(entry, death))
			continue;
		value = JsonbValueToJsonb(entry);
		appendStringInfoString(&json, json.len == 0 ? "[" : ", ");
		/* a scalar is printed without the array around it */
		JsonbToCString(&json, &value->root, VARSIZE(value));
	}
	if (json.len == 0)
		return (Datum) 0;
	appendStringInfoChar(&json, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
}

/* The entry behind all others of the header added */
static Datum
append_entries(Datum added, Datum array, Datum others)
{
	Datum		key = CStringGetTextDatum(XDEATH_KEY);
	ArrayType  *path = construct_array(&key, 1, TEXTOID, -1, false,
									   TYPALIGN_INT);

	array = DirectFunctionCall2(jsonb_concat, array, others);
	return DirectFunctionCall4(jsonb_set, added, PointerGetDatum(path), array,
							   BoolGetDatum(true));
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
	JsonbValue *first;
	JsonbValue	entry;
	JsonbValue	array = {.type = jbvArray};
	JsonbValue	header;
	JsonbPair	pairs[7];
	JsonbPair	header_pair;
	Datum		others = other_entries(entries, &death);
	Datum		added;

	for (int i = 0; i < n && before == NULL; i++)
	{
		JsonbValue *old = getIthJsonbValueFromContainer(entries, i);

		if (is_of(old, &death))
			before = old;
	}
	first = before == NULL ? NULL : field(before, "first", jbvString);

	/* in jsonb's order of keys: shorter ones first, then by their bytes */
	make_object(&entry, pairs);
	add_number(&entry, "id", int64_to_numeric(id));
	add_text(&entry, "last", time_text(at));
	add_number(&entry, "count", next_count(before));
	if (first != NULL)
		*add_pair(&entry, "first") = *first;
	else
		add_text(&entry, "first", time_text(at));
	add_text(&entry, "queue", death.queue);
	if (detail != NULL)
		add_text(&entry, "detail", detail);
	add_text(&entry, "reason", death.reason);

	array.val.array.nElems = 1;
	array.val.array.elems = &entry;
	make_object(&header, &header_pair);
	*add_pair(&header, XDEATH_KEY) = array;
	added = JsonbPGetDatum(JsonbValueToJsonb(&header));
	if (others != (Datum) 0)
		added = append_entries(added,
							   JsonbPGetDatum(JsonbValueToJsonb(&array)),
							   others);
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
