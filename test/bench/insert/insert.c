/*
 * insert.c
 *	  The extension's own page insert beside PostgreSQL's heap_multi_insert.
 *
 * Two functions that copy the rows of one table into another, a batch at a
 * time, and return the milliseconds that the inserts alone took.  run.sh
 * builds them together with src/page.c.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/hio.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "page.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(insert_own);
PG_FUNCTION_INFO_V1(insert_heap);

/* Pages added to the file at once, as append.c does */
#define EXTEND 128

/* Copies all rows of a table; sets their number */
static HeapTuple *
read_all(Oid relid, int *n)
{
	Relation	rel = relation_open(relid, AccessShareLock);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	int			max = 1024;
	HeapTuple  *tuples = palloc(max * sizeof(HeapTuple));
	HeapTuple	tup;

	*n = 0;
	while ((tup = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		if (*n == max)
			tuples = repalloc_huge(tuples, (max *= 2) * sizeof(HeapTuple));
		tuples[(*n)++] = heap_copytuple(tup);
	}
	table_endscan(scan);
	relation_close(rel, AccessShareLock);
	return tuples;
}

/*
 * insert_own(target, source, batch): page_insert(), on pages in order
 */
Datum
insert_own(PG_FUNCTION_ARGS)
{
	int			batch = PG_GETARG_INT32(2);
	int			n;
	HeapTuple  *tuples = read_all(PG_GETARG_OID(1), &n);
	Relation	rel = relation_open(PG_GETARG_OID(0), RowExclusiveLock);
	BlockNumber block = RelationGetNumberOfBlocks(rel);
	BlockNumber nblocks = block;
	instr_time	start;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(start);
	for (int done = 0; done < n;)
	{
		int			until = Min(n, done + batch);

		while (done < until)
		{
			Buffer		buffer;

			if (block == nblocks)
			{
				LockRelationForExtension(rel, ExclusiveLock);
				compat_extend_zeroed(rel, nblocks, EXTEND);
				nblocks += EXTEND;
				UnlockRelationForExtension(rel, ExclusiveLock);
			}
			buffer = ReadBuffer(rel, block);
			LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
			done += page_insert(rel, buffer, tuples + done, until - done,
								GetCurrentTransactionId(),
								GetCurrentCommandId(true));
			UnlockReleaseBuffer(buffer);
			if (done < until)
				block++;
		}
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	relation_close(rel, NoLock);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MILLISEC(end));
}

/*
 * insert_heap(target, source, batch): heap_multi_insert(), a BulkInsertState
 * with the ordinary buffer strategy
 */
Datum
insert_heap(PG_FUNCTION_ARGS)
{
	int			batch = PG_GETARG_INT32(2);
	int			n;
	HeapTuple  *tuples = read_all(PG_GETARG_OID(1), &n);
	Relation	rel = relation_open(PG_GETARG_OID(0), RowExclusiveLock);
	BulkInsertState state = GetBulkInsertState();
	TupleTableSlot **slots = palloc(batch * sizeof(TupleTableSlot *));
	instr_time	start;
	instr_time	end;

	FreeAccessStrategy(state->strategy);
	state->strategy = NULL;
	for (int i = 0; i < batch; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel),
											&TTSOpsHeapTuple);
	INSTR_TIME_SET_CURRENT(start);
	for (int done = 0; done < n;)
	{
		int			count = Min(n - done, batch);

		for (int i = 0; i < count; i++)
			ExecStoreHeapTuple(tuples[done + i], slots[i], false);
		heap_multi_insert(rel, slots, count, GetCurrentCommandId(true),
						  HEAP_INSERT_SKIP_FSM, state);
		done += count;
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	for (int i = 0; i < batch; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	FreeBulkInsertState(state);
	relation_close(rel, NoLock);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_MILLISEC(end));
}
