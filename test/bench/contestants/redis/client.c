/*
 * Redis Streams by way of hiredis: XADD, XREADGROUP, XACK, XDEL.
 *
 * A batch is pipelined, not wrapped in MULTI, which would be slower.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "broker.h"
#include "measure.h"

struct BrokerConn
{
	redisContext *c;
	char		consumer[20];
	int			taken;
	char		ids[BROKER_MAX_BATCH][32];
};

static redisReply *
reply(BrokerConn *conn)
{
	redisReply *r;

	if (redisGetReply(conn->c, (void **) &r) != REDIS_OK)
	{
		fprintf(stderr, "redis: %s\n", conn->c->errstr);
		exit(2);
	}
	if (r->type == REDIS_REPLY_ERROR)
	{
		fprintf(stderr, "redis: ERROR %s\n", r->str);
		exit(2);
	}
	return r;
}

BrokerConn *
broker_connect(int number)
{
	BrokerConn *conn = need(calloc(1, sizeof(BrokerConn)));

	conn->c = redisConnectUnix(getenv("BENCH_BROKER"));
	if (conn->c == NULL || conn->c->err)
	{
		fprintf(stderr, "redis: cannot connect\n");
		exit(2);
	}
	snprintf(conn->consumer, sizeof(conn->consumer), "c%d", number);
	return conn;
}

void
broker_close(BrokerConn *conn)
{
	redisFree(conn->c);
	free(conn);
}

void
broker_reset(BrokerConn *conn)
{
	redisAppendCommand(conn->c, "FLUSHALL SYNC");
	redisAppendCommand(conn->c, "XGROUP CREATE bench g 0 MKSTREAM");
	freeReplyObject(reply(conn));
	freeReplyObject(reply(conn));
}

long
broker_count(BrokerConn *conn)
{
	redisReply *r;
	long		count;

	redisAppendCommand(conn->c, "XLEN bench");
	r = reply(conn);
	count = r->integer;
	freeReplyObject(r);
	return count;
}

void
broker_send(BrokerConn *conn, char **bodies, int n)
{
	for (int i = 0; i < n; i++)
	{
		const char *argv[] = {"XADD", "bench", "*", "b", bodies[i]};
		size_t		lengths[] = {4, 5, 1, 1, strlen(bodies[i])};

		redisAppendCommandArgv(conn->c, 5, argv, lengths);
	}
	for (int i = 0; i < n; i++)
		freeReplyObject(reply(conn));
}

void
broker_consume(BrokerConn *conn, int max)
{
}

int
broker_take(BrokerConn *conn, int max, int wait_ms,
			char (*bodies)[BROKER_MAX_BODY])
{
	redisReply *r;
	redisReply *entries;

	redisAppendCommand(conn->c, "XREADGROUP GROUP g %s COUNT %d BLOCK %d "
					   "STREAMS bench >", conn->consumer, max, wait_ms);
	r = reply(conn);
	conn->taken = 0;
	if (r->type == REDIS_REPLY_ARRAY)
	{
		/* [[stream, [[id, [field, value]], ...]]] */
		entries = r->element[0]->element[1];
		conn->taken = (int) entries->elements;
		for (int i = 0; i < conn->taken; i++)
		{
			redisReply *entry = entries->element[i];

			snprintf(conn->ids[i], sizeof(conn->ids[i]), "%s",
					 entry->element[0]->str);
			snprintf(bodies[i], BROKER_MAX_BODY, "%s",
					 entry->element[1]->element[1]->str);
		}
	}
	freeReplyObject(r);
	return conn->taken;
}

void
broker_ack(BrokerConn *conn)
{
	const char *argv[3 + BROKER_MAX_BATCH] = {"XACK", "bench", "g"};

	for (int i = 0; i < conn->taken; i++)
		argv[3 + i] = conn->ids[i];
	redisAppendCommandArgv(conn->c, 3 + conn->taken, argv, NULL);
	argv[1] = "XDEL";
	argv[2] = "bench";
	redisAppendCommandArgv(conn->c, 2 + conn->taken, argv + 1, NULL);
	freeReplyObject(reply(conn));
	freeReplyObject(reply(conn));
	conn->taken = 0;
}
