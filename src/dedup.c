/*
 * dedup.c
 *	  Finds sends that repeat the dedup_id of an earlier one.
 *
 * Owns the entries (queue, hash of the dedup_id, message id, time), one for
 * each message that was sent with a dedup_id.  They are kept apart from
 * messages, since they outlive them, and are not vacuumed but rotated: for
 * each class of windows there are two tables; new entries go to the current
 * one, and when that is older than the window the worker empties the other
 * and makes it the current one (dedup_rotate.c).
 *
 * A send waits for another running transaction that entered the same id, and
 * goes by its outcome.  What it finds does not depend on its snapshot.
 *
 * Invariants
 *	- Of two entries of one id in one table the second is not kept: the unique
 *	  index says, under the lock of its leaf page, who came second; he takes
 *	  his entry back, waits for the first and looks again.
 *	- A sender looks at the other table, enters himself into the current one,
 *	  and then makes sure that it is still the current one; if not, he does
 *	  the same in the new one.  So of two senders with one id, one of which
 *	  met the tables before a switch, the other after it, the second finds
 *	  the first: either the first had entered before the switch, or it
 *	  enters where the second does.
 *	- The clock decides, not the table: an entry older than the window does
 *	  not count, though it may still be stored.
 *	- Entries are not seen by logical decoding.
 *
 * A batch is written page by page where nobody comes in between; each of its
 * ids is put into the index by itself, and checked, in the order of hashes.  A
 * call opens each table, its index and a scan of it once.
 *
 * Locks: RowExclusiveLock on the current table and its index, to the end of
 * the transaction; AccessShareLock on the others, to the end of the call; one
 * buffer lock at a time.  Other transactions are waited for, with neither a
 * buffer's lock or pin nor a segment's lock held.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "debug.h"
#include "dedup.h"
#include "page.h"

/* A class of windows and the tables of its entries */
typedef struct DedupClass
{
	int64		longest;		/* window, in microseconds */
	const char *table[DEDUP_TABLES];
} DedupClass;

static const DedupClass classes[] = {
	{DEDUP_DEFAULT_WINDOW, {"dedup_minutes_a", "dedup_minutes_b"}},
	{USECS_PER_HOUR, {"dedup_hour_a", "dedup_hour_b"}},
	{USECS_PER_DAY, {"dedup_day_a", "dedup_day_b"}},
	{PG_INT64_MAX, {"dedup_long_a", "dedup_long_b"}}
};

StaticAssertDecl(lengthof(classes) == DEDUP_CLASSES, "classes of windows");

#define DEDUP_KEYS 3

/* One table while a call uses it, for all of its entries */
typedef struct DedupTable
{
	Relation	rel;			/* NULL: not open */
	Relation	index;
	LOCKMODE	lockmode;		/* of both */
	IndexInfo  *info;			/* NULL: nothing was inserted yet */
	SysScanDesc scan;			/* NULL: nothing was looked for yet */
	ScanKeyData key[DEDUP_KEYS];
	SnapshotData dirty;			/* the scan's */
} DedupTable;

/* One call's work */
typedef struct DedupRun
{
	Queue	   *q;				/* NULL: its definition does not matter */
	int32		queue_id;
	int			dclass;
	int64		window;
	TimestampTz now;
	DedupTable	table[DEDUP_TABLES];
} DedupRun;

/* What a look at a table found about an id */
typedef enum DedupLook
{
	DEDUP_NOTHING,
	DEDUP_DUPLICATE,
	DEDUP_CHANGED				/* something: look again */
} DedupLook;

/* How long a dedup_id counts in this queue, in microseconds */
int64
dedup_window(const Queue *q)
{
	return q->dedup_window > 0 ? q->dedup_window : DEDUP_DEFAULT_WINDOW;
}

/* Whose tables have the entries of queues with this window */
int
dedup_class(int64 window)
{
	int			dclass = 0;

	while (window > classes[dclass].longest)
		dclass++;
	return dclass;
}

/* The longest window of a class */
int64
dedup_longest_window(int dclass)
{
	return classes[dclass].longest;
}

