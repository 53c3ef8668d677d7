/*
 * launcher.c
 *	  The process that starts a worker for each database with the extension.
 *
 * It cannot see which databases have the extension without connecting to
 * them.  So it starts a worker in each database once, in sequence; a worker
 * that finds no extension says so and leaves.  Afterwards CREATE EXTENSION
 * tells at its commit, and a database that appears (restored, copied from a
 * template) is tried when the list of databases is read again.
 *
 * It also starts again, after a pause, a worker that died or that left so that
 * a DROP DATABASE could pass.
 *
 * Locks: queue_shmem->lock, for the table of databases.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "keys.h"
#include "launcher.h"

/* How often the list of databases is read */
#define SWEEP_USECS		(10 * USECS_PER_SEC)

/* Pause before a worker that ended is started again */
#define RESTART_USECS	(1 * USECS_PER_SEC)

PGDLLEXPORT void queue_launcher_main(Datum arg);

/* Databases that were asked, with or without the extension */
static List *tried = NIL;

/*
 * Called while the server preloads the library.
 */
void
launcher_register(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade)
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "queue", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "queue_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "queue launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "queue launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* At exit: no launcher can be woken any more */
static void
detach(int code, Datum arg)
{
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	if (queue_shmem->launcher_pid == MyProcPid)
	{
		queue_shmem->launcher_pid = 0;
		queue_shmem->launcher_latch = NULL;
	}
	LWLockRelease(queue_shmem->lock);
}

/* The databases whose queues have places or slots in shared memory */
static List *
list_users(void)
{
	List	   *result = NIL;
	int			used = pg_atomic_read_u32(&queue_shmem->used_slots);

	for (int i = 0; i < queue_shmem->max_queues; i++)
		if (queue_shmem->queues[i].in_use)
			result = list_append_unique_oid(result,
											queue_shmem->queues[i].dboid);
	for (int i = 0; i < used; i++)
		if (queue_shmem->slots[i].in_use)
			result = list_append_unique_oid(result,
											queue_shmem->slots[i].dboid);
	return result;
}

/* Gives up what a dropped database had: nobody can be connected to it */
static void
forget_database(Oid dboid)
{
	int			used = pg_atomic_read_u32(&queue_shmem->used_slots);

	for (int i = 0; i < used; i++)
	{
		MapSlot    *slot = &queue_shmem->slots[i];

		if (slot->in_use && slot->dboid == dboid)
			map_slot_forget(slot);
	}
	for (int i = 0; i < queue_shmem->max_queues; i++)
	{
		QueueShared *qs = &queue_shmem->queues[i];

		if (qs->in_use && qs->dboid == dboid)
		{
			keys_forget_queue(qs);
			shmem_queue_forget(dboid, qs->id);
		}
	}
}

/* The databases that could have the extension; *all gets all there are */
static List *
list_databases(MemoryContext context, List **all)
{
	List	   *result = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tup;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tup = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tup);

		MemoryContext old = MemoryContextSwitchTo(context);

		*all = lappend_oid(*all, db->oid);
		if (db->datallowconn && !db->datistemplate)
			result = lappend_oid(result, db->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return result;
}

/* A worker of this database will say whether the extension is there */
static void
remember_tried(Oid dboid)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	tried = lappend_oid(tried, dboid);
	MemoryContextSwitchTo(old);
}

/*
 * A database found no place for its worker.  We do not know which: when one
 * comes free, all are asked.
 */
static void
try_all_again(void)
{
	static bool logged = false;

	queue_shmem->unserved = false;
	list_free(tried);
	tried = NIL;
	if (logged)
		return;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("queue serves no more than %d databases",
					queue_shmem->max_databases),
			 errhint("Consider increasing queue.max_databases.")));
	logged = true;
}

/*
 * Asks for a worker where none was tried; forgets dropped databases.  One at
 * a time when places are short: a database without the extension gives its
 * place back.
 */
