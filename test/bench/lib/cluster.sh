# shellcheck shell=bash
# The private server that the benchmark runs on, by way of test/cluster.sh:
# the checkout is built into a private copy of PostgreSQL below $work, which is
# gone at the end, with everything that was started.

# Settings that differ from the defaults. They hold for every contestant.
bench_settings() {
	local mem_mb shared_mb

	mem_mb=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
	shared_mb=$((mem_mb / 4 > 2048 ? 2048 : mem_mb / 4))

	cat <<-CONF
		max_connections = 300
		fsync = on
		synchronous_commit = on
		full_page_writes = on
		shared_buffers = ${shared_mb}MB
		max_wal_size = 16GB
		checkpoint_timeout = 1h
		autovacuum_naptime = 5s
		jit = off
		log_min_messages = warning
		timezone = UTC
	CONF
	if [ "$want_queue" = 0 ]; then
		echo "shared_preload_libraries = ''"
	fi
	printf '%s' "$extra_settings"
}

bench_cluster() {
	local settings

	pg_begin
	if [ "$want_queue" = 1 ]; then
		say 'Building the extension'
		build || {
			tail -n 20 "$work/build.log" >&2
			die 'the extension does not build'
		}
	fi
	mapfile -t settings < <(bench_settings)
	cluster_create bench "${settings[@]}"
	cluster_start bench
	psql -qX -c 'CREATE DATABASE bench'
	export PGDATABASE=bench
	# it counts the pages that were dirtied, and is not part of every server
	with_buffercache=0
	if query 'CREATE EXTENSION pg_buffercache' 2>/dev/null; then
		with_buffercache=1
	fi
}

# CPU time in ms that all server processes have used, those that have ended
# included: the postmaster is told what its children used. A process may end
# between the listing and the reading.
server_cpu_ms() {
	cat /proc/[0-9]*/stat 2>/dev/null |
		awk -v pm="$(head -n 1 "$work/bench/postmaster.pid")" \
			-v hz="$(getconf CLK_TCK)" '
		{ pid = $1; sub(/^.*\) /, "") }
		pid == pm { s += $12 + $13 + $14 + $15 }
		$2 == pm { s += $12 + $13 }
		END { print int(s * 1000 / hz) }' || true
}