static Oid
relation_oid(const char *name)
{
	return get_relname_relid(name, get_namespace_oid("queue", false));
}

/* A table of a class */
Oid
dedup_table(int dclass, int which)
{
	return relation_oid(classes[dclass].table[which]);
}

/*
 * The state of a class as its row in dedup_def says; at first there is none.
 */
DedupState
dedup_read_state(int dclass)
{
	Relation	rel = table_open(relation_oid("dedup_def"), AccessShareLock);
	DedupState	state = dedup_make_state(0, 0);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;

	ScanKeyInit(&key, Anum_dedup_def_class, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(dclass));
	scan = systable_beginscan(rel, relation_oid("dedup_def_pkey"), true,
							  snapshot, 1, &key);
	tup = systable_getnext(scan);
	if (HeapTupleIsValid(tup))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;
		int			current;
		TimestampTz since;

		current = DatumGetInt32(heap_getattr(tup, Anum_dedup_def_current,
											 desc, &isnull));
		since = DatumGetTimestampTz(heap_getattr(tup, Anum_dedup_def_since,
												 desc, &isnull));
		state = dedup_make_state(current & 1, since);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	return state;
}

/*
 * The state of a class now.  A database without a worker never switches.
 */
static DedupState
present_state(int dclass)
{
	pg_atomic_uint64 *shared = shmem_dedup_state(dclass);
	uint64		state;
	uint64		unknown = 0;

	if (shared == NULL)
		return dedup_read_state(dclass);
	state = pg_atomic_read_u64(shared);
	if (state != 0)
		return state;
	state = dedup_read_state(dclass);
	/* the worker may have switched since we read */
	pg_atomic_compare_exchange_u64(shared, &unknown, state);
	return pg_atomic_read_u64(shared);
}

/* Enters the dedup_id, of any length, as a hash of 128 bits */
void
dedup_set_id(DedupEntry *entry, text *dedup_id)
{
	const unsigned char *data = (unsigned char *) VARDATA_ANY(dedup_id);
	int			length = VARSIZE_ANY_EXHDR(dedup_id);

	entry->hash[0] = (int64) hash_bytes_extended(data, length, 0);
	entry->hash[1] = (int64) hash_bytes_extended(data, length,
												 entry->hash[0] | 1);
}

/*
 * Opens a table of the run's class and its index, or locks them more
 * strongly.
 */
static DedupTable *
use_table(DedupRun *run, int which, LOCKMODE lockmode)
{
	DedupTable *table = &run->table[which];

	if (table->rel != NULL && table->lockmode >= lockmode)
		return table;
	if (table->rel != NULL)
	{
		LockRelationOid(RelationGetRelid(table->rel), lockmode);
		LockRelationOid(RelationGetRelid(table->index), lockmode);
	}
	else
	{
		const char *name = classes[run->dclass].table[which];

		table->rel = table_open(relation_oid(name), lockmode);
		table->index = index_open(relation_oid(psprintf("%s_pkey", name)),
								  lockmode);
	}
	table->lockmode = lockmode;
	return table;
}

/* The table that is not current; NULL when all in it is too old to count */
static DedupTable *
use_other_table(DedupRun *run, DedupState state)
{
	if (dedup_since(state) <= run->now - run->window)
		return NULL;
	return use_table(run, 1 - dedup_current(state), AccessShareLock);
}

/* Closes the tables; those that were written to stay locked */
static void
close_tables(DedupRun *run)
{
	for (int i = 0; i < DEDUP_TABLES; i++)
	{
		DedupTable *table = &run->table[i];
		LOCKMODE	unlock = table->lockmode == AccessShareLock ?
		AccessShareLock : NoLock;

		if (table->rel == NULL)
			continue;
		if (table->scan != NULL)
			systable_endscan(table->scan);
		if (table->info != NULL)
			pfree(table->info);
		index_close(table->index, unlock);
		table_close(table->rel, unlock);
		memset(table, 0, sizeof(*table));
	}
}

/* Makes the run one for the queue's window */
static void
set_window(DedupRun *run)
{
	run->window = dedup_window(run->q);
	run->dclass = dedup_class(run->window);
	run->now = GetCurrentTimestamp();
}

