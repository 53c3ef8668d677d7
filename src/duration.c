/*
 * duration.c
 *	  Intervals as microseconds, and times that far away.
 *
 * Owns the meaning of every interval that a function or a property takes.
 * Takes no locks.
 */
#include "postgres.h"

#include "duration.h"

/*
 * An interval in microseconds, as extract(epoch) counts: a month is 30 days,
 * 12 months are 365.25 days.  Too long an interval is cut.
 */
int64
interval_microseconds(const Interval *interval)
{
	double		days = (double) (interval->month / MONTHS_PER_YEAR) *
		DAYS_PER_YEAR + (double) (interval->month % MONTHS_PER_YEAR) *
		DAYS_PER_MONTH + interval->day;
	double		result = days * USECS_PER_DAY + (double) interval->time;

	if (result >= (double) PG_INT64_MAX / 2)
		return PG_INT64_MAX / 2;
	if (result <= (double) PG_INT64_MIN / 2)
		return PG_INT64_MIN / 2;
	return (int64) result;
}

/* A time after or before another, never as far as infinity */
TimestampTz
timestamp_plus(TimestampTz t, int64 microseconds)
{
	TimestampTz last = END_TIMESTAMP - 1;

	if (microseconds > 0 && t > last - microseconds)
		return last;
	return t + microseconds;
}
