/*
 * rotate.c
 *	  Opens, drains, parks and truncates segments; for the worker.
 *
 * A segment is filled once, drained, and truncated.  Nothing is vacuumed.
 * Owns the decisions when a chain needs a new segment, when an old one may be
 * emptied, and the moving of stragglers to the parking chain.
 *
 * Invariants
 *	- Sealed is final: no insert is made into a sealed segment.
 *	- A segment is truncated when it is sealed, a walk found every tuple dead,
 *	  no insert began since (slot->appends), and either no snapshot can see the
 *	  newest of them or the grace is over: a dump that took its snapshot before
 *	  an ack and reads the queue after it has the message or its result.
 *	- A straggler is deleted first and copied as it was then; a consumer that
 *	  holds its lease reaches it through the forwarding table.
 *
 * Locks: never waits for one.  ShareUpdateExclusiveLock on the parent where
 * rows of the catalog tables are written, before those on segments.
 * AccessExclusiveLock on a segment and its TOAST table is asked for only when
 * nobody is in the way, since a failed try costs an xid and a WAL record.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/multixact.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/storage.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

#include "admin.h"
#include "append.h"
#include "archive.h"
#include "catalog_rows.h"
#include "debug.h"
#include "guc.h"
#include "limits.h"
#include "look.h"
#include "page.h"
#include "readymap.h"
#include "rotate.h"
#include "transfer.h"

/* A small queue's segment is closed at this size when it is mostly drained */
#define SMALL_SEGMENT_BYTES (1024 * 1024)

/* No segment that fits its size is closed sooner than this after the last */
#define LEAST_AGE_USECS		(5 * USECS_PER_SEC)

/* A segment is mostly drained when less than one in this many bytes lives */
#define MOSTLY_DRAINED		8

/* Messages moved in one transaction */
#define PARK_BATCH			10000

/* Bytes on disk of a segment, with what it keeps out of line */
static int64
segment_bytes(Relation rel)
{
	int64		blocks = RelationGetNumberOfBlocks(rel);

	if (OidIsValid(rel->rd_rel->reltoastrelid))
	{
		Relation	toast = try_relation_open(rel->rd_rel->reltoastrelid,
											  AccessShareLock);

		if (toast != NULL)
		{
			blocks += RelationGetNumberOfBlocks(toast);
			relation_close(toast, AccessShareLock);
		}
	}
	return blocks * BLCKSZ;
}

static int64
live_messages(MapSlot *slot)
{
	return pg_atomic_read_u64(&slot->ready) +
		pg_atomic_read_u64(&slot->delayed) +
		pg_atomic_read_u64(&slot->leased) + pg_atomic_read_u64(&slot->dead);
}

/* Are the facts of all pages known and up to date? */
static bool
facts_known(MapSlot *slot)
{
	return pg_atomic_read_u32(&slot->cold) == 0 &&
		pg_atomic_read_u32(&slot->stale) == 0 && slot->ndeciders == 0 &&
		!slot->more_deciders;
}

/*
 * Should the open segment be closed and a new one opened?
 */
bool
rotate_wants_segment(Queue *q, QueueSegment *seg)
{
	MapSlot    *slot = catalog_slot(q, seg);
	Relation	rel;
	int64		bytes;
	bool		wanted = false;

	if (seg->state != SEGMENT_OPEN || !seg->adopted)
		return false;
	rel = catalog_open_segment(q, seg, false);
	if (rel == NULL)
		return false;
	bytes = segment_bytes(rel);
	if (seg->chain == QUEUE_ARCHIVE_CHAIN)
		wanted = archive_wants_segment(q, rel, bytes);
	relation_close(rel, RowExclusiveLock);
	if (bytes >= (int64) queue_segment_size * 1024)
		return true;
	if (seg->chain == QUEUE_ARCHIVE_CHAIN)
		return wanted;
	return bytes >= SMALL_SEGMENT_BYTES && slot != NULL && facts_known(slot) &&
		(int64) pg_atomic_read_u64(&slot->bytes) < bytes / MOSTLY_DRAINED &&
		GetCurrentTimestamp() - slot->assigned_at > LEAST_AGE_USECS;
}