/*
 * Is the definition that the run goes by still true?  Asked after the lock on
 * the current table, which alter() waits for before it moves entries.
 */
static bool
window_changed(DedupRun *run)
{
	if (run->q->valid)
		return false;
	run->q = catalog_queue_reload(run->q);
	if (dedup_window(run->q) == run->window)
		return false;
	close_tables(run);
	set_window(run);
	return true;
}

/* A column of an entry, all of which are eight bytes long or four */
static int64
entry_column(DedupTable *table, HeapTuple tup, int attno)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(tup, attno,
									  RelationGetDescr(table->rel), &isnull));
}

/*
 * Deletes an entry.  False when somebody else is at it, or it is gone.
 */
static bool
delete_entry(DedupTable *table, ItemPointer self)
{
	BlockNumber block = ItemPointerGetBlockNumber(self);
	OffsetNumber offset = ItemPointerGetOffsetNumber(self);
	TransactionId xid = GetCurrentTransactionId();
	Buffer		buffer = ReadBuffer(table->rel, block);
	Buffer		vmbuffer = InvalidBuffer;
	Page		page = BufferGetPage(buffer);
	HeapTupleData tup;
	MessageDecider decider;
	bool		live;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page_prepare_delete(table->rel, buffer, &vmbuffer);
	live = offset <= PageGetMaxOffsetNumber(page) &&
		ItemIdIsNormal(PageGetItemId(page, offset)) &&
		page_message_status(page, offset, table->rel, buffer, &tup,
							&decider) == MESSAGE_LIVE;
	if (live)
		page_delete(table->rel, buffer, &offset, 1, xid,
					GetCurrentCommandId(true), vmbuffer);
	UnlockReleaseBuffer(buffer);
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
	return live;
}

/* Puts the scan back to where it began; it has nothing pinned then */
static void
rewind_scan(DedupTable *table)
{
	SysScanDesc scan = table->scan;

	ExecClearTuple(scan->slot);
	/* the columns of the table and of its index have the same numbers */
	if (scan->irel != NULL)
		index_rescan(scan->iscan, table->key, DEDUP_KEYS, NULL, 0);
	else
		table_rescan(scan->scan, table->key);
}

/*
 * Starts to look for an id in a table, as systable_beginscan() does; but a
 * call does that only once for each table.
 */
static SysScanDesc
begin_scan(DedupRun *run, DedupTable *table, DedupEntry *entry)
{
	ScanKey		key = table->key;

	if (table->scan != NULL)
	{
		key[1].sk_argument = Int64GetDatum(entry->hash[0]);
		key[2].sk_argument = Int64GetDatum(entry->hash[1]);
		rewind_scan(table);
		return table->scan;
	}
	ScanKeyInit(&key[0], Anum_dedup_queue_id, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(run->queue_id));
	ScanKeyInit(&key[1], Anum_dedup_hash1, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(entry->hash[0]));
	ScanKeyInit(&key[2], Anum_dedup_hash2, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(entry->hash[1]));
	InitDirtySnapshot(table->dirty);
	table->scan = systable_beginscan(table->rel,
									 RelationGetRelid(table->index), true,
									 &table->dirty, DEDUP_KEYS, key);
	return table->scan;
}

/*
 * Looks for the id in a table, whoever entered it and whether or not that is
 * committed, but for the entry at own.  Waits for who is about to enter or
 * delete it; deletes an entry that is too old if asked to.
 */
static DedupLook
look_up(DedupRun *run, DedupTable *table, DedupEntry *entry, ItemPointer own,
		bool clean)
{
	DedupLook	result = DEDUP_NOTHING;
	TransactionId other = InvalidTransactionId;
	SnapshotData *dirty = &table->dirty;
	ItemPointerData self;
	SysScanDesc scan = begin_scan(run, table, entry);
	HeapTuple	tup;

	while (result == DEDUP_NOTHING &&
		   HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		if (own != NULL && ItemPointerEquals(own, &tup->t_self))
			continue;
		self = tup->t_self;
		other = TransactionIdIsValid(dirty->xmin) ? dirty->xmin : dirty->xmax;
		if (TransactionIdIsValid(other))
			result = DEDUP_CHANGED;
		else if (entry_column(table, tup, Anum_dedup_entered_at) >
				 run->now - run->window)
		{
			entry->message_id = entry_column(table, tup,
											 Anum_dedup_message_id);
			result = DEDUP_DUPLICATE;
		}
		else if (clean)
			result = DEDUP_CHANGED;
	}
	rewind_scan(table);

	if (TransactionIdIsValid(other))
		XactLockTableWait(other, table->rel, &self, XLTW_InsertIndex);
	else if (result == DEDUP_CHANGED)
		(void) delete_entry(table, &self);
	return result;
}

