/*
 * catalog.c
 *	  A session's knowledge of queues and their segments.
 *
 * Owns the cache from a queue's name to its definition, read from the tables
 * queue.queue_def and queue.segment_def.  Whoever changes a definition sends
 * a relcache invalidation of the queue's parent table; the callback only
 * marks the entry, and the next call reads the catalog again.
 *
 * A relation opened through catalog_open_segment() is locked first and
 * believed afterwards: when the lock brought news of a change, the caller
 * gets NULL and starts anew with the catalog.
 *
 * Locks: AccessShareLock on the catalog tables while reading them,
 * RowExclusiveLock on segments, in the order of their use.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "admin_spi.h"
#include "catalog.h"
#include "duration.h"
#include "readymap.h"

/* How often a place in shared memory is asked for */
#define RETRY_PLACE_USECS	USECS_PER_SEC

static HTAB *queues_by_name = NULL;

/* Some relation of the database changed since this was read */
static bool news = true;

/*
 * A relation was changed or dropped: forget what it told us.  Relcache
 * callback: no catalog access here.
 */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Queue	   *q;

	news = true;
	if (queues_by_name == NULL)
		return;
	hash_seq_init(&status, queues_by_name);
	while ((q = hash_seq_search(&status)) != NULL)
	{
		if (!OidIsValid(relid) || q->relid == relid)
			q->valid = false;
		for (int i = 0; q->valid && i < q->ntables; i++)
			if (q->segments[i].relid == relid)
				q->valid = false;
	}
}

/*
 * Called once a process, when the library is loaded.
 */
void
catalog_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/*
 * Has any relation changed since the last call?  Perhaps a queue was restored.
 */
bool
catalog_take_news(void)
{
	bool		result = news;

	news = false;
	return result;
}

