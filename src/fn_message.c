/*
 * fn_message.c
 *	  A message as a row of SQL.
 *
 * Owns the order of columns of type queue.message.  Takes no locks.
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "fn_message.h"
#include "layout.h"

/*
 * Fills the columns of queue.message from a segment's tuple.  A receipt of 0
 * means none.  What is stored out of line stays there: the caller sees to it
 * that the segment stays locked.
 */
void
message_values(TupleDesc desc, HeapTuple tuple, int64 receipt,
			   Datum *values, bool *nulls)
{
	Datum		col[Natts_msg];
	bool		isnull[Natts_msg];
	static const AttrNumber order[MESSAGE_COLS] = {
		Anum_msg_id, 0, Anum_msg_body, Anum_msg_payload, Anum_msg_headers,
		Anum_msg_key, Anum_msg_priority, Anum_msg_deliveries,
		Anum_msg_failures, Anum_msg_enqueued_at, Anum_msg_visible_at,
		Anum_msg_expires_at
	};

	heap_deform_tuple(tuple, desc, col, isnull);
	col[Anum_msg_priority - 1] =
		Int32GetDatum(DatumGetInt16(col[Anum_msg_priority - 1]));
	for (int i = 0; i < MESSAGE_COLS; i++)
	{
		values[i] = order[i] ? col[order[i] - 1] : Int64GetDatum(receipt);
		nulls[i] = order[i] ? isnull[order[i] - 1] : receipt == 0;
	}
}
