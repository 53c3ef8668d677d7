/*
 * RabbitMQ by way of librabbitmq: a durable quorum queue, persistent messages,
 * publisher confirms, prefetch, acks of many messages at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#endif

#include "broker.h"
#include "measure.h"

#define CHANNEL	1

struct BrokerConn
{
	amqp_connection_state_t c;
	uint64_t	published;
	uint64_t	confirmed;
	uint64_t	last_tag;		/* of the last delivery taken */
};

static const amqp_bytes_t queue_name = {5, "bench"};

static void
fail(const char *what)
{
	fprintf(stderr, "rabbitmq: ERROR %s\n", what);
	exit(2);
}

static void
check_reply(BrokerConn *conn, const char *what)
{
	amqp_rpc_reply_t r = amqp_get_rpc_reply(conn->c);

	if (r.reply_type != AMQP_RESPONSE_NORMAL)
		fail(what);
}

BrokerConn *
broker_connect(int number)
{
	BrokerConn *conn = need(calloc(1, sizeof(BrokerConn)));
	amqp_socket_t *socket;
	amqp_rpc_reply_t r;

	conn->c = amqp_new_connection();
	socket = amqp_tcp_socket_new(conn->c);
	if (socket == NULL ||
		amqp_socket_open(socket, "127.0.0.1", atoi(getenv("BENCH_BROKER"))))
		fail("cannot connect");
	r = amqp_login(conn->c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN,
				   "guest", "guest");
	if (r.reply_type != AMQP_RESPONSE_NORMAL)
		fail("login");
	amqp_channel_open(conn->c, CHANNEL);
	check_reply(conn, "channel");
	amqp_confirm_select(conn->c, CHANNEL);
	check_reply(conn, "confirm.select");
	return conn;
}

void
broker_close(BrokerConn *conn)
{
	amqp_channel_close(conn->c, CHANNEL, AMQP_REPLY_SUCCESS);
	amqp_connection_close(conn->c, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(conn->c);
	free(conn);
}

static long
declare(BrokerConn *conn, int passive)
{
	amqp_table_entry_t entry = {
		.key = amqp_cstring_bytes("x-queue-type"),
		.value = {.kind = AMQP_FIELD_KIND_UTF8,
			.value.bytes = amqp_cstring_bytes("quorum")}
	};
	amqp_table_t arguments = {1, &entry};
	amqp_queue_declare_ok_t *ok;

	ok = amqp_queue_declare(conn->c, CHANNEL, queue_name, passive, 1, 0, 0,
							passive ? amqp_empty_table : arguments);
	check_reply(conn, "queue.declare");
	return ok->message_count;
}

void
broker_reset(BrokerConn *conn)
{
	amqp_queue_delete(conn->c, CHANNEL, queue_name, 0, 0);
	check_reply(conn, "queue.delete");
	declare(conn, 0);
	broker_close(conn);
}

/* Consumers are gone: what they had not acked is ready again, in a moment */
long
broker_count(BrokerConn *conn)
{
	long		count = -1;

	for (int steady = 0; steady < 3;)
	{
		long		again = declare(conn, 1);

		steady = again == count ? steady + 1 : 0;
		count = again;
		sleep_until(now() + 0.1);
	}
	return count;
}

/* Reads confirms until all that was published is confirmed */
static void
wait_for_confirms(BrokerConn *conn)
{
	amqp_frame_t frame;

	while (conn->confirmed < conn->published)
	{
		amqp_maybe_release_buffers(conn->c);
		if (amqp_simple_wait_frame(conn->c, &frame) != AMQP_STATUS_OK)
			fail("connection lost");
		if (frame.frame_type != AMQP_FRAME_METHOD)
			continue;
		if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD)
		{
			amqp_basic_ack_t *ack = frame.payload.method.decoded;

			/* confirms of one channel of one queue come in order */
			if (ack->delivery_tag > conn->confirmed)
				conn->confirmed = ack->delivery_tag;
		}
		else
			fail("a message was refused");
	}
}

void
broker_send(BrokerConn *conn, char **bodies, int n)
{
	amqp_basic_properties_t props = {
		._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
		.delivery_mode = 2
	};

	for (int i = 0; i < n; i++)
		if (amqp_basic_publish(conn->c, CHANNEL, amqp_empty_bytes, queue_name,
							   0, 0, &props, amqp_cstring_bytes(bodies[i])))
			fail("publish");
	conn->published += n;
	wait_for_confirms(conn);
}

/* Twice a batch ahead, so that the next one is there when this is acked */
void
broker_consume(BrokerConn *conn, int max)
{
	amqp_basic_qos(conn->c, CHANNEL, 0, max * 2, 0);
	check_reply(conn, "qos");
	amqp_basic_consume(conn->c, CHANNEL, queue_name, amqp_empty_bytes, 0, 0, 0,
					   amqp_empty_table);
	check_reply(conn, "consume");
}

int
broker_take(BrokerConn *conn, int max, int wait_ms,
			char (*bodies)[BROKER_MAX_BODY])
{
	int			n = 0;

	amqp_maybe_release_buffers(conn->c);
	while (n < max)
	{
		struct timeval patience = {0};
		amqp_envelope_t envelope;
		amqp_rpc_reply_t r;
		size_t		length;

		/* a waiting consumer takes what is there, a drain full batches */
		if (n == 0)
		{
			patience.tv_sec = wait_ms / 1000;
			patience.tv_usec = wait_ms % 1000 * 1000;
		}
		else if (wait_ms >= 500)
			patience.tv_usec = 100000;
		r = amqp_consume_message(conn->c, &envelope, &patience, 0);
		if (r.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
			r.library_error == AMQP_STATUS_TIMEOUT)
			break;
		if (r.reply_type != AMQP_RESPONSE_NORMAL)
			fail("consume");
		length = envelope.message.body.len;
		if (length >= BROKER_MAX_BODY)
			length = BROKER_MAX_BODY - 1;
		memcpy(bodies[n], envelope.message.body.bytes, length);
		bodies[n][length] = '\0';
		conn->last_tag = envelope.delivery_tag;
		amqp_destroy_envelope(&envelope);
		n++;
	}
	return n;
}

void
broker_ack(BrokerConn *conn)
{
	if (amqp_basic_ack(conn->c, CHANNEL, conn->last_tag, 1))
		fail("ack");
}
