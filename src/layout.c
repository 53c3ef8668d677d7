/*
 * layout.c
 *	  Checks that a table has the layout of a segment, and draws lease tokens.
 *
 * Owns the decision whether this library may touch a table's pages at all.
 * The table may have been changed by ordinary DDL since it was made; a
 * mismatch is an error that names what is wrong, never a crash.
 *
 * Locks: the caller holds a lock on the relation that excludes DDL.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/tupdesc.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "layout.h"

const Oid	layout_column_types[Natts_msg] = {
	INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID, INT4OID, INT2OID, INT4OID,
	INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, BYTEAOID,
	JSONBOID
};

StaticAssertDecl(offsetof(MessageHead, visible_at) == 8, "visible_at moved");
StaticAssertDecl(offsetof(MessageHead, lease) == 16, "lease moved");
StaticAssertDecl(offsetof(MessageHead, priority) == 28, "priority moved");
StaticAssertDecl(offsetof(MessageHead, holder) == 32, "holder moved");
StaticAssertDecl(offsetof(MessageHead, enqueued_at) == 40,
				 "enqueued_at moved");
StaticAssertDecl(RECEIPT_LIFE_BITS + RECEIPT_BLOCK_BITS +
				 RECEIPT_OFFSET_BITS + RECEIPT_TOKEN_BITS == 64,
				 "a receipt is 64 bits");

/*
 * Why the table cannot be used: its columns, access method and options are
 * not exactly those that the page primitives expect, or the number it was
 * made with is not theirs.  NULL when it can.
 */
const char *
layout_problem(Relation rel, int number)
{
	TupleDesc	desc = RelationGetDescr(rel);

	if (number != QUEUE_LAYOUT)
		return psprintf("has layout number %d", number);
	if (rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		return "is not an ordinary heap table";
	/* these two flags stay set until VACUUM when the last one is dropped */
	if (rel->rd_rel->relhasindex && RelationGetIndexList(rel) != NIL)
		return "has an index";
	if (rel->rd_rel->relhasrules && rel->rd_rules != NULL)
		return "has a rule";
	if (rel->rd_rel->relrowsecurity)
		return "has row-level security";
	if (desc->natts != Natts_msg)
		return "does not have the columns of a message";
	if (desc->constr != NULL &&
		(desc->constr->num_defval > 0 || desc->constr->num_check > 0 ||
		 desc->constr->has_generated_stored))
		return "has a default, a check or a generated column";

	for (int i = 0; i < Natts_msg; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->atttypid != layout_column_types[i] ||
			att->attnotnull != (i < Anum_msg_enqueued_at))
			return psprintf("has a changed column %d", i + 1);
	}
	return NULL;
}

/* Raises 55000 for a table that was changed, or is of another version */
void
layout_check(Relation rel, int number)
{
	const char *problem = layout_problem(rel, number);

	if (number != QUEUE_LAYOUT)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" was made by another version of the "
						"extension: it %s, not %d",
						RelationGetRelationName(rel), problem, QUEUE_LAYOUT),
				 errhint("Install the library of the extension's version, and "
						 "restart the server.")));
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" cannot hold messages: it %s",
						RelationGetRelationName(rel), problem),
				 errdetail("The tables of a queue are read and written "
						   "without indexes, constraints, policies or "
						   "rewrites."),
				 errhint("Undo the change made to this table, or create a "
						 "new queue and copy the messages.")));
}

/*
 * A random token for a new lease, never 0 and never the one it replaces.
 */
int32
layout_new_token(int32 old_token)
{
	int32		token;

	do
		token = pg_prng_uint32(&pg_global_prng_state) & RECEIPT_TOKEN_MASK;
	while (token == 0 || token == old_token);
	return token;
}

/*
 * The size of some values that follow each other, from the key on,
 * uncompressed.  Reads nothing that is out of line.
 */
static int64
values_size(HeapTupleHeader tup, int last_attno)
{
	char	   *at = (char *) message_head(tup) + sizeof(MessageHead);
	int64		size = 0;

	if (message_expires_at(tup) != QUEUE_NO_EXPIRY)
		at += sizeof(TimestampTz);
	for (int attno = Anum_msg_key; attno <= last_attno; attno++)
	{
		if ((tup->t_infomask & HEAP_HASNULL) != 0 &&
			att_isnull(attno - 1, tup->t_bits))
			continue;
		at = (char *) att_align_pointer(at, TYPALIGN_INT, -1, at);
		size += toast_raw_datum_size(PointerGetDatum(at)) - VARHDRSZ;
		at += VARSIZE_ANY(at);
	}
	return size;
}

/*
 * The size of body, payload, headers and key, uncompressed, as
 * max_message_bytes counts it.  Reads nothing that is out of line.
 */
int64
message_size(HeapTupleHeader tup)
{
	return values_size(tup, Anum_msg_headers);
}

/*
 * The same of the key alone; 0 when there is none.
 */
int64
message_key_size(HeapTupleHeader tup)
{
	return values_size(tup, Anum_msg_key);
}