/* Takes the leases of a restored page away, without a failure */
static void
clear_leases(Relation rel, MapSlot *slot, BlockNumber block)
{
	Buffer		buffer = ReadBuffer(rel, block);
	PageLook	look;
	PageWrite	write = {0};
	HeapTupleData tup;
	TimestampTz now = GetCurrentTimestamp();

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	look_begin(&look, rel, slot, buffer);
	while (look_next(&look, &tup))
	{
		MessageHead *head = message_head(tup.t_data);

		if (head->lease != 0)
		{
			if (!write.begun)
				page_write_begin(&write, rel, buffer);
			head = page_write_head(&write, look.offset);
			head->lease = 0;
			head->holder = 0;
			head->visible_at = Min(head->visible_at, now);
		}
		look_count(&look, head, tup.t_len, now);
	}
	if (write.begun)
		page_write_end(&write);
	look_end(&look);
	UnlockReleaseBuffer(buffer);
}

/*
 * Takes over a segment whose file is not the one its row was written for.
 * After a restore its leases are those of another server and are cleared;
 * nobody claims from it or settles in it before.  After a rewrite they run
 * out: receipts name the old addresses, and no two messages share a token.
 * Returns false when it must be tried again.
 */
bool
rotate_adopt(Queue *q, QueueSegment *seg)
{
	int32		id = q->id;
	int32		life = seg->life;

	/* no lease is in the archive */
	if (seg->restored && seg->chain != QUEUE_ARCHIVE_CHAIN)
	{
		Relation	rel = catalog_open_segment(q, seg, false);
		BlockNumber nblocks;

		if (rel == NULL)
			return false;
		nblocks = RelationGetNumberOfBlocks(rel);
		for (BlockNumber block = 0; block < nblocks; block++)
		{
			CHECK_FOR_INTERRUPTS();
			clear_leases(rel, seg->slot, block);
		}
		relation_close(rel, RowExclusiveLock);
	}
	return admin_adopt_segment(id, life);
}

/* Is every tuple of the page dead?  Notes the newest deleter. */
static bool
page_is_drained(Relation rel, BlockNumber block, TransactionId *newest)
{
	Buffer		buffer = ReadBuffer(rel, block);
	Page		page = BufferGetPage(buffer);
	OffsetNumber max;
	bool		drained = true;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	max = PageIsNew(page) ? 0 : PageGetMaxOffsetNumber(page);
	for (OffsetNumber offset = 1; drained && offset <= max; offset++)
	{
		HeapTupleData tup;
		MessageDecider decider;
		TransactionId xmax;

		if (!ItemIdIsNormal(PageGetItemId(page, offset)))
			continue;
		drained = page_message_status(page, offset, rel, buffer, &tup,
									  &decider) == MESSAGE_GONE;
		if (!drained || (tup.t_data->t_infomask & HEAP_XMAX_INVALID))
			continue;
		xmax = HeapTupleHeaderGetUpdateXid(tup.t_data);
		if (TransactionIdIsNormal(xmax) &&
			(!TransactionIdIsValid(*newest) ||
			 TransactionIdFollows(xmax, *newest)))
			*newest = xmax;
	}
	UnlockReleaseBuffer(buffer);
	return drained;
}

/* Walks over the whole segment; notes what was found in the slot */
static void
verify_drained(Relation rel, MapSlot *slot)
{
	TransactionId newest = InvalidTransactionId;
	uint32		appends = pg_atomic_read_u32(&slot->appends);
	BlockNumber nblocks;

	/* what is appended from now on is not counted */
	pg_memory_barrier();
	QUEUE_DEBUG_POINT("counted");
	nblocks = RelationGetNumberOfBlocks(rel);
	for (BlockNumber block = 0; block < nblocks; block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!page_is_drained(rel, block, &newest))
			return;
	}
	slot->drained_appends = appends;
	slot->newest_deleter = newest;
	slot->drained_at = GetCurrentTimestamp();
	QUEUE_DEBUG_POINT("verified");
}

/*
 * The time of all that is in an archive segment is over: as if it had been
 * deleted by the transactions of this moment.
 */
