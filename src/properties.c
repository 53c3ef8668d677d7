/*
 * properties.c
 *	  The properties of a queue: their names, types, defaults and limits.
 *
 * Owns the table that describes what create() and alter() accept.  Everything
 * said about a property's value is checked here, first whether it can be
 * right at all (22023), then whether this version can do it (0A000).  Adding
 * a property means one entry in PropertyId, one line in the table, a column
 * in queue_def and a parameter in the two functions, all in the same order.
 *
 * Durations are kept as the interval that was given and judged by the number
 * of microseconds that extract(epoch) makes of it: a day has 24 hours, a
 * month 30 days, twelve months 365.25 days; parts of different sign add up
 * and only the sum must not be negative.  An infinite interval (17 and newer)
 * is out of range like any other that is too long.
 *
 * Takes no locks, reads no tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "duration.h"
#include "properties.h"

/* How far a property goes in this version */
typedef enum PropertySupport
{
	SUPPORT_ALL,				/* every valid value */
	SUPPORT_DEFAULT,			/* checked, then refused unless the default */
	SUPPORT_TWO_WORDS			/* refused unless one of the first two */
} PropertySupport;

typedef struct Property
{
	const char *name;
	Oid			type;
	bool		nullable;		/* without a default: NULL means none */
	PropertySupport support;
	int64		min;			/* of the number, or of microseconds */
	int64		max;
	int64		fallback;		/* default number, boolean, microseconds */
	const char *const *words;	/* of a text: what it may be, default first */
} Property;

static const char *const kind_words[] = {"work", "fifo", "stream", NULL};
static const char *const backoff_words[] = {
	"exponential", "none", "linear", NULL
};
static const char *const overflow_words[] = {
	"reject", "block", "drop_oldest", NULL
};
static const char *const persistence_words[] = {"logged", "unlogged", NULL};

#define MAX_US	QUEUE_MAX_INTERVAL_US
#define SECONDS(n) ((int64) (n) * USECS_PER_SEC)

