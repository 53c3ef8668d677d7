#!/bin/bash
# Instructions that one call takes in the server, by callgrind. Other load on
# the machine does not change them.
#
#   test/bench/instructions.sh [--profile DIR] [NAME ...]
#   test/bench/document.sh --instructions TABLE     put its output in the page
#
# Each case is a pgbench script of one statement, run in two sessions that
# differ only in the number of transactions; the difference is divided by
# theirs. "function" is the part inside the extension's SQL function, what it
# calls included. --profile keeps callgrind's files, for callgrind_annotate.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=test/cluster.sh
. "$here/../cluster.sh"

profile=
if [ "${1-}" = --profile ]; then
	profile=$(realpath -m "$2")
	shift 2
fi
few=100
many=400

# NAME|FUNCTION|MESSAGES TO LOAD|STATEMENT[;STATEMENT]
cases() {
	cat <<-'END'
		nothing||0|SELECT 1;
		INSERT||0|INSERT INTO t (body) VALUES ('{"a": 1}') RETURNING id;
		enqueue|queue_enqueue|0|SELECT queue.enqueue('q', '{"a": 1}');
		enqueue_batch 100|queue_enqueue_batch|0|SELECT queue.enqueue_batch('q', bodies) FROM b;
		enqueue_batch 100, dedup_ids|queue_enqueue_batch|0|SELECT queue.enqueue_batch('q', bodies, dedup_ids => ARRAY(SELECT gen_random_uuid()::text FROM generate_series(1, 100))) FROM b;
		UPDATE SKIP LOCKED||2000|UPDATE t SET state = 1 WHERE id = (SELECT id FROM t WHERE state = 0 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, body;
		dequeue|queue_dequeue|2000|SELECT receipt, body FROM queue.dequeue('q');
		dequeue 100|queue_dequeue|60000|SELECT receipt, body FROM queue.dequeue('q', 100);
		dequeue and ack|queue_ack|2000|SELECT receipt FROM queue.dequeue('q') \gset;SELECT queue.ack('q', :receipt::bigint);
		dequeue and ack 100|queue_ack_batch|60000|SELECT array_agg(receipt) AS r FROM queue.dequeue('q', 100) \gset;SELECT queue.ack_batch('q', :r::bigint[]);
		pop|queue_pop|2000|SELECT id, body FROM queue.pop('q');
		nothing there|queue_dequeue|0|SELECT id FROM queue.dequeue('q');
	END
}

# Runs the script that often; prints the callgrind file of the session, which is
# the one that prepares: pgbench has another, and psql may end late. A process
# writes its file when it ends.
session() {
	local before found=

	before=$(ls "$work/cg")
	as_owner pgbench -n -M prepared -c 1 -t "$1" -f "$work/script" \
		>"$work/pgbench.log" 2>&1 || { cat "$work/pgbench.log" >&2; exit 1; }
	until [ -n "$found" ]; do
		sleep 0.2
		found=$(comm -13 <(echo "$before") <(ls "$work/cg") |
			sed "s,^,$work/cg/," |
			xargs -r grep -l -e ' StorePreparedStatement$' || true)
	done
	until grep -q '^totals:' "$found"; do sleep 0.2; done
	echo "$found"
}

total() {
	sed -n 's/^totals: //p' "$1"
}

# Instructions below one function
inclusive() {
	callgrind_annotate --inclusive=yes --threshold=100 "$1" |
		sed -n "s/^ *\([0-9,]*\) .*:$2 .*/\1/p" | head -n 1 | tr -d ,
}

measure() {
	local name=$1 function=$2 load=$3 statement=$4 low high a b part=

	sql <<-END >/dev/null
		SELECT queue.drop('q', force => true) FROM queue.queues;
		SELECT queue.create('q', visibility_timeout => '1 hour');
		DROP TABLE t, b;
		CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			state int NOT NULL DEFAULT 0, body jsonb);
		CREATE INDEX ON t (id) WHERE state = 0;
		CREATE TABLE b AS SELECT array_agg(format('{"a": "%s", "b": %s}',
				repeat('x', 80), i)::jsonb) AS bodies
			FROM generate_series(1, 100) i;
		INSERT INTO t (body) SELECT '{"a": 1}' FROM generate_series(1, $load);
		SELECT count(queue.enqueue_batch('q', bodies))
			FROM b, generate_series(1, $load / 100);
		VACUUM ANALYZE t;
	END
	tr ';' '\n' <<<"$statement" | sed '/gset/!s/$/;/; /^;$/d' >"$work/script"
	low=$(session "$few")
	high=$(session "$many")
	a=$(total "$low")
	b=$(total "$high")
	if [ -n "$function" ]; then
		part=$((($(inclusive "$high" "$function") -
			$(inclusive "$low" "$function")) / (many - few)))
	fi
	printf '| %s | %d | %s |\n' "$name" $(((b - a) / (many - few))) "$part"
	if [ -n "$profile" ]; then
		mkdir -p "$profile"
		cp "$high" "$profile/${name// /_}.callgrind"
	fi
}

work_begin
pg_begin
# shellcheck disable=SC2119
build
cluster_create main 'fsync = off' 'autovacuum = off' 'jit = off' \
	'checkpoint_timeout = 1h' 'max_connections = 20'
as_owner mkdir "$work/cg"
"${runas[@]}" valgrind -q --tool=callgrind --trace-children=yes \
	--callgrind-out-file="$work/cg/%p" \
	"$(as_owner pg_config --bindir)/postgres" -D "$work/main" \
	>"$work/main.log" 2>&1 &
helper=$!
PGHOST=$work/main.sock
PGPORT=$(sed -n 's/^port = //p' "$work/main/postgresql.conf" | tail -n 1)
export PGHOST PGPORT PGUSER=postgres PGDATABASE=postgres
until as_owner pg_isready -q; do sleep 0.5; done
sql -c 'CREATE EXTENSION queue; CREATE TABLE t (); CREATE TABLE b ()'

echo '| call | whole transaction | in the function |'
echo '|---|---:|---:|'
while IFS='|' read -r name function load statement; do
	if [ $# -gt 0 ]; then
		for wanted in "$@"; do
			[ "$wanted" != "$name" ] ||
				measure "$name" "$function" "$load" "$statement" </dev/null
		done
	else
		measure "$name" "$function" "$load" "$statement" </dev/null
	fi
done < <(cases)
