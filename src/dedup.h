/*
 * dedup.h
 *	  Finds sends that repeat the dedup_id of an earlier one.
 */
#ifndef QUEUE_DEDUP_H
#define QUEUE_DEDUP_H

#include "catalog.h"

/* What a dedup_id counts for in a queue that says nothing about it */
#define DEDUP_DEFAULT_WINDOW	(300 * USECS_PER_SEC)

/* Two tables for each class, by the length of the window */
#define DEDUP_TABLES	2

/* The columns of these tables, and of dedup_def; see sql/queue--1.0.sql */
#define Anum_dedup_queue_id		1
#define Anum_dedup_hash1		2
#define Anum_dedup_hash2		3
#define Anum_dedup_message_id	4
#define Anum_dedup_entered_at	5
#define Natts_dedup				5

#define Anum_dedup_def_class	1
#define Anum_dedup_def_current	2
#define Anum_dedup_def_since	3

/* A message with a dedup_id on its way into a queue */
typedef struct DedupEntry
{
	int64		hash[2];
	int64		message_id;		/* the new one's; then that which counts */
	bool		duplicate;		/* it is an earlier one's: do not store */
	bool		settled;		/* nothing is left to do about it */
	int			index;			/* in the caller's batch */
} DedupEntry;

/*
 * Which table new entries go to, and since when: the time, of which all
 * entries in the other table are older, and the table's number.
 */
typedef uint64 DedupState;

static inline int
dedup_current(DedupState state)
{
	return (int) (state & 1);
}

static inline TimestampTz
dedup_since(DedupState state)
{
	return (TimestampTz) (state >> 1);
}

static inline DedupState
dedup_make_state(int current, TimestampTz since)
{
	return ((DedupState) Max(since, 1) << 1) | current;
}

extern int64 dedup_window(const Queue *q);
extern int	dedup_class(int64 window);
extern int64 dedup_longest_window(int dclass);
extern Oid	dedup_table(int dclass, int which);
extern DedupState dedup_read_state(int dclass);

extern void dedup_set_id(DedupEntry *entry, text *dedup_id);
extern void dedup_enter(Queue *q, DedupEntry *entries, int n);
extern void dedup_forget(int32 queue_id);
extern void dedup_move(int32 queue_id, int64 old_window, int64 new_window);

#endif							/* QUEUE_DEDUP_H */
