#!/bin/bash
# The extension's page insert beside heap_multi_insert, in one build: speed,
# order of rows, holes, WAL, and what logical decoding sees.
#
#   test/bench/insert/run.sh [ROUNDS]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/cluster.sh
. "$here/../../cluster.sh"
rounds=${1:-9}

work_begin
pg_begin
copy_source "$work/src"
as_owner cp "$work/src/test/bench/insert/insert.c" "$work/src/src/zz_insert.c"
# page.c and what it needs; nothing of it is loaded at start.
(
	cd "$work/src"
	as_owner sh -c "cat > Makefile" <<-'END'
		MODULE_big = insert
		OBJS = src/zz_insert.o src/page.o src/layout.o \
			$(patsubst %.c,%.o,$(wildcard src/delta.c))
		PG_CFLAGS = -Wall -Isrc
		override with_llvm = no
		PGXS := $(shell $(PG_CONFIG) --pgxs)
		include $(PGXS)
	END
	within 300 "$work/build.log" make -s all install ||
		{ cat "$work/build.log"; exit 1; }
)
cluster_create main "shared_preload_libraries = ''" 'wal_level = logical' \
	'shared_buffers = 1GB' 'max_wal_size = 10GB' 'autovacuum = off'
cluster_start main
sql <<-'END'
	CREATE FUNCTION insert_own(regclass, regclass, int) RETURNS float8
		AS '$libdir/insert' LANGUAGE C STRICT;
	CREATE FUNCTION insert_heap(regclass, regclass, int) RETURNS float8
		AS '$libdir/insert' LANGUAGE C STRICT;
	CREATE TABLE source AS SELECT i::int8 AS id, now() AS visible_at,
		0 AS lease, 0 AS deliveries, 0 AS failures, 0::int2 AS priority,
		0 AS holder, 0 AS leased_ms, now() AS enqueued_at,
		NULL::timestamptz AS expires_at, NULL::text AS key,
		jsonb_build_object('job', i, 'note', repeat('x', 60)) AS body,
		NULL::bytea AS payload, NULL::jsonb AS headers
		FROM generate_series(1, 200000) i;
	CREATE TABLE result (kind text, batch int, ms float8, wal numeric);
END
for _ in $(seq "$rounds"); do
	for batch in 1 100 1000; do
		for kind in own heap; do
			sql -c 'DROP TABLE IF EXISTS target' \
				-c 'CREATE TABLE target (LIKE source)' -c CHECKPOINT
			sql -v kind="$kind" -v batch="$batch" <<-'END'
				SELECT pg_current_wal_insert_lsn() AS lsn \gset
				SELECT insert_:kind('target', 'source', :batch) AS ms \gset
				INSERT INTO result SELECT :'kind', :batch, :ms,
					pg_current_wal_insert_lsn() - :'lsn';
			END
		done
	done
done
as_owner psql -X -q -c "SELECT kind, batch,
	round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)
		/ 0.2)::numeric) AS \"ns a row\",
	round((min(ms) / 0.2)::numeric) AS \"ns at best\",
	round(avg(wal) / 200000, 1) AS \"WAL bytes a row\"
	FROM result GROUP BY kind, batch ORDER BY batch, kind DESC"
for kind in own heap; do
	sql -c 'DROP TABLE IF EXISTS target' -c 'CREATE TABLE target (LIKE source)'
	sql -c "SELECT pg_create_logical_replication_slot('s', 'test_decoding')" \
		>/dev/null
	sql -c "SELECT insert_$kind('target', 'source', 100)" >/dev/null
	echo "$kind: $(sql -c "SELECT count(*) FILTER (WHERE id < before)
			|| ' rows out of order, ' || count(DISTINCT (ctid::text::point)[0])
			|| ' pages used, '
			|| pg_relation_size('target') / 8192 || ' in the file, '
			|| (SELECT count(*) FROM pg_logical_slot_get_changes('s', NULL,
				NULL) WHERE data LIKE 'table public.target: INSERT%')
			|| ' inserts decoded'
		FROM (SELECT ctid, id, lag(id) OVER (ORDER BY ctid) AS before
			FROM target) x")"
	sql -c "SELECT pg_drop_replication_slot('s')"
done
