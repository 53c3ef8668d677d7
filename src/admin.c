/*
 * admin.c
 *	  Making, changing and dropping queues.
 *
 * Owns the rows of queue_def and the functions create, alter, drop, pause,
 * resume, grant_access and revoke_access; admin_tables.c makes the tables.
 *
 * Locks, in this order, all held to the end of the transaction:
 *	1. the queue's name (create, drop): an object lock on queue_def's OID with
 *	   a hash of the name as object.  It makes the second of two concurrent
 *	   create() of one name wait and then see what the first one did;
 *	2. the parent: ShareUpdateExclusiveLock for alter, pause, resume,
 *	   grant_access, revoke_access and a new segment, AccessExclusiveLock for
 *	   drop;
 *	3. segments, by ascending life: AccessExclusiveLock for drop;
 *	4. the catalog tables: RowExclusiveLock, see catalog_rows.c.
 * create and alter of a queue with a dead-letter queue also take
 * AccessShareLock on that one's parent, so that drop() of it waits for them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "admin.h"
#include "admin_spi.h"
#include "admin_tables.h"
#include "catalog.h"
#include "catalog_rows.h"
#include "compat.h"
#include "dedup.h"
#include "duration.h"
#include "guc.h"
#include "properties.h"
#include "txn.h"

/* max_attempts of a queue with dead_letter and no limit of its own */
#define DEAD_LETTER_ATTEMPTS 10

/* A queue's row in queue_def, as far as it matters here */
typedef struct QueueRow
{
	int32		id;
	Oid			relation;
	Properties	props;
} QueueRow;

/* What grant_access calls a set of table privileges */
typedef struct AccessWord
{
	const char *word;
	const char *privileges;
	AclMode		mode;
} AccessWord;

static const AccessWord access_words[] = {
	{"send", "INSERT", ACL_INSERT},
	{"receive", "UPDATE, DELETE", ACL_UPDATE | ACL_DELETE},
	{"browse", "SELECT", ACL_SELECT},
	{"manage", "ALL PRIVILEGES", ACL_ALL_RIGHTS_RELATION},
	{NULL, NULL, 0}
};

static void lock_name(const char *name);
static bool find_queue(const char *name, QueueRow *row);
static void find_and_lock(AdminContext *ctx, const char *name,
						  LOCKMODE lockmode, const char *what,
						  const AccessWord *access, QueueRow *row);
static bool queue_is_owner(Oid relid, Oid roleid);
static void check_right(Oid relid, Oid roleid, const char *name,
						const char *what, LOCKMODE lockmode);
static void check_grant(Oid relid, Oid roleid, const char *name,
						const char *what, const AccessWord *access);
static void check_drop(int32 id, const char *name);
static void check_unused(const char *name);
static void check_dead_letter(AdminContext *ctx, const char *name,
							  Properties *given);
static void default_max_attempts(Properties *given);
static bool matches_existing(const char *name, QueueRow *row,
							 Properties *given, const char *comment);
static void set_properties(CatalogRows *rows, Properties *props);
static void open_definition(CatalogRows *rows, int32 id);
static void insert_queue(const char *name, int32 id, Oid parent, Oid ids,
						 Properties *props);
static void update_properties(int32 id, Properties *given);
static int64 window_us(Datum interval);
static void move_dedup_ids(QueueRow *row, Properties *given);
static void forget_queue(int32 id);
static void set_paused(FunctionCallInfo fcinfo, const char *what, bool paused);
static void change_access(FunctionCallInfo fcinfo, bool grant);
static const AccessWord * access_word(const char *word);
static char *optional_comment(FunctionCallInfo fcinfo, int arg);
static bool flag_arg(FunctionCallInfo fcinfo, int arg, bool fallback);

