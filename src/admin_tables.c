/*
 * admin_tables.c
 *	  The tables of a queue.
 *
 * Owns the rows of segment_def and the DDL on a queue's tables: a parent
 * table, which belongs to the role that created the queue and carries its
 * privileges, a sequence owned by the parent, and segments, inheritance
 * children that belong to the extension's owner.  None is a member of the
 * extension, so that pg_dump dumps them; all depend on it, so that DROP
 * EXTENSION takes them along.
 *
 * Locks: see admin.c for their order.  A new segment needs
 * ShareUpdateExclusiveLock on the parent, as CREATE TABLE takes it;
 * admin_create_segment takes it conditionally before.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "admin.h"
#include "admin_spi.h"
#include "admin_tables.h"
#include "catalog.h"
#include "catalog_rows.h"
#include "layout.h"
#include "txn.h"

/* Backstop for the worker; what it needs it takes conditionally */
#define SEGMENT_LOCK_TIMEOUT "1s"

/* The columns of a parent, and of a segment of the archive; see layout.h */
#define MESSAGE_COLUMNS \
	"id pg_catalog.int8 NOT NULL, " \
	"visible_at pg_catalog.timestamptz NOT NULL, " \
	"lease pg_catalog.int4 NOT NULL, " \
	"deliveries pg_catalog.int4 NOT NULL, " \
	"failures pg_catalog.int4 NOT NULL, " \
	"priority pg_catalog.int2 NOT NULL, " \
	"holder pg_catalog.int4 NOT NULL, " \
	"leased_ms pg_catalog.int4 NOT NULL, " \
	"enqueued_at pg_catalog.timestamptz NOT NULL, " \
	"expires_at pg_catalog.timestamptz, " \
	"key pg_catalog.text, " \
	"body pg_catalog.jsonb, " \
	"payload pg_catalog.bytea, " \
	"headers pg_catalog.jsonb"

/*
 * Relations that later versions may want to make in the schema: a parent
 * table of such a name would stand in the way of ALTER EXTENSION UPDATE.
 */
static const char *const reserved_names[] = {
	"archive", "binding", "bindings", "blockers", "consumer_group",
	"consumer_groups", "consumers", "cursors", "dead_letters", "dedup",
	"forwarding", "in_flight", "latest", "message", "messages", "metrics",
	"partitions", "queues", "retention", "schedule", "schedules",
	"segment_def", "segments", "stats", "stream", "streams", "topic",
	"topics", "workers", NULL
};

static void depend_on_extension(Oid relid);
static bool lock_parent(int32 id, Oid *parent);
static char segment_state(CatalogRows *rows);
static void seal(CatalogRows *rows);
static bool is_unlogged(int32 id);
static void set_file(CatalogRows *rows);
static bool adopt_row(int32 queue_id, int32 life, Oid *relid);
static char *choose_relation_name(const char *name, int32 id, Oid schema);
static void guard_table(Oid relid);
static void strip_default_privileges(Oid relid);
static bool reuse_segment(int32 id, int32 life, char chain);
static int32 next_life(int32 id);

/*
 * Makes the next segment of a chain and seals the one that was open, in the
 * current transaction.  Takes a free segment of the chain when there is one.
 * Returns false when the queue is gone or somebody works on it just now: then
 * nothing has changed and the caller tries again later.  For the worker:
 * waits for nothing in the ordinary case, one second at most.
 */
bool
admin_create_segment(int32 queue_id, char chain)
{
	AdminContext ctx;
	CatalogRows rows;
	Oid			parent;
	int32		life;

	admin_enter(&ctx, true);
	admin_set_local("lock_timeout", SEGMENT_LOCK_TIMEOUT);
	if (!lock_parent(queue_id, &parent))
	{
		admin_leave(&ctx);
		return false;
	}
	life = next_life(queue_id);
	rows_open(&rows, "segment_def", queue_id);
	while (rows_next(&rows))
	{
		if (DatumGetChar(rows_get(&rows, Anum_segment_def_chain)) != chain ||
			segment_state(&rows) != SEGMENT_OPEN)
			continue;
		seal(&rows);
		rows_update(&rows);
	}
	rows_close(&rows);
	/*
	 * Messages of an unlogged queue do not make sure that this is on disk.  A
	 * life number must not be used again after a crash.
	 */
	if (is_unlogged(queue_id))
		ForceSyncCommit();
	if (!reuse_segment(queue_id, life, chain))
		tables_make_segment(queue_id, parent, life, chain);

	CacheInvalidateRelcacheByRelid(parent);
	admin_leave(&ctx);
	return true;
}