static const Property properties[QUEUE_PROPERTIES] = {
	[PROP_KIND] = {"kind", TEXTOID, false, SUPPORT_TWO_WORDS,
	0, 0, 0, kind_words},
	[PROP_VISIBILITY_TIMEOUT] = {"visibility_timeout", INTERVALOID, false,
	SUPPORT_ALL, 1, MAX_US, SECONDS(30), NULL},
	[PROP_MAX_ATTEMPTS] = {"max_attempts", INT4OID, true, SUPPORT_ALL,
	1, PG_INT32_MAX, 0, NULL},
	[PROP_DEAD_LETTER] = {"dead_letter", TEXTOID, true, SUPPORT_ALL,
	0, 0, 0, NULL},
	[PROP_RETRY_DELAY] = {"retry_delay", INTERVALOID, false, SUPPORT_ALL,
	0, MAX_US, SECONDS(1), NULL},
	[PROP_RETRY_BACKOFF] = {"retry_backoff", TEXTOID, false, SUPPORT_ALL,
	0, 0, 0, backoff_words},
	[PROP_RETRY_MAX_DELAY] = {"retry_max_delay", INTERVALOID, false,
	SUPPORT_ALL, 0, MAX_US, SECONDS(15 * 60), NULL},
	[PROP_DELAY] = {"delay", INTERVALOID, false, SUPPORT_ALL,
	0, MAX_US, 0, NULL},
	[PROP_TTL] = {"ttl", INTERVALOID, true, SUPPORT_ALL,
	1, MAX_US, 0, NULL},
	[PROP_MAX_MESSAGES] = {"max_messages", INT8OID, true, SUPPORT_ALL,
	1, PG_INT64_MAX, 0, NULL},
	[PROP_MAX_BYTES] = {"max_bytes", INT8OID, true, SUPPORT_ALL,
	1, PG_INT64_MAX, 0, NULL},
	[PROP_OVERFLOW] = {"overflow", TEXTOID, false, SUPPORT_ALL,
	0, 0, 0, overflow_words},
	[PROP_MAX_IN_FLIGHT] = {"max_in_flight", INT4OID, true, SUPPORT_ALL,
	1, PG_INT32_MAX, 0, NULL},
	[PROP_MAX_MESSAGE_BYTES] = {"max_message_bytes", INT4OID, true,
	SUPPORT_ALL, 1, PG_INT32_MAX, 0, NULL},
	[PROP_DEDUP_WINDOW] = {"dedup_window", INTERVALOID, true,
	SUPPORT_ALL, 1, MAX_US, 0, NULL},
	[PROP_PERSISTENCE] = {"persistence", TEXTOID, false, SUPPORT_ALL,
	0, 0, 0, persistence_words},
	[PROP_SINGLE_ACTIVE] = {"single_active", BOOLOID, false, SUPPORT_ALL,
	0, 1, 0, NULL},
	[PROP_FAIR] = {"fair", BOOLOID, false, SUPPORT_ALL,
	0, 1, 0, NULL},
	[PROP_ARCHIVE] = {"archive", INTERVALOID, true, SUPPORT_ALL,
	1, MAX_US, 0, NULL},
	[PROP_PARTITIONS] = {"partitions", INT4OID, false, SUPPORT_DEFAULT,
	1, PG_INT32_MAX, 1, NULL},
	[PROP_RETENTION] = {"retention", INTERVALOID, true, SUPPORT_DEFAULT,
	1, MAX_US, 0, NULL},
	[PROP_RETENTION_BYTES] = {"retention_bytes", INT8OID, true,
	SUPPORT_DEFAULT, 1, PG_INT64_MAX, 0, NULL},
	[PROP_COMPACT] = {"compact", BOOLOID, false, SUPPORT_DEFAULT,
	0, 1, 0, NULL},
};

static Datum default_value(const Property *prop, bool *isnull);
static void check_value(const Property *prop, Datum value);
static void check_word(const Property *prop, const char *word);
static void check_interval(const Property *prop, Interval *span);
static void check_number(const Property *prop, int64 number);
static void check_supported(const Property *prop, Datum value);
static bool is_clearing(const Property *prop, Datum value);
static bool same_value(const Property *prop, Datum a, Datum b);
static char *value_string(const Property *prop, Datum value, bool isnull);
static int64 number_of(const Property *prop, Datum value);

/* A property's name: create()'s parameter and queue_def's column */
const char *
property_name(PropertyId id)
{
	return properties[id].name;
}

/*
 * Reads the properties of a call whose arguments hold them from first_arg on,
 * and checks them.  What was not said becomes the default, or stays NULL
 * without with_defaults, when a duration of zero, the number 0 or an empty
 * text takes an optional one away.
 * The values live in the current memory context.
 */
void
properties_from_call(FunctionCallInfo fcinfo, int first_arg,
					 bool with_defaults, Properties *props)
{
	for (int i = 0; i < QUEUE_PROPERTIES; i++)
	{
		const Property *prop = &properties[i];
		int			arg = first_arg + i;

		props->cleared[i] = !with_defaults && !PG_ARGISNULL(arg) &&
			is_clearing(prop, PG_GETARG_DATUM(arg));
		if (props->cleared[i])
			props->isnull[i] = true;
		else if (!PG_ARGISNULL(arg))
		{
			props->value[i] = PG_GETARG_DATUM(arg);
			props->isnull[i] = false;
			if (prop->type == TEXTOID)
				props->value[i] = PointerGetDatum(PG_GETARG_TEXT_PP(arg));
			check_value(prop, props->value[i]);
			check_supported(prop, props->value[i]);
		}
		else if (with_defaults)
			props->value[i] = default_value(prop, &props->isnull[i]);
		else
		{
			props->value[i] = (Datum) 0;
			props->isnull[i] = true;
		}
	}
}