PG_FUNCTION_INFO_V1(queue_create);
PG_FUNCTION_INFO_V1(queue_alter);
PG_FUNCTION_INFO_V1(queue_drop);
PG_FUNCTION_INFO_V1(queue_pause);
PG_FUNCTION_INFO_V1(queue_resume);
PG_FUNCTION_INFO_V1(queue_grant_access);
PG_FUNCTION_INFO_V1(queue_revoke_access);
PG_FUNCTION_INFO_V1(queue__refuse_write);

/* queue.create(name, …properties…, comment) */
Datum
queue_create(PG_FUNCTION_ARGS)
{
	Oid			caller = GetUserId();
	Oid			schema = get_namespace_oid(QUEUE_SCHEMA, false);
	AdminContext ctx;
	QueueRow	row;
	Properties	props;
	Oid			ids;
	char	   *name;
	char	   *comment;
	bool		isnull;

	queue_prevent_readonly("queue.create()");
	name = property_name_arg(fcinfo, 0, "name");
	properties_from_call(fcinfo, 1, true, &props);
	default_max_attempts(&props);
	comment = optional_comment(fcinfo, 1 + QUEUE_PROPERTIES);
	if (compat_namespace_aclcheck(schema, caller, ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create queue \"%s\"", name),
				 errdetail("You need the CREATE privilege on schema %s.",
						   QUEUE_SCHEMA)));

	admin_enter(&ctx, true);
	lock_name(name);
	if (find_queue(name, &row))
	{
		if (matches_existing(name, &row, &props, comment))
		{
			admin_leave(&ctx);
			PG_RETURN_VOID();
		}
		/* somebody dropped the table by hand: clear away what is left */
		tables_drop(row.id, row.relation);
		forget_queue(row.id);
	}
	check_dead_letter(&ctx, name, &props);

	admin_query("SELECT pg_catalog.nextval('" QUEUE_SCHEMA
				".queue_id_seq'::pg_catalog.regclass)::pg_catalog.int4",
				0, NULL, NULL, NULL);
	row.id = DatumGetInt32(admin_result(0, 1, &isnull));
	row.relation = tables_make_parent(name, row.id, schema, caller, &ids);
	if (strcmp(TextDatumGetCString(props.value[PROP_KIND]), "fifo") == 0)
		tables_keep_key_plain(row.relation);
	insert_queue(name, row.id, row.relation, ids, &props);
	tables_make_segment(row.id, row.relation, 1, CHAIN_MAIN);
	tables_make_segment(row.id, row.relation, 2, CHAIN_PARKING);
	if (!props.isnull[PROP_ARCHIVE])
		tables_ensure_archive(row.id, row.relation);
	if (comment != NULL)
		CreateComments(row.relation, RelationRelationId, 0, comment);

	CacheInvalidateRelcacheByRelid(row.relation);
	txn_queue_changed(row.id);
	admin_leave(&ctx);
	PG_RETURN_VOID();
}

/* queue.alter(name, …properties…, comment): NULL leaves as it is */
Datum
queue_alter(PG_FUNCTION_ARGS)
{
	AdminContext ctx;
	QueueRow	row;
	Properties	given;
	char	   *name;

	queue_prevent_readonly("queue.alter()");
	name = property_name_arg(fcinfo, 0, "name");
	properties_from_call(fcinfo, 1, false, &given);

	admin_enter(&ctx, true);
	find_and_lock(&ctx, name, ShareUpdateExclusiveLock, "alter", NULL, &row);
	properties_check_fixed(&row.props, &given, name);
	check_dead_letter(&ctx, name, &given);
	if (row.props.isnull[PROP_MAX_ATTEMPTS] &&
		!given.cleared[PROP_MAX_ATTEMPTS])
		default_max_attempts(&given);
	update_properties(row.id, &given);
	if (!given.isnull[PROP_ARCHIVE])
		tables_ensure_archive(row.id, row.relation);
	move_dedup_ids(&row, &given);
	if (!PG_ARGISNULL(1 + QUEUE_PROPERTIES))
		CreateComments(row.relation, RelationRelationId, 0,
					   optional_comment(fcinfo, 1 + QUEUE_PROPERTIES));

	CacheInvalidateRelcacheByRelid(row.relation);
	txn_queue_changed(row.id);
	admin_leave(&ctx);
	PG_RETURN_VOID();
}