/*
 * Takes a segment over whose row was written for another file, after a
 * restore or a rewrite: what was open is sealed, row and dependencies say what
 * is true here.  The caller has dealt with the leases in it before.  Returns
 * false when it is to be called again later: somebody works on the queue, or
 * the restore is not over, for the triggers that refuse plain SQL come last.
 */
bool
admin_adopt_segment(int32 queue_id, int32 life)
{
	AdminContext ctx;
	Oid			parent;
	Oid			relid;
	bool		done = false;

	admin_enter(&ctx, true);
	admin_set_local("lock_timeout", SEGMENT_LOCK_TIMEOUT);
	if (lock_parent(queue_id, &parent) &&
		adopt_row(queue_id, life, &relid))
	{
		depend_on_extension(relid);
		depend_on_extension(parent);
		CacheInvalidateRelcacheByRelid(parent);
		txn_queue_changed(queue_id);
		done = true;
	}
	admin_leave(&ctx);
	return done;
}

/*
 * Notes that the queue has had messages with a priority, so that after the
 * next start claims look for them first.  Returns false when it is to be
 * called again later.
 */
bool
admin_note_priorities(int32 queue_id)
{
	AdminContext ctx;
	CatalogRows rows;
	Oid			parent;
	bool		locked;

	admin_enter(&ctx, true);
	locked = lock_parent(queue_id, &parent);
	if (locked)
	{
		rows_open(&rows, "queue_def", queue_id);
		if (rows_next(&rows))
		{
			rows_set(&rows, Anum_queue_def_priorities, BoolGetDatum(true));
			rows_update(&rows);
		}
		rows_close(&rows);
		CacheInvalidateRelcacheByRelid(parent);
	}
	admin_leave(&ctx);
	return locked;
}

/* Does plain SQL meet the triggers that refuse it? */
static bool
is_guarded(Oid relid)
{
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(relid);

	return admin_query("SELECT 1 FROM pg_catalog.pg_trigger t "
					   "WHERE t.tgrelid OPERATOR(pg_catalog.=) $1 "
					   "AND t.tgname OPERATOR(pg_catalog.=) ANY (ARRAY["
					   "'queue_refuse_write'::pg_catalog.name, "
					   "'queue_refuse_truncate'])",
					   1, &type, &value, NULL) == 2;
}

/* Updates the row of a segment that is taken over, if it is guarded */
static bool
adopt_row(int32 queue_id, int32 life, Oid *relid)
{
	CatalogRows rows;
	bool		done = false;

	rows_open(&rows, "segment_def", queue_id);
	while (!done && rows_next(&rows))
	{
		if (DatumGetInt32(rows_get(&rows, Anum_segment_def_life)) != life)
			continue;
		*relid = DatumGetObjectId(rows_get(&rows, Anum_segment_def_relation));
		if (!is_guarded(*relid))
			break;
		if (segment_state(&rows) == SEGMENT_OPEN)
			seal(&rows);
		set_file(&rows);
		rows_update(&rows);
		done = true;
	}
	rows_close(&rows);
	return done;
}

/*
 * Makes DROP EXTENSION take the table along, without making it a member:
 * pg_dump goes on dumping it.  Again after a restore, which forgets this.
 */
static void
depend_on_extension(Oid relid)
{
	ObjectAddress table;
	ObjectAddress extension;

	ObjectAddressSet(table, RelationRelationId, relid);
	ObjectAddressSet(extension, ExtensionRelationId,
					 get_extension_oid("queue", false));
	deleteDependencyRecordsForSpecific(RelationRelationId, relid,
									   DEPENDENCY_AUTO, ExtensionRelationId,
									   extension.objectId);
	recordDependencyOn(&table, &extension, DEPENDENCY_AUTO);
}

/*
 * Makes a queue's parent table and its sequence, and gives both to the role
 * that creates the queue.
 */
