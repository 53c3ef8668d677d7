/*
 * guc.c
 *	  Settings, and the checks with which every writing function begins.
 *
 * Owns the queue.* settings.  Those that size shared memory are read once, at
 * server start.  Takes no locks.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "debug.h"
#include "guc.h"
#include "shmem.h"

int			queue_key_memory = 8192;
int			queue_max_queues = 2048;
int			queue_max_segments = 4096;
int			queue_map_memory = 16384;
int			queue_max_databases = 16;
int			queue_segment_size = 65536;
int			queue_truncate_grace = 60;
int			queue_notify_interval = 100;
int			queue_park_after = 300;
bool		queue_durable_claims = false;
bool		queue_release_on_disconnect = false;

/*
 * Defines the settings.
 */
void
guc_define(void)
{
	DefineCustomBoolVariable("queue.durable_claims",
							 "Flushes the write-ahead log before dequeue() "
							 "returns.",
							 "Without it a crash may forget the newest "
							 "claims: the messages are delivered again.",
							 &queue_durable_claims, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
	{
		DefineCustomIntVariable("queue.key_memory",
								"Memory for the keys of fifo queues and for "
								"counted leases.",
								"32 bytes for each lease, each key in use, "
								"and each page on which a key waits; what "
								"finds none left is looked at more often.",
								&queue_key_memory, 8192, 64, 4 * 1024 * 1024,
								PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
		DefineCustomIntVariable("queue.map_memory",
								"Memory for the ready maps of all segments.",
								"About 23 bytes a page of 8 kB; a segment that "
								"finds none left works, but slowly.",
								&queue_map_memory, 16384, 64, 4 * 1024 * 1024,
								PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);
		DefineCustomIntVariable("queue.max_databases",
								"Most databases that can have a queue worker.",
								NULL, &queue_max_databases, 16, 1, 1024,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
		DefineCustomIntVariable("queue.max_queues",
								"Most queues that can be in shared memory.",
								"A queue that finds no place works, but slowly.",
								&queue_max_queues, 2048, 1, 1000000,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
		DefineCustomIntVariable("queue.max_segments",
								"Most segments that can have a ready map.",
								"A segment that finds no place works, but slowly.",
								&queue_max_segments, 4096, 1, 1000000,
								PGC_POSTMASTER, 0, NULL, NULL, NULL);
	}
	DefineCustomIntVariable("queue.notify_interval",
							"Shortest time between two NOTIFY of one queue; "
							"-1 sends none.",
							NULL, &queue_notify_interval, 100, -1, 3600000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.park_after",
							"A message sent with a longer delay than this is "
							"stored apart from the others.",
							NULL, &queue_park_after, 300, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("queue.release_on_disconnect",
							 "Gives the leases that a session took back when "
							 "it ends.",
							 "Otherwise they run out when their time is over.",
							 &queue_release_on_disconnect, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.segment_size",
							"Size at which the worker closes a segment and "
							"opens the next.",
							NULL, &queue_segment_size, 65536, 1024, 262144,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("queue.truncate_grace",
							"How long a drained segment is kept for snapshots "
							"that may still read it; -1 waits for them.",
							NULL, &queue_truncate_grace, 60, -1,
							INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	debug_define();
}

/*
 * Raises 55000 when the library was not loaded at server start.
 */
void
queue_require_preload(void)
{
	if (queue_shmem == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("queue must be loaded at server start"),
				 errhint("Add shared_preload_libraries = 'queue' to "
						 "postgresql.conf and restart the server.")));
}

/*
 * Every function that changes anything starts with this: the page primitives
 * do not pass through the executor, which would have checked.  what is the
 * function's name, for the message.
 */
void
queue_prevent_readonly(const char *what)
{
	PreventCommandIfReadOnly(what);
	PreventCommandIfParallelMode(what);
	PreventCommandDuringRecovery(what);
	queue_require_preload();
}