/* queue.drop(name, force) */
Datum
queue_drop(PG_FUNCTION_ARGS)
{
	AdminContext ctx;
	QueueRow	row;
	Oid		   *segments;
	char	   *name;

	queue_prevent_readonly("queue.drop()");
	name = property_name_arg(fcinfo, 0, "name");

	admin_enter(&ctx, true);
	lock_name(name);
	find_and_lock(&ctx, name, AccessExclusiveLock, "drop", NULL, &row);

	/* a message that a running transaction sends counts if it commits */
	tables_lock(row.id, &segments);
	if (!flag_arg(fcinfo, 1, false))
	{
		if (admin_relation_exists(row.relation))
			check_drop(row.id, name);
		check_unused(name);
	}
	tables_drop(row.id, row.relation);
	forget_queue(row.id);
	dedup_forget(row.id);

	txn_queue_changed(row.id);
	admin_leave(&ctx);
	PG_RETURN_VOID();
}

/* queue.pause(name, enqueue, dequeue) */
Datum
queue_pause(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, "pause", true);
	PG_RETURN_VOID();
}

/* queue.resume(name, enqueue, dequeue) */
Datum
queue_resume(PG_FUNCTION_ARGS)
{
	set_paused(fcinfo, "resume", false);
	PG_RETURN_VOID();
}

/* queue.grant_access(name, role, privilege) */
Datum
queue_grant_access(PG_FUNCTION_ARGS)
{
	change_access(fcinfo, true);
	PG_RETURN_VOID();
}

/* queue.revoke_access(name, role, privilege) */
Datum
queue_revoke_access(PG_FUNCTION_ARGS)
{
	change_access(fcinfo, false);
	PG_RETURN_VOID();
}

/* The trigger that keeps plain SQL from writing to a queue's tables */
Datum
queue__refuse_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const char *command;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by a trigger",
						"queue._refuse_write")));

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		command = "INSERT";
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		command = "UPDATE";
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		command = "DELETE";
	else
		command = "TRUNCATE";
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%s on \"%s\", a table of a message queue, is refused",
					command, RelationGetRelationName(trigger->tg_relation)),
			 errdetail("Only the functions of extension \"queue\" write to "
					   "it."),
			 errhint("Use queue.enqueue(), queue.dequeue() and queue.ack(), "
					 "queue.cancel() for one message or queue.purge() for "
					 "all.")));
	return PointerGetDatum(NULL);
}

/*
 * Raises 42501 unless the current user manages the queue: owns its parent
 * table or holds TRUNCATE on it, which is what grant_access(…, 'manage')
 * gives.  `what` is the operation, for the message.
 */
void
admin_check_manage(Oid relid, const char *name, const char *what)
{
	check_right(relid, GetUserId(), name, what, ShareUpdateExclusiveLock);
}

/* Takes the lock that create() and drop() of one name exclude each other by */
static void
lock_name(const char *name)
{
	Oid			schema = get_namespace_oid(QUEUE_SCHEMA, false);
	uint32		hash = hash_bytes((const unsigned char *) name,
								  (int) strlen(name));

	LockDatabaseObject(get_relname_relid("queue_def", schema), hash, 0,
					   ExclusiveLock);
}

/* Looks a queue up by name.  The properties live until admin_leave. */
static bool
find_queue(const char *name, QueueRow *row)
{
	StringInfoData sql;
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(name);
	bool		isnull;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT d.id, d.relation");
	for (int i = 0; i < QUEUE_PROPERTIES; i++)
		appendStringInfo(&sql, ", d.%s", quote_identifier(property_name(i)));
	appendStringInfoString(&sql, " FROM " QUEUE_SCHEMA ".queue_def d "
						   "WHERE d.name OPERATOR(pg_catalog.=) $1");
	if (admin_query(sql.data, 1, &type, &value, NULL) == 0)
		return false;

	row->id = DatumGetInt32(admin_result(0, 1, &isnull));
	row->relation = DatumGetObjectId(admin_result(0, 2, &isnull));
	for (int i = 0; i < QUEUE_PROPERTIES; i++)
		row->props.value[i] = admin_result(0, 3 + i, &row->props.isnull[i]);
	return true;
}