static void
note_expired(MapSlot *slot)
{
	slot->drained_appends = pg_atomic_read_u32(&slot->appends);
	slot->newest_deleter = ReadNextTransactionId();
	TransactionIdRetreat(slot->newest_deleter);
	slot->drained_at = GetCurrentTimestamp();
}

/*
 * Is the sealed segment drained, or of the archive and its time over, and
 * nobody can want to read what was in it?
 */
bool
rotate_drained(Queue *q, QueueSegment *seg)
{
	MapSlot    *slot;
	Relation	rel;
	TransactionId horizon;

	if (seg->state != SEGMENT_SEALED || !seg->adopted)
		return false;
	if (seg->chain == QUEUE_ARCHIVE_CHAIN && !archive_expired(q, seg))
	{
		archive_release_slot(q, seg);
		return false;
	}
	rel = catalog_open_segment(q, seg, false);
	if (rel == NULL)
		return false;
	slot = seg->slot;
	if (slot == NULL || !facts_known(slot) || live_messages(slot) > 0)
	{
		relation_close(rel, RowExclusiveLock);
		return false;
	}
	if (slot->drained_at == 0 ||
		slot->drained_appends != pg_atomic_read_u32(&slot->appends))
	{
		slot->drained_at = 0;
		if (seg->chain == QUEUE_ARCHIVE_CHAIN)
			note_expired(slot);
		else
			verify_drained(rel, slot);
	}
	horizon = GetOldestNonRemovableTransactionId(rel);
	relation_close(rel, RowExclusiveLock);

	if (slot->drained_at == 0)
		return false;
	if (!TransactionIdIsValid(slot->newest_deleter) ||
		TransactionIdPrecedes(slot->newest_deleter, horizon))
		return true;
	return queue_truncate_grace >= 0 &&
		GetCurrentTimestamp() - slot->drained_at >
		(int64) queue_truncate_grace * USECS_PER_SEC;
}

/*
 * Would an AccessExclusiveLock have to wait?
 */
bool
rotate_somebody_in_the_way(Oid relid)
{
	LOCKTAG		tag;
	int			count;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	(void) GetLockConflicts(&tag, AccessExclusiveLock, &count);
	return count > 0;
}

/* Locks a segment, its TOAST table and that one's indexes, or nothing */
static bool
lock_for_truncation(Oid relid, Relation *rel, List **toast)
{
	List	   *wanted = NIL;
	ListCell   *lc;
	Relation	probe = try_relation_open(relid, AccessShareLock);

	if (probe == NULL)
		return false;
	wanted = list_make1_oid(relid);
	if (OidIsValid(probe->rd_rel->reltoastrelid))
	{
		Relation	toastrel = try_relation_open(probe->rd_rel->reltoastrelid,
												 AccessShareLock);

		if (toastrel != NULL)
		{
			wanted = lappend_oid(wanted, RelationGetRelid(toastrel));
			wanted = list_concat(wanted, RelationGetIndexList(toastrel));
			relation_close(toastrel, AccessShareLock);
		}
	}
	relation_close(probe, AccessShareLock);

	foreach(lc, wanted)
		if (rotate_somebody_in_the_way(lfirst_oid(lc)))
			return false;
	foreach(lc, wanted)
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessExclusiveLock))
			return false;		/* the end of the transaction unlocks */
	*rel = try_relation_open(relid, NoLock);
	*toast = list_copy_tail(wanted, 1);
	return *rel != NULL;
}

/* Pages of the first of a list of relations, the TOAST table */
static BlockNumber
toast_blocks(List *toast)
{
	Relation	rel;
	BlockNumber nblocks;

	if (toast == NIL)
		return 0;
	rel = relation_open(linitial_oid(toast), NoLock);
	nblocks = RelationGetNumberOfBlocks(rel);
	relation_close(rel, NoLock);
	return nblocks;
}

/*
 * Gives the segment and its TOAST table new, empty files.  In place is
 * cheaper and writes no catalog row, but would leave the TOAST index broken if
 * the server crashed in between.
 */
