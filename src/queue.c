/*
 * queue.c
 *	  Loads the library.
 *
 * The layers, each using only those below it:
 *	  fn_*.c, admin*.c, worker.c, launcher.c	SQL functions and processes
 *	  wait.c, claim.c, settle.c, rotate.c		what a queue means
 *	  append.c, look.c, catalog*.c, txn.c, waiters.c
 *	  readymap.c, page.c						ready map and storage
 *	  shmem.c, layout.c, guc.c, compat.h
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "catalog.h"
#include "disconnect.h"
#include "guc.h"
#include "launcher.h"
#include "limits.h"
#include "shmem.h"
#include "txn.h"

PG_MODULE_MAGIC;

void		_PG_init(void);
PG_FUNCTION_INFO_V1(queue__start_worker);

/*
 * Without preload only the settings exist and every function says what to do.
 */
void
_PG_init(void)
{
	guc_define();
	MarkGUCPrefixReserved("queue");
	txn_init();
	limits_init();
	disconnect_init();
	catalog_init();
	if (!process_shared_preload_libraries_in_progress)
		return;
	shmem_install_hooks();
	launcher_register();
}

/*
 * Called by the extension's install script: the launcher will start a worker
 * for this database when the script's transaction has committed.
 */
Datum
queue__start_worker(PG_FUNCTION_ARGS)
{
	queue_require_preload();
	shmem_forget_dedup_state();
	txn_extension_created();
	PG_RETURN_VOID();
}