/* Does alter() with this value mean that the queue is to have none? */
static bool
is_clearing(const Property *prop, Datum value)
{
	if (!prop->nullable)
		return false;
	if (prop->type == INTERVALOID)
		return interval_microseconds(DatumGetIntervalP(value)) == 0;
	if (prop->type == TEXTOID)
		return VARSIZE_ANY_EXHDR(DatumGetTextPP(value)) == 0;
	return number_of(prop, value) == 0;
}

/*
 * Raises 0A000 when a queue of this name would have to change what its tables
 * are made for.
 */
void
properties_check_fixed(const Properties *existing, const Properties *given,
					   const char *name)
{
	static const PropertyId fixed[] = {PROP_KIND, PROP_PERSISTENCE};

	for (int i = 0; i < (int) lengthof(fixed); i++)
	{
		const Property *prop = &properties[fixed[i]];

		if (given->isnull[fixed[i]] ||
			same_value(prop, existing->value[fixed[i]],
					   given->value[fixed[i]]))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change %s of queue \"%s\" from %s to %s",
						prop->name, name,
						value_string(prop, existing->value[fixed[i]], false),
						value_string(prop, given->value[fixed[i]], false)),
				 errhint("Create a new queue and move the messages there with "
						 "queue.move().")));
	}
}

/*
 * Do two queues differ?  Appends a line for each property that does.
 */
bool
properties_differ(const Properties *existing, const Properties *given,
				  StringInfo detail)
{
	bool		differ = false;

	for (int i = 0; i < QUEUE_PROPERTIES; i++)
	{
		const Property *prop = &properties[i];
		bool		same;

		if (existing->isnull[i] || given->isnull[i])
			same = existing->isnull[i] && given->isnull[i];
		else
			same = same_value(prop, existing->value[i], given->value[i]);
		if (same)
			continue;

		differ = true;
		property_add_difference(detail, prop->name,
								value_string(prop, existing->value[i],
											 existing->isnull[i]),
								value_string(prop, given->value[i],
											 given->isnull[i]));
	}
	return differ;
}

/* Adds "name: existing x, given y" as a line of its own */
void
property_add_difference(StringInfo detail, const char *name,
						const char *existing, const char *given)
{
	if (detail->len > 0)
		appendStringInfoChar(detail, '\n');
	appendStringInfo(detail, _("%s: existing %s, given %s."),
					 name, existing ? existing : _("none"),
					 given ? given : _("none"));
}

/*
 * The name of a queue from an argument of type text; checked, in the current
 * memory context.
 */
char *
property_name_arg(FunctionCallInfo fcinfo, int arg, const char *parameter)
{
	char	   *name;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be null", parameter)));
	name = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	property_check_queue_name(name, parameter);
	return name;
}

/* Raises an error unless a queue can have this name */
void
property_check_queue_name(const char *name, const char *parameter)
{
	size_t		len = strlen(name);

	if (len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\"", parameter),
				 errdetail("The name of a queue must not be empty.")));
	if (len > QUEUE_MAX_NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\"", parameter),
				 errdetail("The name of a queue has at most %d bytes, "
						   "this one has %zu.",
						   QUEUE_MAX_NAME_BYTES, len)));
}

/* The value of a property nobody said anything about */
static Datum
default_value(const Property *prop, bool *isnull)
{
	*isnull = prop->nullable;
	if (prop->nullable)
		return (Datum) 0;

	switch (prop->type)
	{
		case TEXTOID:
			return CStringGetTextDatum(prop->words[0]);
		case INTERVALOID:
			{
				Interval   *span = palloc0(sizeof(Interval));

				span->time = prop->fallback;
				return IntervalPGetDatum(span);
			}
		case INT8OID:
			return Int64GetDatum(prop->fallback);
		case BOOLOID:
			return BoolGetDatum(prop->fallback != 0);
		default:
			return Int32GetDatum((int32) prop->fallback);
	}
}