static void
new_files(Relation rel)
{
	ReindexParams params = {0};
	Oid			relid = RelationGetRelid(rel);
	Relation	toast;

	compat_set_new_file(rel);
	toast = relation_open(rel->rd_rel->reltoastrelid, NoLock);
	compat_set_new_file(toast);
	relation_close(toast, NoLock);
	relation_close(rel, NoLock);
	compat_reindex(relid, REINDEX_REL_PROCESS_TOAST, &params);
}

/*
 * Keeps everybody else from writing the queue's rows in the catalog tables, to
 * the end of the transaction.  Returns false when that would have to wait, or
 * the queue has changed.
 */
static bool
lock_parent(Queue *q)
{
	return ConditionalLockRelationOid(q->relid, ShareUpdateExclusiveLock) &&
		q->valid;
}

/* Marks the segment as free, under its present file */
static void
mark_free(int32 queue_id, int32 life)
{
	CatalogRows rows;

	CommandCounterIncrement();
	rows_open(&rows, "segment_def", queue_id);
	while (rows_next(&rows))
	{
		Oid			relid;

		if (DatumGetInt32(rows_get(&rows, Anum_segment_def_life)) != life)
			continue;
		relid = DatumGetObjectId(rows_get(&rows, Anum_segment_def_relation));
		rows_set(&rows, Anum_segment_def_state, CharGetDatum(SEGMENT_FREE));
		rows_set(&rows, Anum_segment_def_relfilenode,
				 ObjectIdGetDatum(catalog_relation_file(relid)));
		rows_update(&rows);
	}
	rows_close(&rows);
}

/*
 * Truncates a segment that rotate_drained() named, in the current
 * transaction, which must end soon.  Returns false when somebody is in the
 * way, or used the segment meanwhile.
 */
bool
rotate_truncate(Queue *q, QueueSegment *seg)
{
	int32		id = q->id;
	int32		life = seg->life;
	Oid			parent = q->relid;
	MapSlot    *slot = catalog_slot(q, seg);
	Relation	rel;
	List	   *toast;

	QUEUE_DEBUG_POINT("drained");
	if (slot == NULL || !lock_parent(q) ||
		!lock_for_truncation(seg->relid, &rel, &toast))
		return false;

	/* who had the segment open has told the map before his lock went */
	if (compat_rel_number(rel) != seg->relnumber ||
		!map_slot_valid(slot, seg->relnumber) ||
		slot->drained_appends != pg_atomic_read_u32(&slot->appends) ||
		!facts_known(slot) || live_messages(slot) > 0)
	{
		relation_close(rel, NoLock);
		return false;
	}

	map_slot_forget(slot);
	if (toast_blocks(toast) > 0)
		new_files(rel);
	else
	{
		RelationTruncate(rel, 0);
		relation_close(rel, NoLock);
	}
	mark_free(id, life);
	CacheInvalidateRelcacheByRelid(parent);
	return true;
}

/*
 * Do a few messages that are not ready keep the segment from being drained?
 */
bool
rotate_wants_parking(Queue *q, QueueSegment *seg)
{
	MapSlot    *slot = catalog_slot(q, seg);
	uint64		size;

	if (seg->state != SEGMENT_SEALED || seg->chain == QUEUE_ARCHIVE_CHAIN ||
		!seg->adopted || slot == NULL || !facts_known(slot))
		return false;
	if (live_messages(slot) == 0 || pg_atomic_read_u64(&slot->ready) > 0)
		return false;
	/* moved, a message would come before or after others of its key */
	if (q->kind == 'f' && (pg_atomic_read_u64(&slot->delayed) > 0 ||
						   pg_atomic_read_u64(&slot->leased) > 0))
		return false;
	size = (uint64) pg_atomic_read_u32(&slot->npages) * BLCKSZ;
	return pg_atomic_read_u64(&slot->bytes) < size / MOSTLY_DRAINED;
}

/* The stragglers of one segment on their way to another */
typedef struct Move
{
	Transfer	t;
	HeapTuple	tuple[PARK_BATCH];
	int64		receipt[PARK_BATCH];	/* before the move, 0 = not leased */
} Move;

