/*
 * catalog.h
 *	  A session's knowledge of queues and their segments.
 */
#ifndef QUEUE_CATALOG_H
#define QUEUE_CATALOG_H

#include "utils/acl.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "keys.h"
#include "layout.h"
#include "shmem.h"

/* The catalog's tables, by attribute number; see sql/queue--1.0.sql */
#define Anum_queue_def_id					1
#define Anum_queue_def_name					2
#define Anum_queue_def_relation				3
#define Anum_queue_def_ids					4
#define Anum_queue_def_kind					5
#define Anum_queue_def_visibility_timeout	6
#define Anum_queue_def_max_attempts			7
#define Anum_queue_def_dead_letter			8
#define Anum_queue_def_retry_delay			9
#define Anum_queue_def_retry_backoff		10
#define Anum_queue_def_retry_max_delay		11
#define Anum_queue_def_delay				12
#define Anum_queue_def_ttl					13
#define Anum_queue_def_max_messages			14
#define Anum_queue_def_max_bytes			15
#define Anum_queue_def_overflow				16
#define Anum_queue_def_max_in_flight		17
#define Anum_queue_def_max_message_bytes	18
#define Anum_queue_def_dedup_window			19
#define Anum_queue_def_persistence			20
#define Anum_queue_def_single_active		21
#define Anum_queue_def_fair					22
#define Anum_queue_def_archive				23
#define Anum_queue_def_enqueue_paused		28
#define Anum_queue_def_dequeue_paused		29
#define Anum_queue_def_next_life			30
#define Anum_queue_def_created_at			31
#define Anum_queue_def_priorities			32
#define Natts_queue_def						32

#define Anum_segment_def_queue_id			1
#define Anum_segment_def_life				2
#define Anum_segment_def_relation			3
#define Anum_segment_def_chain				4
#define Anum_segment_def_state				5
#define Anum_segment_def_layout				6
#define Anum_segment_def_relfilenode		7
#define Anum_segment_def_database			8
#define Anum_segment_def_system_identifier	9
#define Anum_segment_def_sealed_at			10
#define Natts_segment_def					10

#define Anum_forwarding_queue_id			1
#define Anum_forwarding_receipt				2
#define Anum_forwarding_moved_to			3
#define Natts_forwarding					3

#define MAX_QUEUE_NAME	255

#define SEGMENT_OPEN	'o'		/* the tail of its chain */
#define SEGMENT_SEALED	's'		/* no insert ever again */
#define SEGMENT_FREE	'f'		/* truncated, waits to be used again */

typedef struct QueueSegment
{
	int32		life;
	Oid			relid;
	RelFileNumber relnumber;
	int			chain;			/* QUEUE_MAIN_CHAIN, … */
	char		state;
	TimestampTz sealed_at;		/* 0 = not, or not known */
	int			layout;			/* see layout.h */
	bool		adopted;		/* its row was written for this very file */
	bool		restored;		/* it was written in another database */
	bool		checked;		/* layout_check() passed */
	MapSlot    *slot;			/* NULL = not looked up, or none */
} QueueSegment;

typedef struct Queue
{
	char		name[MAX_QUEUE_NAME + 1];
	bool		valid;			/* false: read the catalog again */
	bool		complete;		/* reading it did not fail halfway */
	int32		id;
	Oid			relid;			/* the parent table: privileges */
	Oid			sequence;		/* hands out ranges of ids */
	QueueShared *shared;		/* never NULL once loaded */
	TimestampTz retry_at;		/* ask for a place again, if it has none */

	/* properties; durations in microseconds, 0 = none or no limit */
	char		kind;			/* 'w'ork, 'f'ifo, 's'tream */
	int64		visibility_timeout;
	int			max_attempts;
	char		dead_letter[MAX_QUEUE_NAME + 1];	/* "" = none */
	int64		retry_delay;
	char		retry_backoff;	/* 'n'one, 'l'inear, 'e'xponential */
	int64		retry_max_delay;
	int64		delay;
	int64		ttl;
	int64		max_messages;
	int64		max_bytes;
	bool		limited;		/* one of these two is set */
	char		overflow;		/* 'r'eject, 'b'lock, 'd'rop_oldest */
	int			max_in_flight;
	int			max_message_bytes;
	int64		dedup_window;
	bool		unlogged;
	bool		single_active;
	bool		fair;
	int64		archive;
	bool		enqueue_paused;
	bool		dequeue_paused;
	bool		priorities;		/* had messages with one: a hint */

	/* is the registry of keys kept for it? */
	bool		tracked;

	/*
	 * By life; parking segments before main ones.  Behind those that hold
	 * messages to deliver stand the archive's, up to ntables.
	 */
	int			nsegments;
	int			ntables;
	QueueSegment *segments;
	MemoryContext context;		/* of segments */
} Queue;

/* The longest key in a fifo queue, whose rows keep it plain and in line */
#define MAX_FIFO_KEY	1024

/* Does the queue take a message with a key of this size? */
static inline bool
queue_takes_key(Queue *q, int64 size)
{
	return q->kind != 'f' || size <= MAX_FIFO_KEY;
}

/* Are tenants with few messages in flight served first? */
static inline bool
queue_is_fair(Queue *q)
{
	return q->fair && q->kind == 'w';
}

/* The lane of a message that became ready, whoever its tenant is */
static inline int
queue_lane(Queue *q, const MessageHead *head)
{
	return map_lane(head->priority) + queue_is_fair(q);
}

/* What the registry of keys calls a page of a segment */
static inline KeyPlace
queue_place(Queue *q, QueueSegment *seg, BlockNumber block)
{
	KeyPlace	place;

	place.qs = q->shared;
	place.slot = seg->slot;
	place.block = block;
	place.page = keys_page_order(seg->chain == QUEUE_MAIN_CHAIN, seg->life,
								 block);
	place.ordered = q->kind == 'f';
	place.by_key = place.ordered || q->fair;
	return place;
}

extern void catalog_init(void);
extern Queue *catalog_queue(text *name, const char *argument);
extern Queue *catalog_queue_named(const char *name);
extern Queue *catalog_queue_by_id(int32 id);
extern Queue *catalog_queue_reload(Queue *q);
extern List *catalog_queue_ids(void);
extern void catalog_forget_others(List *ids);
extern void catalog_check_access(Queue *q, AclMode mode, const char *what);
extern QueueSegment *catalog_segment_by_life(Queue *q, int life_bits);
extern QueueSegment *catalog_tail(Queue *q, int chain);
extern Relation catalog_open_segment(Queue *q, QueueSegment *seg, bool wait);
extern MapSlot *catalog_slot(Queue *q, QueueSegment *seg);
extern RelFileNumber catalog_relation_file(Oid relid);
extern bool catalog_extension_exists(void);
extern bool catalog_take_news(void);

#endif							/* QUEUE_CATALOG_H */