/* A relation of the extension's schema, InvalidOid without it */
static Oid
catalog_relid(const char *name)
{
	Oid			schema = get_namespace_oid("queue", true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

/* Is the extension there, for anybody to see? */
bool
catalog_extension_exists(void)
{
	return OidIsValid(get_extension_oid("queue", true)) &&
		OidIsValid(catalog_relid("queue_def"));
}

/* An interval column in microseconds, 0 for null */
static int64
get_interval(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;
	Datum		value = heap_getattr(tup, attno, desc, &isnull);

	return isnull ? 0 : interval_microseconds(DatumGetIntervalP(value));
}

/* An integer column, 0 for null */
static int
get_int(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;
	Datum		value = heap_getattr(tup, attno, desc, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static Oid
get_oid(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;

	return DatumGetObjectId(heap_getattr(tup, attno, desc, &isnull));
}

/* A boolean column that is not null */
static bool
get_bool(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;

	return DatumGetBool(heap_getattr(tup, attno, desc, &isnull));
}

static char
get_char(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;

	return DatumGetChar(heap_getattr(tup, attno, desc, &isnull));
}

/* A bigint column, 0 for null */
static int64
get_bigint(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;
	Datum		value = heap_getattr(tup, attno, desc, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* The first letter of a column with one of a few words */
static char
get_letter(HeapTuple tup, TupleDesc desc, int attno)
{
	bool		isnull;
	text	   *word = DatumGetTextPP(heap_getattr(tup, attno, desc, &isnull));

	return *VARDATA_ANY(word);
}

/* A column with a queue's name, "" for null */
static void
get_name(HeapTuple tup, TupleDesc desc, int attno, char *name)
{
	bool		isnull;
	Datum		value = heap_getattr(tup, attno, desc, &isnull);

	name[0] = '\0';
	if (!isnull)
		text_to_cstring_buffer(DatumGetTextPP(value), name,
							   MAX_QUEUE_NAME + 1);
}

/* Fills an entry from its row of queue_def */
static void
read_properties(Queue *q, HeapTuple tup, TupleDesc desc)
{

	q->id = get_int(tup, desc, Anum_queue_def_id);
	q->relid = get_oid(tup, desc, Anum_queue_def_relation);
	q->sequence = get_oid(tup, desc, Anum_queue_def_ids);
	q->kind = get_letter(tup, desc, Anum_queue_def_kind);
	q->visibility_timeout =
		get_interval(tup, desc, Anum_queue_def_visibility_timeout);
	q->max_attempts = get_int(tup, desc, Anum_queue_def_max_attempts);
	get_name(tup, desc, Anum_queue_def_dead_letter, q->dead_letter);
	q->retry_delay = get_interval(tup, desc, Anum_queue_def_retry_delay);
	q->retry_backoff = get_letter(tup, desc, Anum_queue_def_retry_backoff);
	q->retry_max_delay =
		get_interval(tup, desc, Anum_queue_def_retry_max_delay);
	q->delay = get_interval(tup, desc, Anum_queue_def_delay);
	q->ttl = get_interval(tup, desc, Anum_queue_def_ttl);
	q->max_messages = get_bigint(tup, desc, Anum_queue_def_max_messages);
	q->max_bytes = get_bigint(tup, desc, Anum_queue_def_max_bytes);
	q->limited = q->max_messages > 0 || q->max_bytes > 0;
	q->overflow = get_letter(tup, desc, Anum_queue_def_overflow);
	q->max_in_flight = get_int(tup, desc, Anum_queue_def_max_in_flight);
	q->max_message_bytes =
		get_int(tup, desc, Anum_queue_def_max_message_bytes);
	q->dedup_window = get_interval(tup, desc, Anum_queue_def_dedup_window);
	q->unlogged = get_letter(tup, desc, Anum_queue_def_persistence) == 'u';
	q->single_active = get_bool(tup, desc, Anum_queue_def_single_active);
	q->fair = get_bool(tup, desc, Anum_queue_def_fair);
	q->archive = get_interval(tup, desc, Anum_queue_def_archive);
	q->enqueue_paused = get_bool(tup, desc, Anum_queue_def_enqueue_paused);
	q->dequeue_paused = get_bool(tup, desc, Anum_queue_def_dequeue_paused);
	q->priorities = get_bool(tup, desc, Anum_queue_def_priorities);
	q->tracked = q->kind == 'f' || q->fair || q->max_in_flight > 0;
}

/* Reads the row of queue_def with this key; false = there is none */
static bool
read_definition(Queue *q, const char *index, AttrNumber attno,
				RegProcedure equal, Datum key)
{
	Oid			relid = catalog_relid("queue_def");
	Relation	rel;
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple	tup;

	if (!OidIsValid(relid))
		return false;
	rel = table_open(relid, AccessShareLock);
	/* this sets the C collation, which is the name column's */
	ScanKeyInit(&skey, attno, BTEqualStrategyNumber, equal, key);
	scan = systable_beginscan(rel, catalog_relid(index), true, NULL, 1, &skey);
	tup = systable_getnext(scan);
	if (HeapTupleIsValid(tup))
	{
		bool		isnull;
		Datum		name = heap_getattr(tup, Anum_queue_def_name,
										RelationGetDescr(rel), &isnull);

		text_to_cstring_buffer(DatumGetTextPP(name), q->name,
							   sizeof(q->name));
		read_properties(q, tup, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tup);
}

/* The file of a relation, InvalidOid when the relation is gone */
RelFileNumber
catalog_relation_file(Oid relid)
{
	HeapTuple	tup = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	RelFileNumber result;

	if (!HeapTupleIsValid(tup))
		return InvalidOid;
	result = ((Form_pg_class) GETSTRUCT(tup))->relfilenode;
	ReleaseSysCache(tup);
	return result;
}

/* What segment_def calls a chain */
static int
chain_of(char letter)
{
	switch (letter)
	{
		case 'p':
			return QUEUE_PARKING_CHAIN;
		case 'a':
			return QUEUE_ARCHIVE_CHAIN;
		default:
			return QUEUE_MAIN_CHAIN;
	}
}

/* Fills a segment from its row of segment_def */
static void
read_segment(QueueSegment *seg, HeapTuple tup, TupleDesc desc)
{
	bool		isnull;
	int64		system;

	system = DatumGetInt64(heap_getattr(tup,
										Anum_segment_def_system_identifier,
										desc, &isnull));
	memset(seg, 0, sizeof(*seg));
	seg->life = get_int(tup, desc, Anum_segment_def_life);
	seg->relid = get_oid(tup, desc, Anum_segment_def_relation);
	seg->relnumber = catalog_relation_file(seg->relid);
	seg->chain = chain_of(get_char(tup, desc, Anum_segment_def_chain));
	seg->state = get_char(tup, desc, Anum_segment_def_state);
	seg->layout = get_int(tup, desc, Anum_segment_def_layout);
	seg->sealed_at = get_bigint(tup, desc, Anum_segment_def_sealed_at);
	seg->restored = system != (int64) GetSystemIdentifier() ||
		get_oid(tup, desc, Anum_segment_def_database) != MyDatabaseId;
	seg->adopted = !seg->restored &&
		get_oid(tup, desc, Anum_segment_def_relfilenode) == seg->relnumber;
}

/* Order of claims: what is parked is older; what is archived comes last */
static int
compare_segments(const void *a, const void *b)
{
	static const int rank[QUEUE_CHAINS] = {
		[QUEUE_PARKING_CHAIN] = 0,
		[QUEUE_MAIN_CHAIN] = 1,
		[QUEUE_ARCHIVE_CHAIN] = 2
	};
	const QueueSegment *x = a;
	const QueueSegment *y = b;

	if (x->chain != y->chain)
		return rank[x->chain] - rank[y->chain];
	return x->life < y->life ? -1 : 1;
}

/* Reads the queue's segments, in the order in which claims walk them */
static void
read_segments(Queue *q)
{
	Relation	rel = table_open(catalog_relid("segment_def"),
								 AccessShareLock);
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple	tup;
	int			max = 8;

	if (q->context == NULL)
		q->context = AllocSetContextCreate(TopMemoryContext, "queue segments",
										   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(q->context);
	q->ntables = q->nsegments = 0;
	q->segments = MemoryContextAlloc(q->context, max * sizeof(QueueSegment));

	ScanKeyInit(&skey, Anum_segment_def_queue_id, BTEqualStrategyNumber,
				F_INT4EQ, Int32GetDatum(q->id));
	scan = systable_beginscan(rel, catalog_relid("segment_def_pkey"), true,
							  NULL, 1, &skey);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		if (q->ntables == max)
		{
			max *= 2;
			q->segments = repalloc(q->segments, max * sizeof(QueueSegment));
		}
		read_segment(&q->segments[q->ntables], tup, RelationGetDescr(rel));
		if (!RelFileNumberIsValid(q->segments[q->ntables].relnumber))
			continue;
		if (q->segments[q->ntables++].chain != QUEUE_ARCHIVE_CHAIN)
			q->nsegments++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	qsort(q->segments, q->ntables, sizeof(QueueSegment), compare_segments);
}

/* Completes an entry whose definition was read */
static void
load(Queue *q)
{
	if (q->shared == NULL || shmem_queue_is_private(q->shared) ||
		!shmem_queue_valid(q->shared, q->id, q->relid))
	{
		QueueShared *qs = shmem_queue_assign(q->id, q->relid);

		/* that of a dropped queue of this name may be in use to the end */
		if (qs == NULL && (q->shared == NULL ||
						   !shmem_queue_is_private(q->shared) ||
						   !shmem_queue_valid(q->shared, q->id, q->relid)))
			qs = shmem_private_queue(q->id, q->relid);
		if (qs != NULL)
			q->shared = qs;
		q->retry_at = GetCurrentTimestamp() + RETRY_PLACE_USECS;
	}
	q->shared->max_in_flight = q->max_in_flight;
	if (!q->limited)
		q->shared->limit_known = false; /* nobody keeps the totals */
	if (!q->single_active &&
		pg_atomic_read_u32(&q->shared->active_pid) != 0)
		pg_atomic_write_u32(&q->shared->active_pid, 0);
	/* an invalidation that arrives while we read shows in the flag */
	q->valid = true;
	q->complete = false;
	read_segments(q);
	q->complete = true;
}

/* Makes the empty cache */
static void
init_cache(void)
{
	HASHCTL		info;

	memset(&info, 0, sizeof(info));
	info.keysize = MAX_QUEUE_NAME + 1;
	info.entrysize = sizeof(Queue);
	queues_by_name = hash_create("queues by name", 64, &info,
								 HASH_ELEM | HASH_STRINGS);
}

static void
forget_queue(Queue *q)
{
	if (q->context)
		MemoryContextDelete(q->context);
	hash_search(queues_by_name, q->name, HASH_REMOVE, NULL);
}

/*
 * Forgets all queues but those with these ids, at a time when the caller has
 * no pointer to one and is in no transaction that has used one.
 */
void
catalog_forget_others(List *ids)
{
	HASH_SEQ_STATUS status;
	Queue	   *q;

	if (queues_by_name == NULL)
		return;
	hash_seq_init(&status, queues_by_name);
	while ((q = hash_seq_search(&status)) != NULL)
	{
		if (list_member_int(ids, q->id))
			continue;
		if (q->shared != NULL && shmem_queue_is_private(q->shared))
			pfree(q->shared);
		forget_queue(q);
	}
}

/*
 * Is what we know still true?  A queue without a place in shared memory asks
 * for one again now and then.
 */
static bool
is_loaded(Queue *q)
{
	if (!q->valid || !q->complete ||
		!shmem_queue_valid(q->shared, q->id, q->relid))
		return false;
	return !shmem_queue_is_private(q->shared) ||
		GetCurrentTimestamp() < q->retry_at;
}

/* The entry of this name, read again if it changed; NULL = no such queue */
static Queue *
find_queue(const char *name)
{
	Queue	   *q;
	bool		found;

	if (queues_by_name == NULL)
		init_cache();
	AcceptInvalidationMessages();
	q = hash_search(queues_by_name, name, HASH_FIND, NULL);
	if (q != NULL && is_loaded(q))
		return q;

	if (q == NULL)
	{
		q = hash_search(queues_by_name, name, HASH_ENTER, &found);
		memset((char *) q + sizeof(q->name), 0,
			   sizeof(Queue) - sizeof(q->name));
	}
	for (int tries = 0; tries < 100; tries++)
	{
		q->valid = false;
		if (!read_definition(q, "queue_def_name_key", Anum_queue_def_name,
							 F_TEXTEQ, CStringGetTextDatum(name)))
		{
			forget_queue(q);
			return NULL;
		}
		load(q);
		if (!RelFileNumberIsValid(catalog_relation_file(q->relid)))
		{
			/* dropped by hand: no news will come of a new one */
			q->valid = false;
			q->ntables = q->nsegments = 0;
			break;
		}
		if (q->valid)
			break;
	}
	return q;
}

/*
 * The queue of this name, which must exist (42704).  argument names the
 * parameter in the error for NULL.  The result stays where it is until a
 * lookup of its own name finds no queue, its segments until a lookup of it; or
 * until catalog_forget_others().
 */
Queue *
catalog_queue(text *name, const char *argument)
{
	char		buffer[MAX_QUEUE_NAME + 1];
	Queue	   *q = NULL;

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"%s\" must not be null", argument)));
	if (VARSIZE_ANY_EXHDR(name) > 0 &&
		VARSIZE_ANY_EXHDR(name) <= MAX_QUEUE_NAME)
	{
		text_to_cstring_buffer(name, buffer, sizeof(buffer));
		q = find_queue(buffer);
	}
	if (q == NULL)
		admin_no_such_queue(text_to_cstring(name));
	return q;
}

/*
 * The queue of this name, or NULL.
 */
Queue *
catalog_queue_named(const char *name)
{
	return strlen(name) <= MAX_QUEUE_NAME ? find_queue(name) : NULL;
}

/*
 * The queue with this id, or NULL.
 */
Queue *
catalog_queue_by_id(int32 id)
{
	HASH_SEQ_STATUS status;
	Queue	   *q;
	Queue		probe;

	if (queues_by_name == NULL)
		init_cache();
	AcceptInvalidationMessages();
	hash_seq_init(&status, queues_by_name);
	while ((q = hash_seq_search(&status)) != NULL)
	{
		if (q->id == id && is_loaded(q))
		{
			hash_seq_term(&status);
			return q;
		}
	}
	memset(&probe, 0, sizeof(probe));
	if (!read_definition(&probe, "queue_def_pkey", Anum_queue_def_id, F_INT4EQ,
						 Int32GetDatum(id)))
		return NULL;
	return find_queue(probe.name);
}

/*
 * Reads a queue's definition again when it has changed.  Raises 42704 when
 * the queue is gone, also if there is a new one of its name: what was checked
 * for the old one, such as privileges, says nothing of that.
 */
Queue *
catalog_queue_reload(Queue *q)
{
	char		name[MAX_QUEUE_NAME + 1];
	Oid			relid = q->relid;

	strlcpy(name, q->name, sizeof(name));
	q = find_queue(name);
	if (q == NULL)
		admin_no_such_queue(name);
	if (q->relid != relid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("queue \"%s\" does not exist", name),
				 errdetail("It was dropped, and another one created in its "
						   "place.")));
	return q;
}

/*
 * The ids of all queues of this database, as an integer list.
 */
List *
catalog_queue_ids(void)
{
	Oid			relid = catalog_relid("queue_def");
	List	   *result = NIL;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tup;

	if (!OidIsValid(relid))
		return NIL;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
		result = lappend_int(result, get_int(tup, RelationGetDescr(rel),
											 Anum_queue_def_id));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* What SQL calls a privilege */
static const char *
privilege_name(AclMode mode)
{
	switch (mode)
	{
		case ACL_INSERT:
			return "INSERT";
		case ACL_UPDATE:
			return "UPDATE";
		case ACL_DELETE:
			return "DELETE";
		default:
			return "SELECT";
	}
}

/*
 * Raises an error unless the parent table is there and grants what it grants
 * to whole queues: the functions cannot apply policies to single messages.
 */
static void
check_parent(Queue *q)
{
	HeapTuple	tup = SearchSysCache1(RELOID, ObjectIdGetDatum(q->relid));
	bool		policies;

	if (!HeapTupleIsValid(tup))
		admin_no_such_table(q->name);
	policies = ((Form_pg_class) GETSTRUCT(tup))->relrowsecurity;
	ReleaseSysCache(tup);
	if (policies)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table of queue \"%s\" has row-level security",
						q->name),
				 errdetail("Privileges are given for a whole queue."),
				 errhint("Use ALTER TABLE ... DISABLE ROW LEVEL SECURITY.")));
}

/*
 * Raises 42501 unless the current user has the privilege on the queue's
 * parent table.  what is the function's name.
 */
void
catalog_check_access(Queue *q, AclMode mode, const char *what)
{
	check_parent(q);
	if (pg_class_aclcheck(q->relid, GetUserId(), mode) == ACLCHECK_OK)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for queue \"%s\"", q->name),
			 errdetail("%s needs the %s privilege on the queue's table.",
					   what, privilege_name(mode)),
			 errhint("Its owner can grant it with queue.grant_access().")));
}