Oid
tables_make_parent(const char *name, int32 id, Oid schema, Oid owner, Oid *ids)
{
	char	   *relname = choose_relation_name(name, id, schema);
	const char *quoted = quote_identifier(relname);
	char	   *sequence = psprintf("queue_%d_ids", id);
	Oid			relid;

	admin_run("CREATE TABLE " QUEUE_SCHEMA ".%s (" MESSAGE_COLUMNS ") "
			  "USING heap", quoted);
	admin_run("CREATE SEQUENCE " QUEUE_SCHEMA ".%s AS pg_catalog.int8 "
			  "INCREMENT BY 4096 MINVALUE 1 START WITH 1 NO CYCLE "
			  "OWNED BY " QUEUE_SCHEMA ".%s.id", sequence, quoted);

	relid = get_relname_relid(relname, schema);
	*ids = get_relname_relid(sequence, schema);
	guard_table(relid);
	strip_default_privileges(*ids);
	admin_run("ALTER TABLE " QUEUE_SCHEMA ".%s OWNER TO %s", quoted,
			  quote_identifier(GetUserNameFromId(owner, false)));
	return relid;
}

/*
 * Has the key of a fifo queue's messages stored in line and uncompressed, so
 * that it can be read where nothing may fail.  Segments inherit this.
 */
void
tables_keep_key_plain(Oid parent)
{
	admin_run("ALTER TABLE %s ALTER COLUMN key SET STORAGE PLAIN",
			  admin_qualified_name(parent));
}

/*
 * Makes an open segment and enters it into segment_def.  One of the archive
 * is no child of the parent, whose rows are messages to be delivered.
 */
void
tables_make_segment(int32 id, Oid parent, int32 life, char chain)
{
	char	   *name = psprintf("q%d_s%d", id, life);
	const char *columns;
	Oid			relid;
	CatalogRows rows;

	columns = chain == CHAIN_ARCHIVE ? "(" MESSAGE_COLUMNS ")" :
		psprintf("() INHERITS (%s)", admin_qualified_name(parent));
	admin_run("CREATE %s TABLE " QUEUE_SCHEMA ".%s %s USING heap "
			  "WITH (autovacuum_enabled = off, "
			  "toast.autovacuum_enabled = off, vacuum_truncate = off, "
			  "fillfactor = 100)",
			  is_unlogged(id) ? "UNLOGGED" : "", name, columns);
	relid = get_relname_relid(name, get_namespace_oid(QUEUE_SCHEMA, false));
	guard_table(relid);

	rows_open(&rows, "segment_def", id);
	rows_set(&rows, Anum_segment_def_queue_id, Int32GetDatum(id));
	rows_set(&rows, Anum_segment_def_life, Int32GetDatum(life));
	rows_set(&rows, Anum_segment_def_relation, ObjectIdGetDatum(relid));
	rows_set(&rows, Anum_segment_def_chain, CharGetDatum(chain));
	rows_set(&rows, Anum_segment_def_state, CharGetDatum(SEGMENT_OPEN));
	rows_set(&rows, Anum_segment_def_layout, Int32GetDatum(QUEUE_LAYOUT));
	set_file(&rows);
	rows_insert(&rows);
	rows_close(&rows);
}

/*
 * Makes sure that the archive of a queue has an open segment.  The caller has
 * the parent locked.
 */
void
tables_ensure_archive(int32 id, Oid parent)
{
	CatalogRows rows;
	bool		found = false;

	rows_open(&rows, "segment_def", id);
	while (rows_next(&rows))
		found |= segment_state(&rows) == SEGMENT_OPEN &&
			DatumGetChar(rows_get(&rows, Anum_segment_def_chain)) ==
			CHAIN_ARCHIVE;
	rows_close(&rows);
	if (!found)
		tables_make_segment(id, parent, next_life(id), CHAIN_ARCHIVE);
}

/*
 * Locks the segments of a queue that is to be dropped, which waits for whoever
 * sends or deletes messages.  Returns their number and, palloc'd, their OIDs.
 */
uint64
tables_lock(int32 id, Oid **segments)
{
	uint64		count;
	bool		isnull;

	count = admin_query_id("SELECT s.relation "
						   "FROM " QUEUE_SCHEMA ".segment_def s "
						   "WHERE s.queue_id OPERATOR(pg_catalog.=) $1 "
						   "ORDER BY s.life USING OPERATOR(pg_catalog.<)",
						   id);
	*segments = palloc((count + 1) * sizeof(Oid));
	for (uint64 i = 0; i < count; i++)
		(*segments)[i] = DatumGetObjectId(admin_result(i, 1, &isnull));
	for (uint64 i = 0; i < count; i++)
		LockRelationOid((*segments)[i], AccessExclusiveLock);
	return count;
}

