/*
 * fn_message.h
 *	  A message as a row of SQL.
 */
#ifndef QUEUE_FN_MESSAGE_H
#define QUEUE_FN_MESSAGE_H

#include "access/htup.h"
#include "access/tupdesc.h"

/* Columns of type queue.message */
#define MESSAGE_COLS 12

extern void message_values(TupleDesc desc, HeapTuple tuple, int64 receipt,
						   Datum *values, bool *nulls);

#endif							/* QUEUE_FN_MESSAGE_H */
