/*-------------------------------------------------------------------------
 *
 * broker.c
 *	  Drives a message broker as pgbench and probe.c drive the queues in
 *	  PostgreSQL, and reports in their words.
 *
 * broker reset		a new, empty queue
 * broker count		claimable|total
 * broker load		-n messages of -s bytes
 * broker enqueue	threads that send a batch and wait until it is safe
 * broker drain		threads that take a batch and ack it
 * broker wake		producers at a steady rate, and consumers that wait
 *
 * Linked with contestants/NAME/client.c.
 *
 *-------------------------------------------------------------------------
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "broker.h"
#include "measure.h"

typedef struct Worker
{
	pthread_t	thread;
	BrokerConn *conn;
	int			number;
	Samples		samples;
	long		transactions;
	double		ended;
} Worker;

typedef char Body[BROKER_MAX_BODY];

static int	clients = 1;
static int	producers = 1;
static int	batch = 1;
static int	size = 98;
static long target = 0;
static double rate = 0;
static double seconds = 0;

static double start;
static atomic_long claimed;
static atomic_bool stopping;
static atomic_long received;

/* wake: when each message was sent */
static _Atomic double *sent;
static long sent_max;

/* The same JSON as bench.body(), size bytes long */
static void
make_body(char *body, long n)
{
	int			length;

	if (size >= BROKER_MAX_BODY)
	{
		fprintf(stderr, "bodies of %d bytes are too long\n", size);
		exit(2);
	}
	length = snprintf(body, BROKER_MAX_BODY, "{\"id\": %ld, \"note\": \"",
					  10000000 + n % 90000000);
	for (; length < size - 37; length++)
		body[length] = "0123456789abcdef"[(n * 7 + length * 5) & 15];
	snprintf(body + length, BROKER_MAX_BODY - length,
			 "\", \"type\": \"order\", \"amount\": 129.95}");
}

static char **
make_bodies(long first, int n)
{
	char	  **bodies = need(malloc(n * sizeof(char *)));

	for (int i = 0; i < n; i++)
	{
		bodies[i] = need(malloc(BROKER_MAX_BODY));
		make_body(bodies[i], first + i);
	}
	return bodies;
}

static void
load(void)
{
	BrokerConn *conn = broker_connect(0);
	char	  **bodies = make_bodies(0, BROKER_MAX_BATCH);

	for (long done = 0; done < target; done += BROKER_MAX_BATCH)
		broker_send(conn, bodies, target - done < BROKER_MAX_BATCH ?
					target - done : BROKER_MAX_BATCH);
	broker_close(conn);
}

static void *
enqueue_worker(void *arg)
{
	Worker	   *w = arg;
	char	  **bodies = make_bodies(w->number * 1000, batch);

	while (now() < start + seconds)
	{
		broker_send(w->conn, bodies, batch);
		w->transactions++;
	}
	w->ended = now();
	return NULL;
}

/* Until -T seconds are over, or -n messages were taken, or none is left */
static void *
drain_worker(void *arg)
{
	Worker	   *w = arg;
	Body	   *bodies = need(malloc(batch * sizeof(Body)));

	broker_consume(w->conn, batch);
	while (target > 0 ? atomic_fetch_add(&claimed, batch) < target :
		   now() < start + seconds)
	{
		if (broker_take(w->conn, batch, 500, bodies) == 0)
			break;
		broker_ack(w->conn);
		w->transactions++;
		w->ended = now();
	}
	free(bodies);
	return NULL;
}

static void
throughput(void *(*work) (void *))
{
	Worker	   *workers = need(calloc(clients, sizeof(Worker)));
	long		transactions = 0;
	double		ended = 0;

	for (int i = 0; i < clients; i++)
	{
		workers[i].number = i;
		workers[i].conn = broker_connect(i);
	}
	start = now();
	for (int i = 0; i < clients; i++)
		pthread_create(&workers[i].thread, NULL, work, &workers[i]);
	for (int i = 0; i < clients; i++)
	{
		pthread_join(workers[i].thread, NULL);
		transactions += workers[i].transactions;
		if (workers[i].ended > ended)
			ended = workers[i].ended;
		broker_close(workers[i].conn);
	}
	print_throughput(transactions, clients, ended - start);
}