/* Drops the parent and the segments, as far as they still exist */
void
tables_drop(int32 id, Oid parent)
{
	StringInfoData tables;
	Oid		   *segments;
	uint64		count = tables_lock(id, &segments);

	initStringInfo(&tables);
	if (admin_relation_exists(parent))
		appendStringInfoString(&tables, admin_qualified_name(parent));
	for (uint64 i = 0; i < count; i++)
	{
		if (admin_relation_exists(segments[i]))
			appendStringInfo(&tables, "%s%s", tables.len > 0 ? ", " : "",
							 admin_qualified_name(segments[i]));
	}
	if (tables.len > 0)
		admin_run("DROP TABLE %s", tables.data);
}

/* The state of a row of segment_def */
static char
segment_state(CatalogRows *rows)
{
	return DatumGetChar(rows_get(rows, Anum_segment_def_state));
}

/* Makes a row of segment_def say that nothing is inserted any more */
static void
seal(CatalogRows *rows)
{
	rows_set(rows, Anum_segment_def_state, CharGetDatum(SEGMENT_SEALED));
	rows_set(rows, Anum_segment_def_sealed_at,
			 TimestampTzGetDatum(GetCurrentTimestamp()));
}

/* Are the queue's segments emptied by a crash? */
static bool
is_unlogged(int32 id)
{
	return admin_query_id("SELECT 1 FROM " QUEUE_SCHEMA ".queue_def d "
						  "WHERE d.id OPERATOR(pg_catalog.=) $1 "
						  "AND d.persistence OPERATOR(pg_catalog.=) "
						  "'unlogged'", id) > 0;
}

/* Makes a row of segment_def say that it is written for the present file */
static void
set_file(CatalogRows *rows)
{
	Oid			relid = DatumGetObjectId(rows_get(rows,
												  Anum_segment_def_relation));

	rows_set(rows, Anum_segment_def_relfilenode,
			 ObjectIdGetDatum(catalog_relation_file(relid)));
	rows_set(rows, Anum_segment_def_database, ObjectIdGetDatum(MyDatabaseId));
	rows_set(rows, Anum_segment_def_system_identifier,
			 Int64GetDatum((int64) GetSystemIdentifier()));
}

/*
 * Looks up and locks a queue's parent without waiting.  Returns false when
 * the queue is gone or the lock is taken.
 */
static bool
lock_parent(int32 id, Oid *parent)
{
	static const char *const sql =
	"SELECT d.relation FROM " QUEUE_SCHEMA ".queue_def d "
	"WHERE d.id OPERATOR(pg_catalog.=) $1";
	bool		isnull;

	if (admin_query_id(sql, id) != 1)
		return false;
	*parent = DatumGetObjectId(admin_result(0, 1, &isnull));
	if (!ConditionalLockRelationOid(*parent, ShareUpdateExclusiveLock))
		return false;

	/* it may have been dropped between the two */
	if (admin_relation_exists(*parent) && admin_query_id(sql, id) == 1)
		return true;
	UnlockRelationOid(*parent, ShareUpdateExclusiveLock);
	return false;
}

/* Has a segment in use a life number with the same low bits? */
static bool
life_in_use(int32 id, int32 life)
{
	Oid			types[] = {INT4OID, INT4OID, INT4OID};
	Datum		values[] = {
		Int32GetDatum(id), Int32GetDatum(RECEIPT_LIFE_MASK),
		Int32GetDatum(life & RECEIPT_LIFE_MASK)
	};

	return admin_query("SELECT 1 FROM " QUEUE_SCHEMA ".segment_def s "
					   "WHERE s.queue_id OPERATOR(pg_catalog.=) $1 "
					   "AND s.state OPERATOR(pg_catalog.<>) 'f' "
					   "AND (s.life OPERATOR(pg_catalog.&) $2) "
					   "OPERATOR(pg_catalog.=) $3",
					   lengthof(types), types, values, NULL) > 0;
}

/*
 * Takes the queue's next life number.  Those whose low bits, which is what a
 * receipt has room for, belong to a segment in use are skipped.
 */
static int32
next_life(int32 id)
{
	CatalogRows rows;
	int32		life;

	rows_open(&rows, "queue_def", id);
	if (!rows_next(&rows))
		elog(ERROR, "queue %d has no row in queue_def", id);
	life = DatumGetInt32(rows_get(&rows, Anum_queue_def_next_life));
	while (life_in_use(id, life))
		life++;
	rows_set(&rows, Anum_queue_def_next_life, Int32GetDatum(life + 1));
	rows_update(&rows);
	rows_close(&rows);
	return life;
}

/*
 * The parent table's name: the queue's where that is an identifier that needs
 * no quotes and means nothing else in the schema, else one with its number.
 */
