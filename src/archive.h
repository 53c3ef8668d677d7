/*
 * archive.h
 *	  Keeps copies of acked messages.
 */
#ifndef QUEUE_ARCHIVE_H
#define QUEUE_ARCHIVE_H

#include "catalog.h"

typedef struct ArchiveBatch ArchiveBatch;

extern ArchiveBatch *archive_begin(Queue *q, TimestampTz now);
extern void archive_page(ArchiveBatch *batch);
extern void archive_copy(ArchiveBatch *batch, HeapTuple tup);
extern void archive_keep(ArchiveBatch *batch);
extern bool archive_is_full(ArchiveBatch *batch);
extern void archive_flush(ArchiveBatch *batch, Queue *q);
extern void archive_end(ArchiveBatch *batch, Queue *q);

extern bool archive_wants_segment(Queue *q, Relation rel, int64 bytes);
extern bool archive_expired(Queue *q, QueueSegment *seg);
extern void archive_release_slot(Queue *q, QueueSegment *seg);

#endif							/* QUEUE_ARCHIVE_H */