/* The leases of moved messages count at their new place at once */
static void
register_leases(Move *m, Queue *q, int32 life)
{
	QueueSegment *seg = catalog_segment_by_life(q, life & RECEIPT_LIFE_MASK);

	for (int i = 0; seg != NULL && i < m->t.n; i++)
	{
		HeapTuple	tup = m->tuple[i];
		KeyPlace	place;
		KeyPage		keys;

		if (m->receipt[i] == 0)
			continue;
		place = queue_place(q, seg, ItemPointerGetBlockNumber(&tup->t_self));
		keys_page_begin(&keys, &place);
		(void) keys_add(&keys, ItemPointerGetOffsetNumber(&tup->t_self),
						keys_hash(tup->t_data, tup->t_len), KEY_LEASED);
		keys_changed(&keys);
	}
}

/*
 * Every live message is a straggler.  In a fifo queue only dead ones are:
 * another, moved, would come before or after those of its key.
 */
static bool
is_straggler(Transfer *t, HeapTuple tup)
{
	return t->q->kind != 'f' || MESSAGE_IS_DEAD(message_head(tup->t_data));
}

/* Notes the receipts of what was taken; returns the earliest deadline */
static TimestampTz
note_receipts(Move *m)
{
	TimestampTz due = QUEUE_NO_DUE;

	for (int i = 0; i < m->t.n; i++)
	{
		MessageHead *head = message_head(m->tuple[i]->t_data);
		ItemPointer tid = &m->tuple[i]->t_self;

		m->receipt[i] = head->lease == 0 ? 0 :
			receipt_encode(m->t.seg->life, ItemPointerGetBlockNumber(tid),
						   ItemPointerGetOffsetNumber(tid), head->lease);
		due = Min(due, head->visible_at);
	}
	return due;
}

/* A receipt from before the move, and the one that fits now */
typedef struct Forward
{
	int64		from;
	int64		to;
} Forward;

/* By the receipt from before */
static int
compare_forwards(const void *a, const void *b)
{
	int64		x = ((const Forward *) a)->from;
	int64		y = ((const Forward *) b)->from;

	return x < y ? -1 : x > y;
}

/* What becomes of a receipt, NULL when its message was not moved */
static Forward *
find_forward(Forward *forwards, int n, int64 receipt)
{
	Forward		key = {receipt, 0};

	return bsearch(&key, forwards, n, sizeof(Forward), compare_forwards);
}

/* The receipts of the leased messages, in their order */
static Forward *
list_forwards(Move *m, int32 life, int *n)
{
	Forward    *forwards = palloc((m->t.n + 1) * sizeof(Forward));

	*n = 0;
	for (int i = 0; i < m->t.n; i++)
	{
		ItemPointer tid = &m->tuple[i]->t_self;

		if (m->receipt[i] == 0)
			continue;
		forwards[*n].from = m->receipt[i];
		forwards[*n].to =
			receipt_encode(life, ItemPointerGetBlockNumber(tid),
						   ItemPointerGetOffsetNumber(tid),
						   message_head(m->tuple[i]->t_data)->lease);
		(*n)++;
	}
	qsort(forwards, *n, sizeof(Forward), compare_forwards);
	return forwards;
}

/* Lets receipts from before the move reach the messages */
static void
forward_receipts(Move *m, int32 queue_id, int32 life)
{
	int			n;
	Forward    *forwards = list_forwards(m, life, &n);
	CatalogRows rows;

	if (n == 0)
		return;
	rows_open(&rows, "forwarding", queue_id);
	while (rows_next(&rows))
	{
		int64		from = DatumGetInt64(rows_get(&rows,
												  Anum_forwarding_receipt));
		int64		to = DatumGetInt64(rows_get(&rows,
												Anum_forwarding_moved_to));
		Forward    *next = find_forward(forwards, n, to);

		if (find_forward(forwards, n, from) != NULL)
			rows_delete(&rows); /* of another lease, long ago */
		else if (next != NULL)
		{
			rows_set(&rows, Anum_forwarding_moved_to, Int64GetDatum(next->to));
			rows_update(&rows);
		}
	}
	for (int i = 0; i < n; i++)
	{
		rows_set(&rows, Anum_forwarding_queue_id, Int32GetDatum(queue_id));
		rows_set(&rows, Anum_forwarding_receipt,
				 Int64GetDatum(forwards[i].from));
		rows_set(&rows, Anum_forwarding_moved_to,
				 Int64GetDatum(forwards[i].to));
		rows_insert(&rows);
	}
	rows_close(&rows);
}

