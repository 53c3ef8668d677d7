/*
 * fn_send.h
 *	  Messages that other functions send.
 */
#ifndef QUEUE_FN_SEND_H
#define QUEUE_FN_SEND_H

#include "catalog.h"

/* So many messages are formed and appended at a time */
#define SEND_CHUNK 1000

/* The columns that make one message differ from the next */
typedef struct MessageParts
{
	NullableDatum body;
	NullableDatum payload;
	NullableDatum headers;
	NullableDatum key;
} MessageParts;

extern void send_check(Queue *q, MessageParts *parts);
extern void send_check_key(Queue *q, int64 size);
extern void send_check_size(Queue *q, int64 size);
extern void send_check_paused(Queue *q);
extern void send_parts(Queue *q, MessageParts *parts, const int *priority,
					   int n);

#endif							/* QUEUE_FN_SEND_H */
