/*-------------------------------------------------------------------------
 *
 * probe.c
 *	  Latencies that pgbench cannot tell: of one statement of several over
 *	  time, and from a commit to the row in a waiting client's hands.
 *
 * probe steady	 threads that send a batch, claim a batch, ack it; the time of
 *				 each claim, by tenths of the run
 * probe wake	 producers at a steady rate, and consumers that wait
 * probe first	 connects as soon as the server lets it in, claims once
 * probe copy	 threads that COPY a batch in each transaction
 *
 * The statements are read from files. A claim returns (key, body).
 *
 *-------------------------------------------------------------------------
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "measure.h"

/* Pause of a consumer that has to poll and found nothing */
#define POLL_SECONDS 0.005

/* Parts of a steady run, for a plot over time */
#define SLICES 40

typedef struct Worker
{
	pthread_t	thread;
	PGconn	   *conn;
	Samples		samples;
	long		messages;
} Worker;

static int	clients = 1;
static int	producers = 1;
static int	batch = 1;
static int	size = 98;
static double rate = 0;
static double seconds = 10;
static const char *mode = "wait";
static char *enqueue_sql;
static char *claim_sql;
static char *ack_sql;

static double start;
static atomic_bool stopping;

/* wake: when the COMMIT of each message was sent */
static _Atomic double *sent;
static long sent_max;

static void
fail(const char *what, PGconn *conn)
{
	fprintf(stderr, "probe: %s: %s\n", what, conn ? PQerrorMessage(conn) : "");
	exit(2);
}

static char *
read_file(const char *path)
{
	FILE	   *file = fopen(path, "r");
	char	   *text = need(malloc(65536));
	size_t		length;

	if (file == NULL)
		fail(path, NULL);
	length = fread(text, 1, 65535, file);
	text[length] = '\0';
	fclose(file);
	return text;
}

static PGresult *
check(PGconn *conn, PGresult *res)
{
	ExecStatusType status = PQresultStatus(res);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		fail("statement failed", conn);
	return res;
}

static PGresult *
run(PGconn *conn, const char *sql)
{
	return check(conn, PQexec(conn, sql));
}

static PGresult *
run_prepared(PGconn *conn, const char *name, const char *param)
{
	return check(conn, PQexecPrepared(conn, name, param ? 1 : 0, &param,
									  NULL, NULL, 0));
}

static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	if (sql)
		PQclear(check(conn, PQprepare(conn, name, sql, 0, NULL)));
}

static PGconn *
connect_prepared(void)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		fail("cannot connect", conn);
	prepare(conn, "enqueue", enqueue_sql);
	prepare(conn, "claim", claim_sql);
	prepare(conn, "ack", ack_sql);
	return conn;
}

/* Ack the rows of a claim, keys in the first column. */
static void
ack_rows(PGconn *conn, PGresult *res)
{
	int			rows = PQntuples(res);
	char	   *keys;
	size_t		used = 0;

	if (rows == 0)
		return;
	keys = need(malloc((size_t) rows * 24 + 3));
	for (int i = 0; i < rows; i++)
		used += sprintf(keys + used, "%c%s", i ? ',' : '{',
						PQgetvalue(res, i, 0));
	strcpy(keys + used, "}");
	PQclear(run_prepared(conn, "ack", keys));
	free(keys);
}

static Samples
gather(Worker *workers, int count)
{
	Samples		all = {0};

	for (int i = 0; i < count; i++)
		for (size_t j = 0; j < workers[i].samples.count; j++)
			add_sample(&all, workers[i].samples.items[j].at,
					   workers[i].samples.items[j].ms);
	return all;
}

/* ------------------------------------------------------------- steady */

static void *
steady_worker(void *arg)
{
	Worker	   *w = arg;
	char		sql[200];
	PGresult   *bodies;
	double		next = start;

	snprintf(sql, sizeof(sql), "SELECT array_agg(bench.body(i, %d)) "
			 "FROM generate_series(1, %d) i", size, batch);
	bodies = run(w->conn, sql);
	while (now() < start + seconds)
	{
		PGresult   *res;
		double		before;
		double		after;

		if (rate > 0)
		{
			sleep_until(next);
			next += batch * clients / rate;
		}
		PQclear(run_prepared(w->conn, "enqueue", PQgetvalue(bodies, 0, 0)));
		before = now();
		res = run_prepared(w->conn, "claim", NULL);
		after = now();
		add_sample(&w->samples, after - start, (after - before) * 1000);
		w->messages += PQntuples(res);
		ack_rows(w->conn, res);
		PQclear(res);
	}
	PQclear(bodies);
	return NULL;
}