/*
 * Takes back an entry that this call has made.
 */
static void
withdraw(DedupTable *table, ItemPointer self)
{
	Buffer		buffer = ReadBuffer(table->rel,
									ItemPointerGetBlockNumber(self));

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page_withdraw(table->rel, buffer, ItemPointerGetOffsetNumber(self));
	UnlockReleaseBuffer(buffer);
}

/* Sets the columns of an entry that its table and the index have first */
static void
set_key(DedupRun *run, DedupEntry *entry, Datum *values)
{
	values[Anum_dedup_queue_id - 1] = Int32GetDatum(run->queue_id);
	values[Anum_dedup_hash1 - 1] = Int64GetDatum(entry->hash[0]);
	values[Anum_dedup_hash2 - 1] = Int64GetDatum(entry->hash[1]);
}

/* Makes the tuple of an entry */
static HeapTuple
form_entry(DedupRun *run, DedupTable *table, DedupEntry *entry,
		   TimestampTz entered_at)
{
	Datum		values[Natts_dedup];
	bool		nulls[Natts_dedup] = {0};

	set_key(run, entry, values);
	values[Anum_dedup_message_id - 1] = Int64GetDatum(entry->message_id);
	values[Anum_dedup_entered_at - 1] = TimestampTzGetDatum(entered_at);
	return heap_form_tuple(RelationGetDescr(table->rel), values, nulls);
}

/*
 * Puts a tuple that is in the table into its index.  False when somebody was
 * before us: then it is to be taken back.
 */
static bool
insert_index(DedupRun *run, DedupTable *table, DedupEntry *entry,
			 ItemPointer self)
{
	Datum		values[DEDUP_KEYS];
	bool		nulls[DEDUP_KEYS] = {0};

	if (table->info == NULL)
		table->info = BuildIndexInfo(table->index);
	set_key(run, entry, values);
	return index_insert(table->index, values, nulls, self, table->rel,
						UNIQUE_CHECK_PARTIAL, false, table->info);
}

/*
 * Enters the id into a table.  False, having done nothing, when somebody was
 * before us.
 */
static bool
insert(DedupRun *run, DedupTable *table, DedupEntry *entry,
	   TimestampTz entered_at, ItemPointer self)
{
	HeapTuple	tup = form_entry(run, table, entry, entered_at);

	heap_insert(table->rel, tup, GetCurrentCommandId(true),
				HEAP_INSERT_NO_LOGICAL, NULL);
	*self = tup->t_self;
	heap_freetuple(tup);
	if (insert_index(run, table, entry, self))
		return true;
	withdraw(table, self);
	return false;
}

/* Puts tuples into a table, but not into its index: page by page */
static void
insert_tuples(DedupTable *table, HeapTuple *tuples, int n)
{
	TransactionId xid = GetCurrentTransactionId();
	CommandId	cid = GetCurrentCommandId(true);
	Buffer		vmbuffer = InvalidBuffer;
	int			done = 0;

	while (done < n)
	{
		Buffer		buffer = compat_buffer_for_tuple(table->rel,
													 tuples[done]->t_len,
													 &vmbuffer);
		int			placed = page_insert(table->rel, buffer, tuples + done,
										 n - done, xid, cid);

		UnlockReleaseBuffer(buffer);
		if (placed == 0)
		{
			/* VACUUM has been there */
			heap_insert(table->rel, tuples[done], cid, HEAP_INSERT_NO_LOGICAL,
						NULL);
			placed = 1;
		}
		done += placed;
	}
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
}

