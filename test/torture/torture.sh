# shellcheck shell=bash
# Sourced after test/cluster.sh, with the extension built: torture_run.

# torture_run SECONDS LOG SEED [OPTION...]: makes a server in $work/main, lets
# torture.py at it, and looks through the server's log.
torture_run() {
	local seconds=$1 log=$2 seed=$3 status=0
	shift 3
	as_owner cc -O2 -shared -fPIC -o "$work/shim.so" \
		"$work/src/test/torture/shim.c" -ldl || return
	as_owner dd if=/dev/zero of="$work/shim" bs=16 count=1 status=none
	cluster_create main 'max_prepared_transactions = 50' \
		'queue.truncate_grace = 2s' 'queue.segment_size = 2MB' \
		'restart_after_crash = on' 'max_connections = 60' \
		'deadlock_timeout = 200ms' 'checkpoint_timeout = 30s' \
		"log_line_prefix = '%m [%p] %e '" || return
	(
		export LD_PRELOAD="$work/shim.so" QUEUE_SHIM="$work/shim"
		cluster_start main
	) || return
	PGHOST=$work/main.sock
	PGPORT=$(sed -n 4p "$work/main/postmaster.pid")
	export PGHOST PGPORT PGUSER=postgres
	within $((seconds * 2 + 400)) "$log" env PGDATA="$work/main" \
		LD_PRELOAD="$work/shim.so" QUEUE_SHIM="$work/shim" \
		PYTHONUNBUFFERED=1 /usr/bin/python3 \
		"$work/src/test/torture/torture.py" --sources "$work/src/src" \
		--seconds "$seconds" ${seed:+--seed "$seed"} "$@" || status=$?
	torture_complaints >"$work/complaints"
	if [ -s "$work/complaints" ]; then
		head -n 40 "$work/complaints" >>"$log"
		status=1
	fi
	return "$status"
}

# What the server must not have said.  A full disk for WAL is a PANIC, after
# which the process aborts, and a SIGKILL is ours.
torture_complaints() {
	awk '/PANIC: / && /No space left on device/ {
			match($0, /\[[0-9]+\]/)
			ours[substr($0, RSTART + 1, RLENGTH - 2)] = 1
			next
		}
		/signal 6:/ {
			match($0, /PID [0-9]+/)
			if (substr($0, RSTART + 4, RLENGTH - 4) in ours)
				next
		}
		/PANIC: |TRAP: |signal (6|7|11):| XX[0-9][0-9][0-9] |leak/' \
		"$work/main.log"
}
