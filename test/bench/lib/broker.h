/*
 * broker.h
 *	  What broker.c wants from the client of a message broker.
 *
 * The address is in BENCH_BROKER: a socket's path or a port.  Functions end
 * the program on an error.
 */
#ifndef BENCH_BROKER_H
#define BENCH_BROKER_H

/* The greatest batch */
#define BROKER_MAX_BATCH 1000

/* The greatest body; what is longer is cut off when received */
#define BROKER_MAX_BODY 4096

typedef struct BrokerConn BrokerConn;

/* A connection for one thread; number tells consumers apart */
extern BrokerConn *broker_connect(int number);
extern void broker_close(BrokerConn *conn);

/* The durable queue, new and empty */
extern void broker_reset(BrokerConn *conn);

/* Messages in the queue, those delivered and not acked included */
extern long broker_count(BrokerConn *conn);

/* Sends n messages; returns when the broker says that they are safe */
extern void broker_send(BrokerConn *conn, char **bodies, int n);

/* Called once before the first broker_take() with at most max messages */
extern void broker_consume(BrokerConn *conn, int max);

/*
 * Takes up to max messages; waits for the first of them, wait_ms at most.
 * Copies the bodies to bodies[].  Returns their number.
 */
extern int	broker_take(BrokerConn *conn, int max, int wait_ms,
						char (*bodies)[BROKER_MAX_BODY]);

/* Acks what broker_take() returned, for good: the broker drops it */
extern void broker_ack(BrokerConn *conn);

#endif							/* BENCH_BROKER_H */