static void
sweep(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *users = list_users();	/* read first: none of them is new */
	List	   *all = NIL;
	List	   *databases = list_databases(context, &all);
	ListCell   *lc;

	MemoryContextSwitchTo(old);
	foreach(lc, users)
		if (!list_member_oid(all, lfirst_oid(lc)))
			forget_database(lfirst_oid(lc));
	if (queue_shmem->unserved)
		try_all_again();
	foreach(lc, databases)
	{
		Oid			dboid = lfirst_oid(lc);

		if (list_member_oid(tried, dboid) ||
			shmem_database(dboid, false) != NULL)
			continue;
		if (shmem_want_worker(dboid))
			remember_tried(dboid);
	}

	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue_shmem->max_databases; i++)
	{
		DatabaseShared *db = &queue_shmem->databases[i];

		if (OidIsValid(db->dboid) && db->pid == 0 &&
			db->state != WORKER_STARTING &&
			!list_member_oid(databases, db->dboid))
			db->dboid = InvalidOid;
	}
	LWLockRelease(queue_shmem->lock);
}

/* Starts one worker and waits until it runs or has ended */
static void
start_worker(Oid dboid)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	pid_t		pid;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "queue", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "queue_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "queue worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "queue worker", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	worker.bgw_notify_pid = MyProcPid;

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
	{
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("queue cannot start a worker for database %u", dboid),
				 errhint("Consider increasing max_worker_processes.")));
		return;
	}
	(void) WaitForBackgroundWorkerStartup(handle, &pid);
	pfree(handle);
}

/* The next database that wants a worker; its state becomes "starting" */
static Oid
next_wanted(TimestampTz now)
{
	Oid			result = InvalidOid;

	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue_shmem->max_databases; i++)
	{
		DatabaseShared *db = &queue_shmem->databases[i];

		if (OidIsValid(db->dboid) && db->state == WORKER_WANTED &&
			db->retry_at <= now)
		{
			db->state = WORKER_STARTING;
			result = db->dboid;
			break;
		}
	}
	LWLockRelease(queue_shmem->lock);
	return result;
}

/*
 * A worker that did not come up, for want of a process or of the database,
 * leaves its state at "starting": try again later.
 */
static void
retry_if_not_running(Oid dboid)
{
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue_shmem->max_databases; i++)
	{
		DatabaseShared *db = &queue_shmem->databases[i];

		if (db->dboid == dboid && db->state == WORKER_STARTING &&
			db->pid == 0)
		{
			db->state = WORKER_WANTED;
			db->retry_at = GetCurrentTimestamp() + 5 * RESTART_USECS;
		}
	}
	LWLockRelease(queue_shmem->lock);
}

/* Starts a worker in each database that wants one */
static void
start_wanted(void)
{
	Oid			dboid;

	while (OidIsValid(dboid = next_wanted(GetCurrentTimestamp())))
	{
		CHECK_FOR_INTERRUPTS();
		start_worker(dboid);
		retry_if_not_running(dboid);
	}
}

/* How long until a pause of some database is over; milliseconds */
static long
next_retry(TimestampTz now, TimestampTz sweep_at)
{
	TimestampTz until = sweep_at;

	LWLockAcquire(queue_shmem->lock, LW_SHARED);
	for (int i = 0; i < queue_shmem->max_databases; i++)
	{
		DatabaseShared *db = &queue_shmem->databases[i];

		if (OidIsValid(db->dboid) && db->state == WORKER_WANTED)
			until = Min(until, db->retry_at);
	}
	LWLockRelease(queue_shmem->lock);
	return until <= now ? 1 : (long) ((until - now) / 1000) + 1;
}

/*
 * Main function of the launcher.
 */
void
queue_launcher_main(Datum arg)
{
	MemoryContext context;
	TimestampTz sweep_at = 0;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("queue launcher");

	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(queue_shmem->lock, LW_EXCLUSIVE);
	queue_shmem->launcher_latch = MyLatch;
	queue_shmem->launcher_pid = MyProcPid;
	LWLockRelease(queue_shmem->lock);

	context = AllocSetContextCreate(TopMemoryContext, "queue launcher",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		MemoryContextReset(context);
		if (now >= sweep_at)
		{
			sweep(context);
			sweep_at = now + SWEEP_USECS;
		}
		start_wanted();

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 next_retry(GetCurrentTimestamp(), sweep_at),
						 compat_wait_event("QueueLauncher"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