/*
 * Looks up a queue that must exist, checks the caller's right to do `what`
 * with it, to grant some access unless that is NULL, and locks its parent.
 * The right is checked before the lock, so that a stranger cannot make others
 * wait, and again under it, as the name may be another queue's by then.
 */
static void
find_and_lock(AdminContext *ctx, const char *name, LOCKMODE lockmode,
			  const char *what, const AccessWord *access, QueueRow *row)
{
	Oid			locked = InvalidOid;

	for (;;)
	{
		if (!find_queue(name, row))
			admin_no_such_queue(name);
		if (access != NULL)
			check_grant(row->relation, ctx->caller, name, what, access);
		else
			check_right(row->relation, ctx->caller, name, what, lockmode);
		if (row->relation == locked)
			return;
		if (OidIsValid(locked))
			UnlockRelationOid(locked, lockmode);
		LockRelationOid(row->relation, lockmode);
		locked = row->relation;
	}
}

/* Does the role own the table, itself or as a member of the owner? */
static bool
queue_is_owner(Oid relid, Oid roleid)
{
	return compat_relation_ownercheck(relid, roleid);
}

/*
 * Raises 42501 unless the role may do `what` with the queue.  To drop it one
 * must own the parent table; for the rest TRUNCATE on it is enough.
 *
 * A parent that somebody dropped with DROP TABLE has no owner any more: the
 * extension's owner may drop what is left of the queue, nobody can do
 * anything else with it.
 */
static void
check_right(Oid relid, Oid roleid, const char *name, const char *what,
			LOCKMODE lockmode)
{
	bool		drop = (lockmode == AccessExclusiveLock);

	if (!admin_relation_exists(relid))
	{
		if (drop && has_privs_of_role(roleid, admin_extension_owner()))
			return;
		admin_no_such_table(name);
	}
	if (queue_is_owner(relid, roleid))
		return;
	if (drop)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s queue \"%s\"", what, name),
				 errdetail("You must own table %s.",
						   admin_qualified_name(relid))));
	if (pg_class_aclcheck(relid, roleid, ACL_TRUNCATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s queue \"%s\"", what, name),
				 errdetail("You must own table %s or hold the TRUNCATE "
						   "privilege on it, which queue.grant_access() "
						   "calls \"manage\".", admin_qualified_name(relid))));
}

/*
 * Raises 42501 unless the role may give the access to others.  GRANT itself
 * only warns when the grantor has some privilege and none to give.
 */
static void
check_grant(Oid relid, Oid roleid, const char *name, const char *what,
			const AccessWord *access)
{
	if (!admin_relation_exists(relid))
		admin_no_such_table(name);
	if (pg_class_aclmask(relid, roleid, ACL_GRANT_OPTION_FOR(access->mode),
						 ACLMASK_ALL) != ACL_GRANT_OPTION_FOR(access->mode))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s \"%s\" on queue \"%s\"",
						what, access->word, name),
				 errdetail("You must own table %s or hold %s on it with "
						   "grant option.", admin_qualified_name(relid),
						   access->privileges)));
}

/*
 * Raises 2BP01 while there is a message in the queue, in whatever state.
 * Reads the extension's own tables only: what the parent has for policies and
 * other children is its owner's, and this runs as the extension's owner.
 */