/*
 * The segment that a receipt's life bits name, or NULL.
 */
QueueSegment *
catalog_segment_by_life(Queue *q, int life_bits)
{
	for (int i = q->nsegments - 1; i >= 0; i--)
		if ((q->segments[i].life & RECEIPT_LIFE_MASK) == life_bits &&
			q->segments[i].state != SEGMENT_FREE)
			return &q->segments[i];
	return NULL;
}

/*
 * The segment to which a chain's messages are appended, or NULL while the
 * worker has not adopted a restored or rewritten one.
 */
QueueSegment *
catalog_tail(Queue *q, int chain)
{
	for (int i = q->ntables - 1; i >= 0; i--)
		if (q->segments[i].chain == chain &&
			q->segments[i].state == SEGMENT_OPEN && q->segments[i].adopted)
			return &q->segments[i];
	return NULL;
}

/*
 * Opens and locks a segment.  NULL when it is gone, when the lock is busy and
 * wait is false, or when the catalog has changed: q->valid tells the last.
 * seg->slot is set when there is one.
 */
Relation
catalog_open_segment(Queue *q, QueueSegment *seg, bool wait)
{
	Oid			relid = seg->relid;
	Relation	rel;

	if (wait)
		LockRelationOid(relid, RowExclusiveLock);
	else if (!ConditionalLockRelationOid(relid, RowExclusiveLock))
		return NULL;
	if (!q->valid)
	{
		UnlockRelationOid(relid, RowExclusiveLock);
		return NULL;
	}
	rel = try_relation_open(relid, NoLock);
	if (rel == NULL)
	{
		UnlockRelationOid(relid, RowExclusiveLock);
		q->valid = false;
		return NULL;
	}
	if (!seg->checked)
	{
		layout_check(rel, seg->layout);
		seg->checked = true;
	}
	if (seg->slot == NULL || !map_slot_valid(seg->slot, seg->relnumber))
	{
		seg->slot = seg->chain == QUEUE_ARCHIVE_CHAIN ?
			map_tail_slot(rel, q->id) : map_slot(rel, q->id, true);
		/* cold pages may be of any lane */
		if (q->priorities)
			map_use_lane(seg->slot, MAP_TOP_LANE);
	}
	if (q->tracked && seg->slot != NULL && seg->chain != QUEUE_ARCHIVE_CHAIN)
		keys_adopt_slot(seg->slot, q->kind == 'f', q->shared,
						queue_place(q, seg, 0).page);
	return rel;
}

/*
 * The slot of a segment that is not open: good for deciding whether to open
 * it, and for nothing else.  NULL when there is none.
 */
MapSlot *
catalog_slot(Queue *q, QueueSegment *seg)
{
	if (seg->slot != NULL && !map_slot_valid(seg->slot, seg->relnumber))
		seg->slot = NULL;
	if (seg->slot == NULL)
		seg->slot = map_slot_find(seg->relnumber);
	return seg->slot;
}
