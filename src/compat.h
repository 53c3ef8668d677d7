/*
 * compat.h
 *	  Everything that differs between the PostgreSQL versions supported.
 *
 * Owns every test of PG_VERSION_NUM in the project.  A name of a newer
 * version is used everywhere else and back-ported here; where an existing
 * name changed its meaning the wrapper is called compat_*.
 */
#ifndef QUEUE_COMPAT_H
#define QUEUE_COMPAT_H

#include "access/heapam_xlog.h"
#include "access/hio.h"
#include "access/visibilitymap.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "storage/bufmgr.h"
#include "storage/lock.h"
#include "storage/smgr.h"
#include "utils/acl.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/wait_event.h"

/* 16 took what is said about varlena values out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 19 moved get_database_name() to utils/lsyscache.h */
#if PG_VERSION_NUM < 190000
#include "commands/dbcommands.h"
#endif

#if PG_VERSION_NUM < 160000

/* 16 renamed relfilenodes (commit b0a55e43299) */
typedef Oid RelFileNumber;

#define RelFileNumberIsValid(n) OidIsValid(n)
#define compat_rel_number(rel) ((rel)->rd_node.relNode)
#define compat_set_new_file(rel) \
	RelationSetNewRelfilenode(rel, (rel)->rd_rel->relpersistence)
#define compat_relation_ownercheck(relid, roleid) \
	pg_class_ownercheck(relid, roleid)
#define compat_namespace_aclcheck(nspid, roleid, mode) \
	pg_namespace_aclcheck(nspid, roleid, mode)

#else							/* PG_VERSION_NUM >= 160000 */

#include "catalog/pg_namespace.h"

#define compat_rel_number(rel) ((rel)->rd_locator.relNumber)
#define compat_set_new_file(rel) \
	RelationSetNewRelfilenumber(rel, (rel)->rd_rel->relpersistence)
#define compat_relation_ownercheck(relid, roleid) \
	object_ownercheck(RelationRelationId, relid, roleid)
#define compat_namespace_aclcheck(nspid, roleid, mode) \
	object_aclcheck(NamespaceRelationId, nspid, roleid, mode)

#endif

/*
 * Makes a relation n pages longer without entering the pages in shared
 * buffers.  The caller holds the relation's extension lock.  The pages read
 * as zeroes; they are not WAL-logged, the first insert initializes them.
 */
static inline void
compat_extend_zeroed(Relation rel, BlockNumber first, int n)
{
#if PG_VERSION_NUM < 160000
	PGAlignedBlock zeroes;

	MemSet(zeroes.data, 0, BLCKSZ);
	for (int i = 0; i < n; i++)
		smgrextend(RelationGetSmgr(rel), MAIN_FORKNUM, first + i,
				   zeroes.data, false);
#else
	smgrzeroextend(RelationGetSmgr(rel), MAIN_FORKNUM, first, n, false);
#endif
}

#ifndef HEAP_DELETE_BLKREF_VM
#define HEAP_DELETE_BLKREF_VM 1
#endif

/*
 * Clears a heap page's bits in the visibility map, in a critical section that
 * ends with a record which clears them.  True if the record shall register
 * the map's page as HEAP_DELETE_BLKREF_VM: then the page stays locked up to
 * compat_vm_unlock().
 *
 * Minor releases of 17 and 18 began to register it (commits 067213430 and
 * 4d7feebfb): without, incremental backups miss the change.  Earlier ones
 * pass over the reference in replay.  19 leaves the lock to the caller.
 */
static inline bool
compat_vm_clear(Relation rel, BlockNumber block, Buffer vmbuffer)
{
#if PG_VERSION_NUM < 170000
	visibilitymap_clear(rel, block, vmbuffer, VISIBILITYMAP_VALID_BITS);
	return false;
#elif PG_VERSION_NUM < 190000
	visibilitymap_clear(rel, block, vmbuffer, VISIBILITYMAP_VALID_BITS);
	LockBuffer(vmbuffer, BUFFER_LOCK_EXCLUSIVE);
	/* somebody may have written it meanwhile */
	MarkBufferDirty(vmbuffer);
	return true;
#else
	LockBuffer(vmbuffer, BUFFER_LOCK_EXCLUSIVE);
	visibilitymap_clear(rel, block, vmbuffer, VISIBILITYMAP_VALID_BITS);
	MarkBufferDirty(vmbuffer);
	return true;
#endif
}

/* Gives up the lock that compat_vm_clear() left, after the record */
static inline void
compat_vm_unlock(Buffer vmbuffer)
{
#if PG_VERSION_NUM >= 170000
	LockBuffer(vmbuffer, BUFFER_LOCK_UNLOCK);
#endif
}

/* 17 asks whether a stronger lock will do */
static inline bool
compat_lock_held(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM < 170000
	return LockHeldByMe(tag, mode);
#else
	return LockHeldByMe(tag, mode, false);
#endif
}

/* 17 gave extensions their own wait events */
static inline uint32
compat_wait_event(const char *name)
{
#if PG_VERSION_NUM < 170000
	return PG_WAIT_EXTENSION;
#else
	return WaitEventExtensionNew(name);
#endif
}

/* 17 tells reindex_relation() of the statement behind it */
#if PG_VERSION_NUM < 170000
#define compat_reindex(relid, flags, params) \
	reindex_relation(relid, flags, params)
#else
#define compat_reindex(relid, flags, params) \
	reindex_relation(NULL, relid, flags, params)
#endif

/* 16 can add several pages at once */
#if PG_VERSION_NUM < 160000
#define compat_buffer_for_tuple(rel, length, vmbuffer) \
	RelationGetBufferForTuple(rel, length, InvalidBuffer, 0, NULL, \
							  vmbuffer, NULL)
#else
#define compat_buffer_for_tuple(rel, length, vmbuffer) \
	RelationGetBufferForTuple(rel, length, InvalidBuffer, 0, NULL, \
							  vmbuffer, NULL, 1)
#endif

/* 19 has one state for what is built and for its result */
#if PG_VERSION_NUM < 190000
typedef struct JsonbInState
{
	JsonbValue *result;
	JsonbParseState *parseState;
} JsonbInState;

#define compat_push_jsonb(state, token, value) \
	((void) ((state)->result = pushJsonbValue(&(state)->parseState, token, \
											  value)))
#else
#define compat_push_jsonb(state, token, value) \
	pushJsonbValue(state, token, value)
#endif

/* 18 has this in front of a declaration in place of an attribute behind it */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 19 computes offsets of a row type once it is complete */
#if PG_VERSION_NUM < 190000
#define compat_finalize_descriptor(desc) ((void) 0)
#else
#define compat_finalize_descriptor(desc) TupleDescFinalize(desc)
#endif

/* 19 gives a hash table in shared memory one size, which is final */
#if PG_VERSION_NUM < 190000
#define compat_shmem_hash(name, nelems, info, flags) \
	ShmemInitHash(name, nelems, nelems, info, flags)
#else
#define compat_shmem_hash(name, nelems, info, flags) \
	ShmemInitHash(name, nelems, info, flags)
#endif

/* 17 replaced backend ids by proc numbers */
#if PG_VERSION_NUM < 170000
#define compat_my_proc_number() (MyProc->pgprocno)
#else
#define compat_my_proc_number() MyProcNumber
#endif

#endif							/* QUEUE_COMPAT_H */