/* Locks the segment that is appended to, to the end of the transaction */
static bool
lock_tail(Queue *q, int chain)
{
	QueueSegment *seg = catalog_tail(q, chain);
	Relation	rel = seg == NULL ? NULL : catalog_open_segment(q, seg, false);

	if (rel == NULL)
		return false;
	relation_close(rel, NoLock);
	return true;
}

/*
 * Moves the live messages of a sealed segment to the parking chain, up to a
 * batch, in the current transaction.  Returns how many were moved.
 */
int64
rotate_park(Queue *q, QueueSegment *seg)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "queue parking",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Move	   *m = palloc0(sizeof(Move));
	int32		id = q->id;
	int32		life;
	int64		moved;
	BlockNumber nblocks;
	TimestampTz due;

	m->t.q = q;
	m->t.seg = seg;
	m->t.wanted = is_straggler;
	m->t.max = PARK_BATCH;
	m->t.tuple = m->tuple;
	if (lock_parent(q) && lock_tail(q, QUEUE_PARKING_CHAIN))
		m->t.rel = catalog_open_segment(q, seg, false);
	if (m->t.rel == NULL)
	{
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		return 0;
	}
	nblocks = RelationGetNumberOfBlocks(m->t.rel);
	for (BlockNumber block = 0; block < nblocks && m->t.n < PARK_BATCH;
		 block++)
	{
		CHECK_FOR_INTERRUPTS();
		if (map_page_has_messages(seg->slot, block))
			transfer_take(&m->t, block);
	}
	relation_close(m->t.rel, NoLock);

	due = note_receipts(m);
	moved = m->t.n;
	if (moved > 0)
	{
		QUEUE_DEBUG_POINT("unparked");
		PushActiveSnapshot(GetTransactionSnapshot());
		life = append_messages(q, QUEUE_PARKING_CHAIN, TXN_MOVED_IN, m->tuple,
							   moved, due);
		forward_receipts(m, id, life);
		if (q->tracked)
			register_leases(m, q, life);
		limits_note_moved_within(q, m->tuple, moved);
		PopActiveSnapshot();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return moved;
}

/* Does the receipt still name a lease? */
static bool
lease_exists(Queue *q, int64 receipt)
{
	Receipt		r = receipt_decode(receipt);
	QueueSegment *seg = catalog_segment_by_life(q, r.life);
	Relation	rel;
	bool		exists = false;

	if (seg == NULL)
		return false;
	rel = catalog_open_segment(q, seg, false);
	if (rel == NULL)
		return true;			/* cannot tell now */
	if (r.block < RelationGetNumberOfBlocks(rel))
	{
		Buffer		buffer = ReadBuffer(rel, r.block);
		Page		page = BufferGetPage(buffer);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!PageIsNew(page) && layout_item_is_message(page, r.offset))
		{
			HeapTupleData tup;
			MessageDecider decider;

			exists = page_message_status(page, r.offset, rel, buffer, &tup,
										 &decider) != MESSAGE_GONE &&
				message_head(tup.t_data)->lease == r.token;
		}
		UnlockReleaseBuffer(buffer);
	}
	relation_close(rel, RowExclusiveLock);
	return exists;
}

/*
 * Deletes the forwarding rows whose leases have ended.
 */
void
rotate_forget_forwarding(Queue *q)
{
	CatalogRows rows;

	if (!lock_parent(q))
		return;
	rows_open(&rows, "forwarding", q->id);
	while (q->valid && rows_next(&rows))
	{
		Datum		moved_to = rows_get(&rows, Anum_forwarding_moved_to);

		if (!lease_exists(q, DatumGetInt64(moved_to)))
			rows_delete(&rows);
	}
	rows_close(&rows);
}