static void *
wake_consumer(void *arg)
{
	Worker	   *w = arg;
	Body	   *bodies = need(malloc(100 * sizeof(Body)));

	broker_consume(w->conn, 100);
	while (!stopping)
	{
		int			n = broker_take(w->conn, 100, 200, bodies);
		double		when = now();

		for (int i = 0; i < n; i++)
		{
			long		seq = atol(bodies[i]);

			add_sample(&w->samples, when - start, (when - sent[seq]) * 1000);
		}
		if (n > 0)
			broker_ack(w->conn);
		received += n;
	}
	free(bodies);
	return NULL;
}

static void *
wake_producer(void *arg)
{
	Worker	   *w = arg;
	char		text[40];
	char	   *body = text;

	for (long seq = w->number; seq < sent_max; seq += producers)
	{
		sleep_until(start + seq / rate);
		snprintf(text, sizeof(text), "%ld", seq);
		sent[seq] = now();
		broker_send(w->conn, &body, 1);
	}
	return NULL;
}

static void
wake(void)
{
	Worker	   *workers = need(calloc(clients, sizeof(Worker)));
	Worker	   *senders = need(calloc(producers, sizeof(Worker)));
	Samples		all = {0};
	double		patience;

	sent_max = (long) (rate * seconds);
	sent = need(calloc(sent_max + 1, sizeof(*sent)));
	for (int i = 0; i < clients; i++)
		workers[i].conn = broker_connect(i);
	for (int i = 0; i < producers; i++)
	{
		senders[i].number = i;
		senders[i].conn = broker_connect(1000 + i);
	}
	start = now() + 0.5;
	for (int i = 0; i < clients; i++)
		pthread_create(&workers[i].thread, NULL, wake_consumer, &workers[i]);
	for (int i = 0; i < producers; i++)
		pthread_create(&senders[i].thread, NULL, wake_producer, &senders[i]);
	for (int i = 0; i < producers; i++)
		pthread_join(senders[i].thread, NULL);
	patience = now() + 5;
	while (received < sent_max && now() < patience)
		sleep_until(now() + 0.05);
	stopping = true;
	for (int i = 0; i < clients; i++)
	{
		pthread_join(workers[i].thread, NULL);
		for (size_t j = 0; j < workers[i].samples.count; j++)
			add_sample(&all, workers[i].samples.items[j].at,
					   workers[i].samples.items[j].ms);
	}
	if (all.count != (size_t) sent_max)
	{
		fprintf(stderr, "broker: %ld sent, %zu arrived\n", sent_max,
				all.count);
		exit(3);
	}
	print_wake(&all);
}

int
main(int argc, char **argv)
{
	const char *what;
	int			option;

	while ((option = getopt(argc, argv, "c:p:b:s:n:r:T:")) != -1)
	{
		switch (option)
		{
			case 'c':
				clients = atoi(optarg);
				break;
			case 'p':
				producers = atoi(optarg);
				break;
			case 'b':
				batch = atoi(optarg);
				break;
			case 's':
				size = atoi(optarg);
				break;
			case 'n':
				target = atol(optarg);
				break;
			case 'r':
				rate = atof(optarg);
				break;
			case 'T':
				seconds = atof(optarg);
				break;
			default:
				return 2;
		}
	}
	if (optind != argc - 1 || batch < 1 || batch > BROKER_MAX_BATCH)
	{
		fprintf(stderr, "usage: broker [option ...] reset|count|load|enqueue"
				"|drain|wake\n");
		return 2;
	}
	what = argv[optind];
	if (strcmp(what, "load") == 0)
		load();
	else if (strcmp(what, "enqueue") == 0)
		throughput(enqueue_worker);
	else if (strcmp(what, "drain") == 0)
		throughput(drain_worker);
	else if (strcmp(what, "wake") == 0)
		wake();
	else if (strcmp(what, "reset") == 0)
		broker_reset(broker_connect(0));
	else if (strcmp(what, "count") == 0)
	{
		long		count = broker_count(broker_connect(0));

		printf("%ld|%ld\n", count, count);
	}
	else
		return 2;
	return 0;
}