/* Median and 99th percentile of each of n equal parts of the run */
static void
print_parts(const char *name, int n, const Samples *all)
{
	Samples		part = {0};

	for (int i = 0; i < n; i++)
	{
		part.count = 0;
		for (size_t j = 0; j < all->count; j++)
		{
			int			p = (int) (all->items[j].at * n / seconds);

			if ((p < n ? p : n - 1) == i)
				add_sample(&part, all->items[j].at, all->items[j].ms);
		}
		sort_samples(&part);
		printf("%s\t%d\t%.4f\t%.4f\t%zu\n", name, i + 1,
			   percentile(&part, 0.5), percentile(&part, 0.99), part.count);
	}
	free(part.items);
}

static void
steady_report(Worker *workers)
{
	Samples		all = gather(workers, clients);
	long		messages = 0;
	double		elapsed = now() - start;

	for (int i = 0; i < clients; i++)
		messages += workers[i].messages;
	print_parts("tenth", 10, &all);
	print_parts("slice", SLICES, &all);
	sort_samples(&all);
	printf("total\t%ld\t%.1f\t%.4f\t%.4f\n", messages, messages / elapsed,
		   percentile(&all, 0.5),
		   percentile(&all, 0.99));
}

static void
steady(void)
{
	Worker	   *workers = need(calloc(clients, sizeof(Worker)));

	for (int i = 0; i < clients; i++)
		workers[i].conn = connect_prepared();
	start = now();
	for (int i = 0; i < clients; i++)
		pthread_create(&workers[i].thread, NULL, steady_worker, &workers[i]);
	for (int i = 0; i < clients; i++)
		pthread_join(workers[i].thread, NULL);
	steady_report(workers);
}

/* --------------------------------------------------------------- wake */

/* A message has arrived that carries its number behind "seq". */
static void
arrived(Worker *w, const char *text, double when)
{
	const char *digits = strpbrk(text, "0123456789");
	long		seq = digits ? atol(digits) : -1;

	if (seq < 0 || seq >= sent_max || sent[seq] == 0)
		fail("a message that nobody sent", NULL);
	add_sample(&w->samples, when - start, (when - sent[seq]) * 1000);
	w->messages++;
}

static int
take_rows(Worker *w)
{
	PGresult   *res = run_prepared(w->conn, "claim", NULL);
	double		when = now();
	int			rows = PQntuples(res);

	for (int i = 0; i < rows; i++)
		arrived(w, PQgetvalue(res, i, 1), when);
	ack_rows(w->conn, res);
	PQclear(res);
	return rows;
}

/*
 * The notification is the message, or (mode "listen") tells to claim some.
 * One that came along with the result of a claim waits in the connection, and
 * the socket says nothing of it.
 */
static void
listen_turn(Worker *w)
{
	struct pollfd fd = {.fd = PQsocket(w->conn), .events = POLLIN};
	bool		bare = strcmp(mode, "listen") != 0;
	PGnotify   *note = PQnotifies(w->conn);

	if (note == NULL)
	{
		poll(&fd, 1, 100);
		if (!PQconsumeInput(w->conn))
			fail("connection lost", w->conn);
		note = PQnotifies(w->conn);
	}
	if (note == NULL)
		return;
	if (bare)
		arrived(w, note->extra, now());
	while (!bare && take_rows(w) > 0)
		;
	PQfreemem(note);
}

static void *
wake_consumer(void *arg)
{
	Worker	   *w = arg;
	bool		poll = strcmp(mode, "poll") == 0;
	bool		wait = poll || strcmp(mode, "wait") == 0;

	if (!wait)
		PQclear(run(w->conn, "LISTEN bench"));
	while (!stopping)
	{
		if (wait)
		{
			if (take_rows(w) == 0 && poll)
				sleep_until(now() + POLL_SECONDS);
		}
		else
			listen_turn(w);
	}
	return NULL;
}

/* Send each producers'th message, each in a transaction of its own. */
static void *
wake_producer(void *arg)
{
	Worker	   *w = arg;
	char		body[40];

	/* w->messages is the first number of this producer */
	for (long seq = w->messages; seq < sent_max; seq += producers)
	{
		sleep_until(start + seq / rate);
		snprintf(body, sizeof(body), "{\"seq\": %ld}", seq);
		PQclear(run(w->conn, "BEGIN"));
		PQclear(run_prepared(w->conn, "enqueue", body));
		if (strcmp(mode, "listen") == 0)
			PQclear(run(w->conn, "NOTIFY bench"));
		sent[seq] = now();
		PQclear(run(w->conn, "COMMIT"));
	}
	return NULL;
}

