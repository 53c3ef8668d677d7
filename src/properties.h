/*
 * properties.h
 *	  What create() and alter() can set about a queue.
 */
#ifndef QUEUE_PROPERTIES_H
#define QUEUE_PROPERTIES_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#define QUEUE_MAX_NAME_BYTES 255

/* No duration is longer: 100 years of 365.25 days, in microseconds */
#define QUEUE_MAX_INTERVAL_US (INT64CONST(36525) * USECS_PER_DAY)

/*
 * The properties, in the order of create()'s parameters and of queue_def's
 * columns.  "comment" is not among them: it is the parent table's comment.
 */
typedef enum PropertyId
{
	PROP_KIND,
	PROP_VISIBILITY_TIMEOUT,
	PROP_MAX_ATTEMPTS,
	PROP_DEAD_LETTER,
	PROP_RETRY_DELAY,
	PROP_RETRY_BACKOFF,
	PROP_RETRY_MAX_DELAY,
	PROP_DELAY,
	PROP_TTL,
	PROP_MAX_MESSAGES,
	PROP_MAX_BYTES,
	PROP_OVERFLOW,
	PROP_MAX_IN_FLIGHT,
	PROP_MAX_MESSAGE_BYTES,
	PROP_DEDUP_WINDOW,
	PROP_PERSISTENCE,
	PROP_SINGLE_ACTIVE,
	PROP_FAIR,
	PROP_ARCHIVE,
	PROP_PARTITIONS,
	PROP_RETENTION,
	PROP_RETENTION_BYTES,
	PROP_COMPACT,
	QUEUE_PROPERTIES
} PropertyId;

/* A queue's properties, or what a call says about them */
typedef struct Properties
{
	Datum		value[QUEUE_PROPERTIES];
	bool		isnull[QUEUE_PROPERTIES];
	bool		cleared[QUEUE_PROPERTIES];	/* alter() takes it away */
} Properties;

extern const char *property_name(PropertyId id);
extern void properties_from_call(FunctionCallInfo fcinfo, int first_arg,
								 bool with_defaults, Properties *props);
extern void properties_check_fixed(const Properties *existing,
								   const Properties *given, const char *name);
extern bool properties_differ(const Properties *existing,
							  const Properties *given, StringInfo detail);

extern void property_add_difference(StringInfo detail, const char *name,
									const char *existing, const char *given);
extern char *property_name_arg(FunctionCallInfo fcinfo, int arg,
							   const char *parameter);
extern void property_check_queue_name(const char *name,
									  const char *parameter);

#endif							/* QUEUE_PROPERTIES_H */