static void
check_drop(int32 id, const char *name)
{
	StringInfoData sql;
	uint64		count;
	bool		isnull;

	count = admin_query_id("SELECT s.relation "
						   "FROM " QUEUE_SCHEMA ".segment_def s "
						   "JOIN pg_catalog.pg_class c "
						   "ON c.oid OPERATOR(pg_catalog.=) "
						   "s.relation::pg_catalog.oid "
						   "WHERE s.queue_id OPERATOR(pg_catalog.=) $1 "
						   "AND c.relkind OPERATOR(pg_catalog.=) "
						   "'r'::\"char\" "
						   "AND s.chain OPERATOR(pg_catalog.<>) "
						   "'a'::\"char\"", id);
	if (count == 0)
		return;
	initStringInfo(&sql);
	for (uint64 i = 0; i < count; i++)
	{
		Oid			relid = DatumGetObjectId(admin_result(i, 1, &isnull));

		appendStringInfo(&sql, "%sSELECT 1 FROM ONLY %s",
						 i == 0 ? "" : " UNION ALL ",
						 admin_qualified_name(relid));
	}
	appendStringInfoString(&sql, " LIMIT 1");
	if (admin_query(sql.data, 0, NULL, NULL, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop queue \"%s\" because it is not empty",
						name),
				 errhint("Use queue.drop(name, force => true) to drop it "
						 "with its messages.")));
}

/* Raises 2BP01 while other queues send their dead messages to this one */
static void
check_unused(const char *name)
{
	Oid			type = TEXTOID;
	Datum		value = CStringGetTextDatum(name);
	Datum		names;
	bool		isnull;

	admin_query("SELECT pg_catalog.string_agg("
				"pg_catalog.format('\"%s\"', d.name), ', ' ORDER BY d.name) "
				"FROM " QUEUE_SCHEMA ".queue_def d "
				"WHERE d.dead_letter OPERATOR(pg_catalog.=) $1",
				1, &type, &value, NULL);
	names = admin_result(0, 1, &isnull);
	if (isnull)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("cannot drop queue \"%s\" because it is another's "
					"dead-letter queue", name),
			 errdetail("It is dead_letter of %s.",
					   TextDatumGetCString(names)),
			 errhint("Use queue.alter(name, dead_letter => '') first, or "
					 "queue.drop(name, force => true): dead messages then "
					 "stay where they are.")));
}

/*
 * Raises an error unless the dead_letter that is given for a queue exists, is
 * another one, and the caller may send to it.
 */
static void
check_dead_letter(AdminContext *ctx, const char *name, Properties *given)
{
	QueueRow	row;
	char	   *target;

	if (given->isnull[PROP_DEAD_LETTER])
		return;
	target = TextDatumGetCString(given->value[PROP_DEAD_LETTER]);
	if (strcmp(target, name) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"%s\": \"%s\"",
						"dead_letter", target),
				 errdetail("A queue cannot be its own dead-letter queue.")));
	if (!find_queue(target, &row))
		admin_no_such_queue(target);
	if (!admin_relation_exists(row.relation))
		admin_no_such_table(target);
	if (pg_class_aclcheck(row.relation, ctx->caller, ACL_INSERT) !=
		ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for queue \"%s\"", target),
				 errdetail("To use it as dead_letter needs the INSERT "
						   "privilege on the queue's table."),
				 errhint("Its owner can grant it with "
						 "queue.grant_access().")));
	if (strcmp(TextDatumGetCString(row.props.value[PROP_KIND]),
			   "stream") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a stream", target),
				 errdetail("A dead-letter queue is of kind work or fifo.")));
	LockRelationOid(row.relation, AccessShareLock);
	if (!find_queue(target, &row))
		admin_no_such_queue(target);
}

/* A queue with a dead-letter queue has a limit of failures */
static void
default_max_attempts(Properties *given)
{
	if (given->isnull[PROP_DEAD_LETTER] ||
		!given->isnull[PROP_MAX_ATTEMPTS])
		return;
	given->value[PROP_MAX_ATTEMPTS] = Int32GetDatum(DEAD_LETTER_ATTEMPTS);
	given->isnull[PROP_MAX_ATTEMPTS] = false;
}

/*
 * Is the existing queue what create() was asked for?  Raises 42710 with the
 * differences when it is not.  Returns false when only a row is left of it.
 */
