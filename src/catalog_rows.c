/*
 * catalog_rows.c
 *	  Writes to queue_def, segment_def and forwarding.
 *
 * Owns every write to these tables but pg_restore's.  A publication FOR ALL
 * TABLES includes them: written by SQL, they would stop the subscriber with
 * the first queue and with each rotation when it has no such tables, and tell
 * it of another server's files when it has.  So nothing is written that
 * logical decoding could send: a row is inserted without the information that
 * decoding looks for and deleted by page_delete(), and an update is a delete
 * and an insert.  (On an all-visible page page_delete() has to write the
 * heap's own record, without the key: output plugins get a delete that says
 * nothing, and pgoutput drops it.)
 *
 * Rules
 *	- Rows are found with the latest snapshot whatever the isolation level.
 *	- Later statements see the changes after rows_close(); a walk does not
 *	  meet the rows that were written during it.
 *	- Not null and unique indexes are checked; other constraints, triggers and
 *	  defaults are not looked at, these tables have none that matter.
 *	- A row is far shorter than what would be kept out of line, and a deleted
 *	  one would leave such values behind.
 *
 * Locks: RowExclusiveLock on the table and its indexes, to the end of the
 * transaction.  Before rows_open() the caller takes a lock that keeps every
 * other writer of the queue's rows away until the end of the transaction:
 *	- the parent, ShareUpdateExclusiveLock: alter, pause, resume, and the
 *	  worker when it opens, adopts, parks or truncates a segment or forgets
 *	  forwarding (conditionally); AccessExclusiveLock: drop;
 *	- the queue's name: create, for a queue that nobody knows yet, and create
 *	  and drop for one whose parent is gone, so that no lock on it can be had.
 * If a row is changed all the same, by a superuser's SQL, its end is waited
 * for; what is not there any more then is 40001.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "admin_spi.h"
#include "catalog_rows.h"
#include "page.h"

/* The column with the queue's number, first in each table and primary key */
#define ANUM_QUEUE_ID	1

/* A relation of the extension's schema */
static Oid
relation_oid(const char *name)
{
	return get_relname_relid(name, get_namespace_oid(QUEUE_SCHEMA, false));
}

/*
 * Opens a table to walk over a queue's rows, or to insert some.  At first all
 * columns are null.
 */
void
rows_open(CatalogRows *rows, const char *table, int32 queue_id)
{
	int			natts;

	memset(rows, 0, sizeof(*rows));
	rows->rel = table_open(relation_oid(table), RowExclusiveLock);
	rows->queue_id = queue_id;
	natts = RelationGetNumberOfAttributes(rows->rel);
	rows->values = palloc0(natts * sizeof(Datum));
	rows->isnull = palloc(natts * sizeof(bool));
	memset(rows->isnull, true, natts * sizeof(bool));
}

/*
 * Goes to the next row of the queue; false = there is none.  By-reference
 * values are good until the next call.
 */
bool
rows_next(CatalogRows *rows)
{
	if (rows->scan == NULL)
	{
		char	   *index = psprintf("%s_pkey",
									 RelationGetRelationName(rows->rel));
		ScanKeyData key;

		ScanKeyInit(&key, ANUM_QUEUE_ID, BTEqualStrategyNumber, F_INT4EQ,
					Int32GetDatum(rows->queue_id));
		rows->scan = systable_beginscan(rows->rel, relation_oid(index), true,
										NULL, 1, &key);
		pfree(index);
	}
	rows->row = systable_getnext(rows->scan);
	if (!HeapTupleIsValid(rows->row))
		return false;
	heap_deform_tuple(rows->row, RelationGetDescr(rows->rel), rows->values,
					  rows->isnull);
	return true;
}

/* Makes a row of the present values */
static HeapTuple
form_row(CatalogRows *rows)
{
	TupleDesc	desc = RelationGetDescr(rows->rel);

	for (int i = 0; i < desc->natts; i++)
		if (rows->isnull[i] && TupleDescAttr(desc, i)->attnotnull)
			elog(ERROR, "column \"%s\" of \"%s\" is null",
				 NameStr(TupleDescAttr(desc, i)->attname),
				 RelationGetRelationName(rows->rel));
	return heap_form_tuple(desc, rows->values, rows->isnull);
}