/*
 * Enters one id, or finds who was before.  False when it must be tried again.
 */
static bool
try_to_enter(DedupRun *run, DedupEntry *entry)
{
	DedupState	state = present_state(run->dclass);
	DedupTable *table;
	ItemPointerData self[DEDUP_TABLES];
	bool		entered[DEDUP_TABLES] = {0};
	DedupLook	look;

	entry->duplicate = false;
	table = use_other_table(run, state);
	if (table != NULL)
	{
		look = look_up(run, table, entry, NULL, false);
		if (look != DEDUP_NOTHING)
			return entry->duplicate = look == DEDUP_DUPLICATE;
	}
	for (;;)
	{
		int			current = dedup_current(state);

		table = use_table(run, current, RowExclusiveLock);
		if (!entered[1 - current] && window_changed(run))
			return false;
		look = look_up(run, table, entry,
					   entered[current] ? &self[current] : NULL, true);
		QUEUE_DEBUG_POINT("dedup");
		if (look == DEDUP_NOTHING && !entered[current])
			entered[current] = insert(run, table, entry, run->now,
										&self[current]);
		if (look != DEDUP_NOTHING || !entered[current])
			break;

		pg_memory_barrier();
		if (present_state(run->dclass) == state)
			return true;
		state = present_state(run->dclass);
	}
	for (int i = 0; i < DEDUP_TABLES; i++)
		if (entered[i])
			withdraw(&run->table[i], &self[i]);
	return entry->duplicate = look == DEDUP_DUPLICATE;
}

/* By hash, so that two batches wait for each other in one direction only */
static int
compare_entries(const void *a, const void *b)
{
	const DedupEntry *x = a;
	const DedupEntry *y = b;

	for (int i = 0; i < 2; i++)
		if (x->hash[i] != y->hash[i])
			return x->hash[i] < y->hash[i] ? -1 : 1;
	return x->index - y->index;
}

/* Is it the id of the entry before this one? */
static bool
is_repeated(DedupEntry *entries, int i)
{
	return i > 0 && memcmp(entries[i].hash, entries[i - 1].hash,
						   sizeof(entries[i].hash)) == 0;
}

/*
 * Looks for an id that we have not entered in both tables; other is NULL where
 * that cannot have it.  Waits until it is clear whether it is there.
 */
static void
look_up_first(DedupRun *run, DedupTable *other, DedupTable *current,
			  DedupEntry *entry)
{
	DedupLook	look;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		look = DEDUP_NOTHING;
		if (other != NULL)
			look = look_up(run, other, entry, NULL, false);
		if (look == DEDUP_NOTHING)
			look = look_up(run, current, entry, NULL, true);
		if (look != DEDUP_CHANGED)
			break;
		run->now = GetCurrentTimestamp();
	}
	entry->duplicate = entry->settled = look == DEDUP_DUPLICATE;
}

/*
 * Enters a batch, as far as nobody comes in between: first looks for all ids,
 * then writes the entries of all that are new, page by page, then puts one
 * after the other into the index.  It stops, and takes back what is not in
 * the index yet, when somebody has entered an id meanwhile: who waits for him
 * must not have entered a later id.  Says which entries it has settled.
 */
static void
enter_batch(DedupRun *run, DedupEntry *entries, int n)
{
	DedupState	state = present_state(run->dclass);
	DedupTable *other = use_other_table(run, state);
	DedupEntry **new = palloc(n * sizeof(DedupEntry *));
	HeapTuple  *tuples = palloc(n * sizeof(HeapTuple));
	DedupTable *table;
	int			nnew = 0;
	bool		go_on = true;

	table = use_table(run, dedup_current(state), RowExclusiveLock);
	if (window_changed(run))
		return;
	for (int i = 0; i < n; i++)
	{
		if (is_repeated(entries, i))
			continue;
		look_up_first(run, other, table, &entries[i]);
		if (entries[i].settled)
			continue;
		new[nnew] = &entries[i];
		tuples[nnew++] = form_entry(run, table, &entries[i], run->now);
	}
	QUEUE_DEBUG_POINT("dedup");
	insert_tuples(table, tuples, nnew);
	for (int i = 0; i < nnew; i++)
	{
		ItemPointer self = &tuples[i]->t_self;

		if (go_on && insert_index(run, table, new[i], self))
		{
			pg_memory_barrier();
			new[i]->settled = present_state(run->dclass) == state;
		}
		go_on = new[i]->settled;
		if (!go_on)
			withdraw(table, self);
		heap_freetuple(tuples[i]);
	}
	pfree(tuples);
	pfree(new);
}