static bool
matches_existing(const char *name, QueueRow *row, Properties *given,
				 const char *comment)
{
	StringInfoData detail;
	char	   *existing_comment;
	bool		differ;

	if (!admin_relation_exists(row->relation))
		return false;

	initStringInfo(&detail);
	differ = properties_differ(&row->props, given, &detail);
	existing_comment = GetComment(row->relation, RelationRelationId, 0);
	if (strcmp(existing_comment ? existing_comment : "",
			   comment ? comment : "") != 0)
	{
		differ = true;
		property_add_difference(&detail, "comment", existing_comment,
								comment);
	}
	if (differ)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("queue \"%s\" already exists with other properties",
						name),
				 errdetail_internal("%s", detail.data),
				 errhint("Use queue.alter() to change a queue.")));
	return true;
}

/* Sets the properties that were given; their columns are in their order */
static void
set_properties(CatalogRows *rows, Properties *props)
{
	StaticAssertStmt(Anum_queue_def_enqueue_paused ==
					 Anum_queue_def_kind + QUEUE_PROPERTIES,
					 "a property lacks its column");

	for (int i = 0; i < QUEUE_PROPERTIES; i++)
		if (props->cleared[i])
			rows_set_null(rows, Anum_queue_def_kind + i);
		else if (!props->isnull[i])
			rows_set(rows, Anum_queue_def_kind + i, props->value[i]);
}

/* Opens queue_def at the row of a queue whose parent is locked */
static void
open_definition(CatalogRows *rows, int32 id)
{
	rows_open(rows, "queue_def", id);
	if (!rows_next(rows))
		elog(ERROR, "queue %d has no row in queue_def", id);
}

/* Enters a new queue into queue_def; lives 1 and 2 are its first segments' */
static void
insert_queue(const char *name, int32 id, Oid parent, Oid ids,
			 Properties *props)
{
	CatalogRows rows;

	rows_open(&rows, "queue_def", id);
	rows_set(&rows, Anum_queue_def_id, Int32GetDatum(id));
	rows_set(&rows, Anum_queue_def_name, CStringGetTextDatum(name));
	rows_set(&rows, Anum_queue_def_relation, ObjectIdGetDatum(parent));
	rows_set(&rows, Anum_queue_def_ids, ObjectIdGetDatum(ids));
	set_properties(&rows, props);
	rows_set(&rows, Anum_queue_def_enqueue_paused, BoolGetDatum(false));
	rows_set(&rows, Anum_queue_def_dequeue_paused, BoolGetDatum(false));
	rows_set(&rows, Anum_queue_def_next_life, Int32GetDatum(3));
	rows_set(&rows, Anum_queue_def_created_at,
			 TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	rows_set(&rows, Anum_queue_def_priorities, BoolGetDatum(false));
	rows_insert(&rows);
	rows_close(&rows);
}

/* Stores the properties that alter() was given */
static void
update_properties(int32 id, Properties *given)
{
	CatalogRows rows;

	open_definition(&rows, id);
	set_properties(&rows, given);
	rows_update(&rows);
	rows_close(&rows);
}

/* An interval's length */
static int64
window_us(Datum interval)
{
	return interval_microseconds(DatumGetIntervalP(interval));
}

/* Lets the queue find the dedup_ids it knows when their window changes */
static void
move_dedup_ids(QueueRow *row, Properties *given)
{
	const int	prop = PROP_DEDUP_WINDOW;
	int64		old = DEDUP_DEFAULT_WINDOW;
	int64		new = DEDUP_DEFAULT_WINDOW;

	if (given->isnull[prop] && !given->cleared[prop])
		return;
	if (!row->props.isnull[prop])
		old = window_us(row->props.value[prop]);
	if (!given->cleared[prop])
		new = window_us(given->value[prop]);
	dedup_move(row->id, old, new);
}

/* Deletes everything the catalog tables say about a queue */
static void
forget_queue(int32 id)
{
	static const char *const tables[] = {
		"forwarding", "segment_def", "queue_def"
	};

	for (int i = 0; i < (int) lengthof(tables); i++)
	{
		CatalogRows rows;

		rows_open(&rows, tables[i], id);
		while (rows_next(&rows))
			rows_delete(&rows);
		rows_close(&rows);
	}
}

/*
 * pause() and resume(): the operations that the call names become paused or
 * not, an operation that it does not name stays as it is.
 */
static void
set_paused(FunctionCallInfo fcinfo, const char *what, bool paused)
{
	AdminContext ctx;
	QueueRow	row;
	CatalogRows rows;
	char	   *name;
	bool		enqueue;
	bool		dequeue;

	queue_prevent_readonly(paused ? "queue.pause()" : "queue.resume()");
	name = property_name_arg(fcinfo, 0, "name");
	enqueue = flag_arg(fcinfo, 1, true);
	dequeue = flag_arg(fcinfo, 2, true);
	if (!enqueue && !dequeue)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing to %s", what),
				 errdetail("Parameters \"enqueue\" and \"dequeue\" are both "
						   "false.")));

	admin_enter(&ctx, true);
	find_and_lock(&ctx, name, ShareUpdateExclusiveLock, what, NULL, &row);
	open_definition(&rows, row.id);
	if (enqueue)
		rows_set(&rows, Anum_queue_def_enqueue_paused, BoolGetDatum(paused));
	if (dequeue)
		rows_set(&rows, Anum_queue_def_dequeue_paused, BoolGetDatum(paused));
	rows_update(&rows);
	rows_close(&rows);

	CacheInvalidateRelcacheByRelid(row.relation);
	txn_queue_changed(row.id);
	admin_leave(&ctx);
}