/* Opens the indexes that inserts go to */
static void
open_indexes(CatalogRows *rows)
{
	List	   *oids = RelationGetIndexList(rows->rel);
	ListCell   *lc;

	rows->slot = MakeSingleTupleTableSlot(RelationGetDescr(rows->rel),
										  &TTSOpsHeapTuple);
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL ||
			info->ii_ExclusionOps != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("index \"%s\" on table \"%s\" is not supported",
							RelationGetRelationName(index),
							RelationGetRelationName(rows->rel)),
					 errdetail("It has an expression, a predicate or an "
							   "exclusion constraint."),
					 errhint("Drop the index.")));
		rows->indexes = lappend(rows->indexes, index);
		rows->infos = lappend(rows->infos, info);
	}
	list_free(oids);
}

/* Inserts a row and its index entries; frees it */
static void
store_row(CatalogRows *rows, HeapTuple row)
{
	ListCell   *index_cell;
	ListCell   *info_cell;

	if (rows->slot == NULL)
		open_indexes(rows);
	heap_insert(rows->rel, row, GetCurrentCommandId(true),
				HEAP_INSERT_NO_LOGICAL, NULL);
	ExecStoreHeapTuple(row, rows->slot, false);
	forboth(index_cell, rows->indexes, info_cell, rows->infos)
	{
		Relation	index = lfirst(index_cell);
		IndexInfo  *info = lfirst(info_cell);
		Datum		values[INDEX_MAX_KEYS];
		bool		isnull[INDEX_MAX_KEYS];

		if (!info->ii_ReadyForInserts)
			continue;
		FormIndexDatum(info, rows->slot, NULL, values, isnull);
		index_insert(index, values, isnull, &row->t_self, rows->rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 false, info);
	}
	ExecClearTuple(rows->slot);
	heap_freetuple(row);
}

/* Raises 40001: somebody without the locks changed the current row */
static void
fail_on_conflict(CatalogRows *rows)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent update"),
			 errdetail("A row of \"%s\" for queue number %d was changed.",
					   RelationGetRelationName(rows->rel), rows->queue_id)));
}

/* Is this a transaction, not our own, that can be waited for? */
static bool
can_wait_for(const MessageDecider *decider)
{
	return decider->is_multi ||
		!TransactionIdIsCurrentTransactionId(decider->xid);
}

/* Deletes the current row */
static void
remove_row(CatalogRows *rows)
{
	ItemPointer self = &rows->row->t_self;
	BlockNumber block = ItemPointerGetBlockNumber(self);
	OffsetNumber offset = ItemPointerGetOffsetNumber(self);
	TransactionId xid = GetCurrentTransactionId();
	Buffer		buffer = ReadBuffer(rows->rel, block);
	Buffer		vmbuffer = InvalidBuffer;
	bool		waited = false;

	for (;;)
	{
		HeapTupleData tup;
		MessageDecider decider;
		MessageStatus status;

		/* the walk's pin keeps the item in its place */
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		page_prepare_delete(rows->rel, buffer, &vmbuffer);
		status = page_message_status(BufferGetPage(buffer), offset, rows->rel,
									 buffer, &tup, &decider);
		if (status == MESSAGE_LIVE)
			break;
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		if (status != MESSAGE_UNDECIDED || waited || !can_wait_for(&decider))
			fail_on_conflict(rows);
		page_wait_for_decider(rows->rel, &decider, self);
		waited = true;
	}
	page_delete(rows->rel, buffer, &offset, 1, xid, GetCurrentCommandId(true),
				vmbuffer);
	UnlockReleaseBuffer(buffer);
	if (BufferIsValid(vmbuffer))
		ReleaseBuffer(vmbuffer);
}

/*
 * Inserts a row of the values that were set.
 */
void
rows_insert(CatalogRows *rows)
{
	store_row(rows, form_row(rows));
}

/*
 * Gives the current row the values that were set.
 */
void
rows_update(CatalogRows *rows)
{
	HeapTuple	row = form_row(rows);

	remove_row(rows);
	store_row(rows, row);
}

/*
 * Deletes the current row.
 */
void
rows_delete(CatalogRows *rows)
{
	remove_row(rows);
}

/*
 * Ends the walk and shows the changes to the statements that follow.
 */
void
rows_close(CatalogRows *rows)
{
	ListCell   *lc;

	if (rows->scan != NULL)
		systable_endscan(rows->scan);
	foreach(lc, rows->indexes)
	{
		Relation	index = lfirst(lc);

		index_close(index, NoLock);
	}
	if (rows->slot != NULL)
		ExecDropSingleTupleTableSlot(rows->slot);
	list_free(rows->indexes);
	list_free_deep(rows->infos);
	table_close(rows->rel, NoLock);
	pfree(rows->values);
	pfree(rows->isnull);
	CommandCounterIncrement();
}
