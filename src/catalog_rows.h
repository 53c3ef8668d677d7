/*
 * catalog_rows.h
 *	  Writes to queue_def, segment_def and forwarding.
 *
 * See catalog_rows.c for the rules.
 */
#ifndef QUEUE_CATALOG_ROWS_H
#define QUEUE_CATALOG_ROWS_H

#include "access/genam.h"
#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"

/* A queue's rows in one of the tables, one after the other */
typedef struct CatalogRows
{
	Relation	rel;
	int32		queue_id;
	SysScanDesc scan;			/* NULL before the first rows_next() */
	HeapTuple	row;			/* the current one */
	Datum	   *values;			/* its columns, and what becomes of them */
	bool	   *isnull;

	/* once a row was inserted or updated */
	TupleTableSlot *slot;
	List	   *indexes;		/* of Relation */
	List	   *infos;			/* of IndexInfo, in step */
} CatalogRows;

extern void rows_open(CatalogRows *rows, const char *table, int32 queue_id);
extern bool rows_next(CatalogRows *rows);
extern void rows_insert(CatalogRows *rows);
extern void rows_update(CatalogRows *rows);
extern void rows_delete(CatalogRows *rows);
extern void rows_close(CatalogRows *rows);

/* A column, not null, of the current row */
static inline Datum
rows_get(CatalogRows *rows, int attno)
{
	Assert(!rows->isnull[attno - 1]);
	return rows->values[attno - 1];
}

/* Sets a column of the row that is to be inserted or updated */
static inline void
rows_set(CatalogRows *rows, int attno, Datum value)
{
	rows->values[attno - 1] = value;
	rows->isnull[attno - 1] = false;
}

/* The same for null */
static inline void
rows_set_null(CatalogRows *rows, int attno)
{
	rows->isnull[attno - 1] = true;
}

#endif							/* QUEUE_CATALOG_ROWS_H */