/*
 * Enters the dedup_ids of new messages.  Of each that is there already, be it
 * earlier in the batch, it says so and returns the id of the first message.
 * Sorts the entries.  Waits for other transactions that have entered one of
 * them; a rollback takes the entries back.
 */
void
dedup_enter(Queue *q, DedupEntry *entries, int n)
{
	DedupRun	run = {.q = q,.queue_id = q->id};

	set_window(&run);
	qsort(entries, n, sizeof(DedupEntry), compare_entries);
	for (int i = 0; i < n; i++)
		entries[i].settled = false;
	if (n > 1)
		enter_batch(&run, entries, n);
	for (int i = 0; i < n; i++)
	{
		int64		message_id = entries[i].message_id;

		if (entries[i].settled)
			continue;
		if (is_repeated(entries, i))
		{
			entries[i].message_id = entries[i - 1].message_id;
			entries[i].duplicate = true;
			continue;
		}
		while (!try_to_enter(&run, &entries[i]))
		{
			CHECK_FOR_INTERRUPTS();
			entries[i].message_id = message_id;
			run.now = GetCurrentTimestamp();
		}
	}
	close_tables(&run);
}

/*
 * Deletes the queue's entries in one table but those others work on.  First
 * enters them into the current table of another class, if it is given.
 */
static void
empty_table(DedupRun *from, int which, DedupRun *to)
{
	DedupTable *table = use_table(from, which, RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tup;

	ScanKeyInit(&key, Anum_dedup_queue_id, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(from->queue_id));
	scan = systable_beginscan(table->rel, RelationGetRelid(table->index), true,
							  snapshot, 1, &key);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (to != NULL)
		{
			int			current = dedup_current(present_state(to->dclass));
			DedupEntry	entry;
			ItemPointerData self;

			entry.hash[0] = entry_column(table, tup, Anum_dedup_hash1);
			entry.hash[1] = entry_column(table, tup, Anum_dedup_hash2);
			entry.message_id = entry_column(table, tup,
											Anum_dedup_message_id);
			(void) insert(to, use_table(to, current, RowExclusiveLock), &entry,
						  entry_column(table, tup, Anum_dedup_entered_at),
						  &self);
		}
		(void) delete_entry(table, &tup->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/*
 * Deletes all entries of a queue, as part of the transaction.
 */
void
dedup_forget(int32 queue_id)
{
	for (int dclass = 0; dclass < (int) lengthof(classes); dclass++)
	{
		DedupRun	run = {.queue_id = queue_id,.dclass = dclass};

		for (int which = 0; which < DEDUP_TABLES; which++)
			empty_table(&run, which, NULL);
		close_tables(&run);
	}
}

/*
 * The queue gets another window with this transaction: moves its entries when
 * that is of another class.  Waits for transactions that have sent with a
 * dedup_id to a queue of the old class, and keeps others from it.
 */
void
dedup_move(int32 queue_id, int64 old_window, int64 new_window)
{
	DedupRun	from = {.queue_id = queue_id};
	DedupRun	to = {.queue_id = queue_id};
	int			current;

	from.dclass = dedup_class(old_window);
	to.dclass = dedup_class(new_window);
	if (from.dclass == to.dclass)
		return;
	for (int which = 0; which < DEDUP_TABLES; which++)
		LockRelationOid(dedup_table(from.dclass, which),
						ShareRowExclusiveLock);
	/* what is in the current table counts, the other may be too old */
	current = dedup_current(present_state(from.dclass));
	empty_table(&from, current, &to);
	empty_table(&from, 1 - current, &to);
	close_tables(&from);
	close_tables(&to);
}