static void
wake(void)
{
	Worker	   *workers = need(calloc(clients, sizeof(Worker)));
	Worker	   *senders = need(calloc(producers, sizeof(Worker)));
	Samples		all;
	double		patience;

	if (rate <= 0)
		fail("wake needs a rate", NULL);
	sent_max = (long) (rate * seconds);
	sent = need(calloc(sent_max, sizeof(*sent)));
	if (strcmp(mode, "notify") == 0)
		enqueue_sql = "SELECT pg_notify('bench', $1)";
	for (int i = 0; i < clients; i++)
	{
		workers[i].conn = connect_prepared();
		pthread_create(&workers[i].thread, NULL, wake_consumer, &workers[i]);
	}
	start = now() + 0.5;
	for (int i = 0; i < producers; i++)
	{
		senders[i].conn = connect_prepared();
		senders[i].messages = i;
		pthread_create(&senders[i].thread, NULL, wake_producer, &senders[i]);
	}
	for (int i = 0; i < producers; i++)
		pthread_join(senders[i].thread, NULL);

	/* Consumers wait for at most a second in one call. */
	patience = now() + 5;
	do
	{
		long		messages = 0;

		for (int i = 0; i < clients; i++)
			messages += workers[i].messages;
		if (messages >= sent_max)
			break;
		sleep_until(now() + 0.05);
	} while (now() < patience);
	stopping = true;
	for (int i = 0; i < clients; i++)
		pthread_join(workers[i].thread, NULL);

	all = gather(workers, clients);
	if (all.count != (size_t) sent_max)
	{
		fprintf(stderr, "probe: %ld sent, %zu arrived\n", sent_max, all.count);
		exit(3);
	}
	print_wake(&all);
}

/* --------------------------------------------------------------- copy */

/* The statement in -e is a COPY FROM STDIN of one column of bodies. */
static void *
copy_worker(void *arg)
{
	Worker	   *w = arg;
	char		sql[200];
	PGresult   *rows;
	const char *data;

	/* The text of a body has no backslash, tab or newline. */
	snprintf(sql, sizeof(sql), "SELECT string_agg(bench.body(i, %d)::text || "
			 "E'\\n', '') FROM generate_series(1, %d) i", size, batch);
	rows = run(w->conn, sql);
	data = PQgetvalue(rows, 0, 0);
	while (now() < start + seconds)
	{
		PGresult   *res = PQexec(w->conn, enqueue_sql);

		if (PQresultStatus(res) != PGRES_COPY_IN)
			fail("COPY does not start", w->conn);
		PQclear(res);
		if (PQputCopyData(w->conn, data, strlen(data)) != 1 ||
			PQputCopyEnd(w->conn, NULL) != 1)
			fail("COPY failed", w->conn);
		while ((res = PQgetResult(w->conn)) != NULL)
			PQclear(check(w->conn, res));
		w->messages += batch;
	}
	PQclear(rows);
	return NULL;
}

static void
copy(void)
{
	Worker	   *workers = need(calloc(clients, sizeof(Worker)));
	long		messages = 0;
	double		elapsed;

	for (int i = 0; i < clients; i++)
	{
		workers[i].conn = PQconnectdb("");
		if (PQstatus(workers[i].conn) != CONNECTION_OK)
			fail("cannot connect", workers[i].conn);
	}
	start = now();
	for (int i = 0; i < clients; i++)
		pthread_create(&workers[i].thread, NULL, copy_worker, &workers[i]);
	for (int i = 0; i < clients; i++)
	{
		pthread_join(workers[i].thread, NULL);
		messages += workers[i].messages;
	}
	elapsed = now() - start;
	print_throughput(messages / batch, clients, elapsed);
}

/* -------------------------------------------------------------- first */

static void
first(void)
{
	double		patience = now() + 600;
	double		before;
	PGconn	   *conn;
	PGresult   *res;

	for (;;)
	{
		before = now();
		conn = PQconnectdb("");
		if (PQstatus(conn) == CONNECTION_OK)
			break;
		if (now() > patience)
			fail("the server does not come back", conn);
		PQfinish(conn);
		sleep_until(now() + 0.002);
	}
	prepare(conn, "claim", claim_sql);
	res = run_prepared(conn, "claim", NULL);
	printf("first\t%d\t%.3f\n", PQntuples(res), (now() - before) * 1000);
}

static int
usage(void)
{
	fprintf(stderr, "usage: probe steady|wake|copy|first [-c clients] "
			"[-p producers] [-b batch]\n  [-s body size] "
			"[-r messages a second] [-T seconds]\n  [-m wait|poll|listen|notify|row] "
			"[-e enqueue file] [-q claim file] [-a ack file]\n");
	return 2;
}

int
main(int argc, char **argv)
{
	int			option;

	while ((option = getopt(argc, argv, "c:p:b:s:r:T:m:e:q:a:")) != -1)
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
			case 'r':
				rate = atof(optarg);
				break;
			case 'T':
				seconds = atof(optarg);
				break;
			case 'm':
				mode = optarg;
				break;
			case 'e':
				enqueue_sql = read_file(optarg);
				break;
			case 'q':
				claim_sql = read_file(optarg);
				break;
			case 'a':
				ack_sql = read_file(optarg);
				break;
			default:
				return usage();
		}
	}
	if (optind != argc - 1)
		return usage();
	if (strcmp(argv[optind], "steady") == 0)
		steady();
	else if (strcmp(argv[optind], "wake") == 0)
		wake();
	else if (strcmp(argv[optind], "copy") == 0)
		copy();
	else if (strcmp(argv[optind], "first") == 0)
		first();
	else
		return usage();
	return 0;
}
