/*
 * delta.c
 *	  Changes of one page, logged as a generic record.
 *
 * The record is the one that GenericXLogFinish() makes, and the server's
 * generic_redo() replays it: fragments of offset, length and bytes.  That
 * function copies the page twice and compares it byte by byte, some 60,000
 * instructions under the exclusive lock; who changes a few columns knows
 * where, so only these places are compared.
 *
 * The page is changed by walking over the fragments, as in replay: the two
 * cannot differ.  What must be kept from generic_xlog.c in PostgreSQL is the
 * form of a fragment.  Replay also clears the hole of the page; here it is
 * left alone, as nothing reads it.
 *
 * One delta is in the making at a time, in static memory: nothing allocates.
 *
 * Locks: the caller holds the buffer's exclusive lock from delta_begin() to
 * delta_apply().
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "delta.h"

/* A fragment begins with these two; its bytes follow without alignment */
typedef struct FragmentHeader
{
	OffsetNumber offset;
	OffsetNumber length;
} FragmentHeader;

/* So many bytes are compared at once */
#define DELTA_WORD sizeof(uint64)

static char delta[2 * BLCKSZ];
static Size delta_length = 0;

/*
 * Starts anew; what was not applied is forgotten.
 */
void
delta_begin(void)
{
	delta_length = 0;
}

/* Adds one fragment; there is room */
static void
add_fragment(Size offset, const char *bytes, Size length)
{
	FragmentHeader header = {offset, length};

	memcpy(delta + delta_length, &header, sizeof(header));
	delta_length += sizeof(header);
	memcpy(delta + delta_length, bytes, length);
	delta_length += length;
}

/*
 * Is there a difference in the first word of what is left?  A comparison of
 * constant length is one instruction.
 */
static bool
word_differs(const char *old, const char *new, Size left)
{
	return left >= DELTA_WORD ? memcmp(old, new, DELTA_WORD) != 0 :
		memcmp(old, new, left) != 0;
}

/*
 * The bytes at this place of the page become these, once the delta is
 * applied.  A place may be named once.  A fragment is made of adjacent words
 * with a difference, without the equal bytes at its ends.
 */
void
delta_change(Page page, const void *at, const void *value, Size length)
{
	const char *old = at;
	const char *new = value;
	Size		next = 0;

	/* between two fragments is at least a word, longer than a header */
	if (delta_length + length + sizeof(FragmentHeader) > sizeof(delta))
		elog(ERROR, "too many changes of one page");
	while (next < length)
	{
		Size		start = next;
		Size		end;

		while (next < length &&
			   word_differs(old + next, new + next, length - next))
			next += DELTA_WORD;
		if (next == start)
		{
			next += DELTA_WORD;
			continue;
		}
		end = Min(next, length);
		while (old[start] == new[start])
			start++;
		while (old[end - 1] == new[end - 1])
			end--;
		add_fragment(old + start - (char *) page, new + start, end - start);
	}
}

/* What replay does with the fragments */
static void
change_page(Page page)
{
	const char *next = delta;

	while (next < delta + delta_length)
	{
		FragmentHeader header;

		memcpy(&header, next, sizeof(header));
		next += sizeof(header);
		memcpy((char *) page + header.offset, next, header.length);
		next += header.length;
	}
}

/*
 * Changes the page and logs it; cannot fail.  Returns the record's position,
 * invalid for a relation that is not logged.
 */
XLogRecPtr
delta_apply(Relation rel, Buffer buffer)
{
	Page		page = BufferGetPage(buffer);
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	START_CRIT_SECTION();
	change_page(page);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(rel))
	{
		/* wal_consistency_checking would see hint bits: log all of it */
		int			image = wal_consistency_checking[RM_GENERIC_ID] ?
			REGBUF_FORCE_IMAGE : 0;

		XLogBeginInsert();
		XLogRegisterBuffer(0, buffer, REGBUF_STANDARD | image);
		XLogRegisterBufData(0, delta, delta_length);
		lsn = XLogInsert(RM_GENERIC_ID, 0);
		PageSetLSN(page, lsn);
	}
	END_CRIT_SECTION();
	return lsn;
}