static char *
choose_relation_name(const char *name, int32 id, Oid schema)
{
	static const char *const letters = "abcdefghijklmnopqrstuvwxyz";
	static const char *const rest = "abcdefghijklmnopqrstuvwxyz0123456789_";
	size_t		len = strlen(name);
	bool		usable;
	const char *p;

	usable = len < NAMEDATALEN && strspn(name, letters) > 0 &&
		strspn(name, rest) == len && strncmp(name, "queue_", 6) != 0;
	for (int i = 0; usable && reserved_names[i] != NULL; i++)
		usable = strcmp(name, reserved_names[i]) != 0;
	if (usable && name[0] == 'q')
	{
		/* q<number>_s… is a segment's name, of some queue some day */
		p = name + 1 + strspn(name + 1, "0123456789");
		usable = p == name + 1 || strncmp(p, "_s", 2) != 0;
	}
	if (usable &&
		!OidIsValid(get_relname_relid(name, schema)) &&
		!SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name),
							   ObjectIdGetDatum(schema)))
		return pstrdup(name);
	return psprintf("queue_%d", id);
}

/*
 * What every table of a queue gets: triggers that refuse plain SQL, the
 * dependency on the extension, and no privileges but the owner's.
 */
static void
guard_table(Oid relid)
{
	char	   *table = admin_qualified_name(relid);

	admin_run("CREATE TRIGGER queue_refuse_write "
			  "BEFORE INSERT OR UPDATE OR DELETE ON %s FOR EACH STATEMENT "
			  "EXECUTE FUNCTION " QUEUE_SCHEMA "._refuse_write()", table);
	admin_run("CREATE TRIGGER queue_refuse_truncate "
			  "BEFORE TRUNCATE ON %s FOR EACH STATEMENT "
			  "EXECUTE FUNCTION " QUEUE_SCHEMA "._refuse_write()", table);
	admin_run("ALTER TABLE %s ENABLE ALWAYS TRIGGER queue_refuse_write, "
			  "ENABLE ALWAYS TRIGGER queue_refuse_truncate", table);
	depend_on_extension(relid);
	strip_default_privileges(relid);
}

/*
 * Takes back what ALTER DEFAULT PRIVILEGES gave away of a table just made:
 * a queue starts as its owner's alone, and a segment stays so.
 */
static void
strip_default_privileges(Oid relid)
{
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(relid);
	uint64		count;
	char	  **grantees;
	bool		isnull;

	count = admin_query("SELECT DISTINCT CASE WHEN a.grantee "
						"OPERATOR(pg_catalog.=) 0::pg_catalog.oid "
						"THEN 'PUBLIC' ELSE pg_catalog.quote_ident("
						"pg_catalog.pg_get_userbyid(a.grantee)"
						"::pg_catalog.text) END FROM pg_catalog.pg_class c, "
						"LATERAL pg_catalog.aclexplode(c.relacl) a "
						"WHERE c.oid OPERATOR(pg_catalog.=) $1 "
						"AND a.grantee OPERATOR(pg_catalog.<>) c.relowner",
						1, &type, &value, NULL);
	if (count == 0)
		return;

	grantees = palloc(count * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		grantees[i] = TextDatumGetCString(admin_result(i, 1, &isnull));
	for (uint64 i = 0; i < count; i++)
		admin_run("REVOKE ALL PRIVILEGES ON TABLE %s FROM %s",
				  admin_qualified_name(relid), grantees[i]);
}

/*
 * Opens a truncated segment of the chain again, under a new life number.
 * Returns false when there is none.
 */
static bool
reuse_segment(int32 id, int32 life, char chain)
{
	CatalogRows rows;
	bool		done = false;

	rows_open(&rows, "segment_def", id);
	while (!done && rows_next(&rows))
	{
		if (segment_state(&rows) != SEGMENT_FREE ||
			DatumGetChar(rows_get(&rows, Anum_segment_def_chain)) != chain ||
			DatumGetInt32(rows_get(&rows, Anum_segment_def_layout)) !=
			QUEUE_LAYOUT ||
			!admin_relation_exists(DatumGetObjectId(
				rows_get(&rows, Anum_segment_def_relation))))
			continue;
		rows_set(&rows, Anum_segment_def_life, Int32GetDatum(life));
		rows_set(&rows, Anum_segment_def_state, CharGetDatum(SEGMENT_OPEN));
		rows_set_null(&rows, Anum_segment_def_sealed_at);
		set_file(&rows);
		rows_update(&rows);
		done = true;
	}
	rows_close(&rows);
	return done;
}
