/*
 * debug.c
 *	  Places at which a test can stop a process; nothing in a release build.
 *
 * Owns the setting queue.debug_pause, 'name=milliseconds[,name=...]': a
 * process that comes to the place of that name sleeps for so long.  On arrival
 * it creates the file queue.NAME.reached in the data directory; a file
 * queue.NAME.release there ends the sleep.  So a test forces a race instead of
 * hoping for it.
 *
 * The setting queue.debug_dedup_period makes the worker switch the tables of
 * dedup_ids as often as that, whatever the windows.
 *
 * Also makes every allocation in a transaction callback abort the process,
 * since there an error would be a PANIC.
 *
 * Takes no locks.  With interrupts held, as under a buffer lock, the sleep
 * cannot be interrupted.
 */
#include "postgres.h"

#include "debug.h"

#ifdef QUEUE_DEBUG

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "nodes/memnodes.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#define NAP_USECS 2000

static char *debug_pause = NULL;
static int	dedup_period = 0;

/* The contexts from which a careless callback would allocate */
#define GUARDED 4
static MemoryContextData *guarded[GUARDED];
static const MemoryContextMethods *methods[GUARDED];
static MemoryContextMethods guards[GUARDED];

/*
 * Defines the setting.
 */
void
debug_define(void)
{
	DefineCustomIntVariable("queue.debug_dedup_period",
							"How often tables of dedup_ids are switched, for "
							"tests.",
							NULL, &dedup_period, 0, 0, 60000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomStringVariable("queue.debug_pause",
							   "Places at which to sleep, for tests.",
							   "name=milliseconds, separated by commas.",
							   &debug_pause, "",
							   PGC_SUSET, 0, NULL, NULL, NULL);
}

/* How often tables of dedup_ids are switched, in milliseconds; 0 = not so */
int
debug_dedup_period(void)
{
	return dedup_period;
}

/* How long to sleep at this place, in milliseconds */
static int
pause_at(const char *name)
{
	Size		length = strlen(name);
	const char *at = debug_pause;

	while (at != NULL && *at != '\0')
	{
		if (strncmp(at, name, length) == 0 && at[length] == '=')
			return atoi(at + length + 1);
		at = strchr(at, ',');
		if (at != NULL)
			at++;
	}
	return 0;
}

/*
 * Sleeps if the setting says so for this place.
 */
void
debug_point(const char *name)
{
	int64		left = pause_at(name) * INT64CONST(1000);
	char		reached[MAXPGPATH];
	char		release[MAXPGPATH];
	int			fd;

	if (left == 0)
		return;
	snprintf(reached, sizeof(reached), "queue.%s.reached", name);
	snprintf(release, sizeof(release), "queue.%s.release", name);
	fd = open(reached, O_CREAT | O_WRONLY, 0600);
	if (fd >= 0)
		close(fd);
	for (; left > 0 && access(release, F_OK) != 0; left -= NAP_USECS)
	{
		pg_usleep(NAP_USECS);
		if (InterruptHoldoffCount == 0 && CritSectionCount == 0)
			CHECK_FOR_INTERRUPTS();
	}
}

/* What a guarded context does instead of allocating */
static void
refuse(void)
{
	write_stderr("queue: allocation in a transaction callback\n");
	abort();
}

/*
 * From now on allocations abort the process.  What is freed may be freed.
 */
void
debug_forbid_allocation(void)
{
	guarded[0] = TopMemoryContext;
	guarded[1] = CurrentMemoryContext;
	guarded[2] = CacheMemoryContext;
	guarded[3] = TopTransactionContext;
	for (int i = 0; i < GUARDED; i++)
	{
		for (int j = 0; j < i; j++)
			if (guarded[j] == guarded[i])
				guarded[i] = NULL;
		if (guarded[i] == NULL)
			continue;
		methods[i] = guarded[i]->methods;
		guards[i] = *methods[i];
		guards[i].alloc = (void *) refuse;
		guards[i].realloc = (void *) refuse;
		guarded[i]->methods = &guards[i];
	}
}

/*
 * The opposite.
 */
void
debug_allow_allocation(void)
{
	for (int i = 0; i < GUARDED; i++)
	{
		if (guarded[i] == NULL)
			continue;
		guarded[i]->methods = methods[i];
		guarded[i] = NULL;
	}
}

#endif							/* QUEUE_DEBUG */
