/*
 * measure.h
 *	  Clock, samples and percentiles for the programs of the benchmark.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Sample
{
	double		at;				/* seconds since the start */
	double		ms;
} Sample;

typedef struct Samples
{
	Sample	   *items;
	size_t		count;
	size_t		space;
} Samples;

static inline double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void
sleep_until(double when)
{
	struct timespec ts;

	ts.tv_sec = (time_t) when;
	ts.tv_nsec = (long) ((when - ts.tv_sec) * 1e9);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static inline void *
need(void *memory)
{
	if (memory == NULL)
	{
		fprintf(stderr, "out of memory\n");
		exit(2);
	}
	return memory;
}

static inline void
add_sample(Samples *s, double at, double ms)
{
	if (s->count == s->space)
	{
		s->space = s->space ? s->space * 2 : 1024;
		s->items = need(realloc(s->items, s->space * sizeof(Sample)));
	}
	s->items[s->count].at = at;
	s->items[s->count].ms = ms;
	s->count++;
}

static inline int
compare_samples(const void *a, const void *b)
{
	double		x = ((const Sample *) a)->ms;
	double		y = ((const Sample *) b)->ms;

	return (x > y) - (x < y);
}

/* After this, percentile() may be asked */
static inline void
sort_samples(Samples *s)
{
	if (s->count > 0)
		qsort(s->items, s->count, sizeof(Sample), compare_samples);
}

static inline double
percentile(const Samples *s, double p)
{
	if (s->count == 0)
		return 0;
	return s->items[(size_t) (p * (s->count - 1) + 0.5)].ms;
}

/* The line of a run with waiting consumers */
static inline void
print_wake(Samples *s)
{
	sort_samples(s);
	printf("wake\t%zu\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\n", s->count,
		   percentile(s, 0.5), percentile(s, 0.9), percentile(s, 0.99),
		   percentile(s, 0.999), percentile(s, 1));
}

/* In pgbench's words, so that the caller reads both alike */
static inline void
print_throughput(long transactions, int clients, double elapsed)
{
	printf("number of transactions actually processed: %ld\n", transactions);
	printf("latency average = %.3f ms\n",
		   transactions ? elapsed * clients * 1000 / transactions : 0);
	printf("tps = %.3f\n", transactions / elapsed);
}

#endif							/* BENCH_MEASURE_H */