/*
 * grant_access() and revoke_access(): GRANT and REVOKE on the parent table,
 * run as the caller.  These two lock no table, and fail with an internal error
 * when something else changes its row in pg_class; so it is locked before.
 */
static void
change_access(FunctionCallInfo fcinfo, bool grant)
{
	AdminContext ctx;
	QueueRow	row;
	const AccessWord *access;
	char	   *name;
	char	   *role;

	queue_prevent_readonly(grant ? "queue.grant_access()" :
						   "queue.revoke_access()");
	name = property_name_arg(fcinfo, 0, "name");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be null",
						PG_ARGISNULL(1) ? "role" : "privilege")));
	role = GetUserNameFromId(PG_GETARG_OID(1), false);
	access = access_word(text_to_cstring(PG_GETARG_TEXT_PP(2)));

	admin_enter(&ctx, true);
	find_and_lock(&ctx, name, ShareUpdateExclusiveLock,
				  grant ? "grant" : "revoke", access, &row);
	admin_leave(&ctx);

	admin_enter(&ctx, false);
	admin_run("%s %s ON TABLE %s %s %s", grant ? "GRANT" : "REVOKE",
			  access->privileges, admin_qualified_name(row.relation),
			  grant ? "TO" : "FROM", quote_identifier(role));
	admin_leave(&ctx);
}

/* What a word of grant_access() stands for */
static const AccessWord *
access_word(const char *word)
{
	for (int i = 0; access_words[i].word != NULL; i++)
		if (strcmp(word, access_words[i].word) == 0)
			return &access_words[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"%s\": \"%s\"",
					"privilege", word),
			 errhint("Valid values are: %s.",
					 "send, receive, browse, manage")));
	return NULL;
}

/* A comment; the empty one means none, as for COMMENT */
static char *
optional_comment(FunctionCallInfo fcinfo, int arg)
{
	char	   *comment;

	if (PG_ARGISNULL(arg))
		return NULL;
	comment = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	return comment[0] == '\0' ? NULL : comment;
}

/* A boolean argument, NULL meaning its default */
static bool
flag_arg(FunctionCallInfo fcinfo, int arg, bool fallback)
{
	return PG_ARGISNULL(arg) ? fallback : PG_GETARG_BOOL(arg);
}