/* Raises 22023 unless the value can be right in some version */
static void
check_value(const Property *prop, Datum value)
{
	if (prop->words != NULL)
		check_word(prop, TextDatumGetCString(value));
	else if (prop->type == TEXTOID)
		property_check_queue_name(TextDatumGetCString(value), prop->name);
	else if (prop->type == INTERVALOID)
		check_interval(prop, DatumGetIntervalP(value));
	else
		check_number(prop, number_of(prop, value));
}

/* The word must be one of those listed */
static void
check_word(const Property *prop, const char *word)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; prop->words[i] != NULL; i++)
	{
		if (strcmp(word, prop->words[i]) == 0)
			return;
		appendStringInfo(&valid, "%s%s", i > 0 ? ", " : "", prop->words[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"%s\": \"%s\"",
					prop->name, word),
			 errhint("Valid values are: %s.", valid.data)));
}

/* The duration must be within its limits */
static void
check_interval(const Property *prop, Interval *span)
{
	int64		us = interval_microseconds(span);
	char	   *given;

	if (us >= prop->min && us <= prop->max)
		return;

	given = value_string(prop, IntervalPGetDatum(span), false);
	if (us > prop->max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\": \"%s\"",
						prop->name, given),
				 errdetail("The longest duration is 100 years.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"%s\": \"%s\"",
					prop->name, given),
			 prop->min > 0 ?
			 errdetail("The duration must be greater than zero.") :
			 errdetail("The duration must not be negative.")));
}

/* The number must be within its limits */
static void
check_number(const Property *prop, int64 number)
{
	if (number >= prop->min && number <= prop->max)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"%s\": %lld",
					prop->name, (long long) number),
			 errdetail("The value must be from %lld to %lld.",
					   (long long) prop->min, (long long) prop->max)));
}

/* Raises 0A000 when this version cannot do what the value asks for */
static void
check_supported(const Property *prop, Datum value)
{
	Datum		standard;
	bool		isnull;

	if (prop->support == SUPPORT_ALL)
		return;
	if (prop->support == SUPPORT_TWO_WORDS &&
		strcmp(TextDatumGetCString(value), prop->words[1]) == 0)
		return;
	standard = default_value(prop, &isnull);
	if (!isnull && same_value(prop, value, standard))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s => %s is not supported yet", prop->name,
					value_string(prop, value, false)),
			 errdetail("This version of the extension knows only the "
					   "default, %s => %s.", prop->name,
					   isnull ? "NULL" :
					   value_string(prop, standard, false))));
}

/* Do two values mean the same? */
static bool
same_value(const Property *prop, Datum a, Datum b)
{
	switch (prop->type)
	{
		case TEXTOID:
			return strcmp(TextDatumGetCString(a),
						  TextDatumGetCString(b)) == 0;
		case INTERVALOID:
			return interval_microseconds(DatumGetIntervalP(a)) ==
				interval_microseconds(DatumGetIntervalP(b));
		default:
			return number_of(prop, a) == number_of(prop, b);
	}
}

/* The value as SQL prints it, NULL for none */
static char *
value_string(const Property *prop, Datum value, bool isnull)
{
	Oid			function;
	bool		varlena;

	if (isnull)
		return NULL;
	if (prop->type == BOOLOID)
		return pstrdup(DatumGetBool(value) ? "true" : "false");
	getTypeOutputInfo(prop->type, &function, &varlena);
	return OidOutputFunctionCall(function, value);
}

/* The value of a property that is a number or a boolean */
static int64
number_of(const Property *prop, Datum value)
{
	switch (prop->type)
	{
		case INT8OID:
			return DatumGetInt64(value);
		case BOOLOID:
			return DatumGetBool(value) ? 1 : 0;
		default:
			return DatumGetInt32(value);
	}
}
