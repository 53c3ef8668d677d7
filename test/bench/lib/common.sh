# shellcheck shell=bash
# What all workloads share: trials, records, measurements.
#
# A trial gives one contestant a fresh start (drop, create, load, checkpoint),
# runs its pgbench script, and records figures. A workload is a list of cases;
# in each the contestants take turns, round by round.

die() {
	printf 'bench: %s\n' "$*" >&2
	exit 2
}

say() {
	printf '%s\n' "$*" >&2
}

# Also repeated below the table.
warn() {
	printf 'bench: warning: %s\n' "$*" >&2
	printf '%s\n' "$*" >>"$work/warnings"
}

# A trial failed: the others go on, but this run does not end well.
broken() {
	failures=$((failures + 1))
	warn "failed: $*"
}

# query SQL [psql option ...]: rows without ornament.
query() {
	local statement=$1

	shift
	psql -qXAt -v ON_ERROR_STOP=1 "$@" -c "$statement"
}

query_file() {
	local file=$1

	shift
	psql -qXAt -v ON_ERROR_STOP=1 "$@" -f "$file"
}

# Runs a command so that a signal to this script is handled at once: bash
# runs traps during wait, not during a command in the foreground. $helper is
# what test/cluster.sh ends when we leave.
run_child() {
	local status=0

	"$@" &
	helper=$!
	wait "$helper" || status=$?
	helper=
	return "$status"
}

# Starts a command that goes on in the background until stop_background.
background() {
	"$@" &
	background_pids="$background_pids $!"
}

stop_background() {
	local pid

	for pid in $background_pids; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	background_pids=
}

calc() {
	awk "BEGIN { printf \"%.6g\", ($1) }"
}

# The median of the numbers on standard input.
median() {
	sort -g | awk '{ a[NR] = $1 } END { if (NR)
		print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'
}

# ------------------------------------------------------------- contestants

has_file() {
	[ -f "$bench/contestants/$1/$2" ]
}

# Those of the chosen contestants that have FILE.
contestants_with() {
	local c

	for c in $contestants; do
		if has_file "$c" "$1" || has_file "$c" "${1%.pgbench}.copy" ||
			has_file "$c" "${1%.pgbench}.client"
		then
			echo "$c"
		fi
	done
}

# Values of a dimension: what the user asked for, else the default.
clients_or() { echo "${opt_clients:-$1}"; }
batches_or() { echo "${opt_batches:-$1}"; }
bodies_or() { echo "${opt_bodies:-$1}"; }

# Nothing is left of a trial, and the contestant has its empty queue. $clients
# and $batch, where set, are the trial's.
contestant_fresh() {
	contestants_drop
	if is_broker "$1"; then
		broker_begin "$1"
		broker_client "$1" reset
	else
		query_file "$bench/contestants/$1/setup.sql" \
			-v "clients=${clients:-8}" -v "pgmq_file=$pgmq_file" >/dev/null
	fi
}

contestants_drop() {
	local c

	for c in $contestants; do
		if ! is_broker "$c"; then
			query_file "$bench/contestants/$c/drop.sql" >/dev/null
		elif [ -n "${broker_pids[$c]-}" ]; then
			broker_client "$c" reset
		fi
	done
}

# contestant_load CONTESTANT COUNT SIZE [FILE]
contestant_load() {
	[ "$2" -gt 0 ] || return 0
	if is_broker "$1"; then
		broker_client "$1" -n "$2" -s "$3" load
	else
		query "CALL bench.fill_pool($3)"
		query_file "$bench/contestants/$1/${4:-load.sql}" -v "count=$2" \
			-v "batch=${batch:-100}" >/dev/null
	fi
}

# "claimable|total", counted in the table, not taken from the contestant's
# statistics.
contestant_count() {
	if is_broker "$1"; then
		broker_client "$1" count
	else
		query_file "$bench/contestants/$1/count.sql"
	fi
}

contestant_cpu_ms() {
	if is_broker "$1"; then broker_cpu_ms "$1"; else server_cpu_ms; fi
}

# Bytes of WAL, or what a broker has written to its files.
contestant_written() {
	if is_broker "$1"; then
		broker_written "$1"
	else
		query "SELECT pg_current_wal_insert_lsn() - '0/0'"
	fi
}

# Pages that wait to be written to the data files, or were since the server
# started.
pages_dirtied() {
	if [ "$with_buffercache" = 0 ]; then
		echo 0
		return
	fi
	query 'SELECT buffers_clean + buffers_backend +
				  (SELECT count(*) FROM pg_buffercache WHERE isdirty)
			 FROM pg_stat_bgwriter'
}

# ------------------------------------------------------------------ trials

# Every trial starts just after a checkpoint, so that none pays for what its
# predecessor left in memory.
settle() {
	if [ "$checkpoint" = after-load ]; then
		query CHECKPOINT
	fi
	sleep "$settle_seconds"
}

# script_for CONTESTANT SCRIPT BATCH: the pgbench script with the batch size
# put in as a literal, since a parameter there would spoil the table's plan.
script_for() {
	local kind=pgbench out

	has_file "$1" "$2.pgbench" || kind=copy
	! has_file "$1" "$2.client" || kind=client
	out="$work/$1.$2.$kind"
	sed "s/{{batch}}/$3/g" "$bench/contestants/$1/$2.$kind" >"$out"
	echo "$out"
}

# drive LOG CLIENTS BATCH SIZE FILE [pgbench option ...]
# Runs pgbench, the probe where FILE is a COPY, or a broker's client; leaves tps, latency (ms) and
# transactions. False, with a warning, when it fails.
drive() {
	local log=$1 clients=$2 batch=$3 size=$4 file=$5 threads mode

	shift 5
	threads=$((clients < cores ? clients : cores))
	set -- pgbench -n -M prepared -c "$clients" -j "$threads" \
		-D init=1 -D "size=$size" -D "batch=$batch" -D key=0 \
		-D "clients=$clients" -D "backlog=${backlog:-0}" "$@" -f "$file"
	if [ "${file##*.}" = copy ]; then
		build_probe
		set -- "$work/probe" -c "$clients" -b "$batch" -s "$size" \
			-T "$trial_seconds" -e "$file" copy
	elif [ "${file##*.}" = client ]; then
		mode=(-T "$trial_seconds")
		[ "$limit" != drain ] || mode=(-n "$backlog")
		set -- broker_client "$contestant" -c "$clients" -b "$batch" \
			-s "$size" "${mode[@]}" "$(cat "$file")"
	fi
	if ! run_child "$@" >"$log" 2>&1 || grep -q 'aborted\|ERROR' "$log"; then
		grep -h 'ERROR' "$log" | head -n 3 >&2
		broken "$(basename "$file"), $clients connections"
		return 1
	fi
	tps=$(awk '/^tps = / { print $3 }' "$log")
	latency=$(awk '/^latency average = / { print $4 }' "$log")
	transactions=$(awk -F': ' '/transactions actually processed/ {
		sub("/.*", "", $2); print $2 }' "$log")
}

# CPU time in ms that the whole machine has used, and that the clients have.
machine_cpu_ms() {
	awk -v hz="$(getconf CLK_TCK)" '/^cpu / {
		print int(($2 + $3 + $4 + $7 + $8 + $9) * 1000 / hz) }' /proc/stat
}

client_cpu_ms() {
	times >"$work/times"
	sed -n '2s/[ms]/ /gp' "$work/times" |
		awk '{ print int(($1 * 60 + $2 + $3 * 60 + $4) * 1000) }'
}

# throughput WORKLOAD SCRIPT CLIENTS BATCH SIZE BACKLOG LIMIT
# One case: all contestants, all rounds. LIMIT is "time" (--seconds), or
# "drain": as many transactions as empty the backlog.
throughput() {
	local workload=$1 script=$2 clients=$3 batch=$4 size=$5 backlog=$6
	local limit=$7 key title round contestant

	key="$workload b=$batch c=$clients s=$size"
	title="$(workload_title "$workload"), batch $batch, $clients conn, $size B"
	case_begin "$key" || return 0
	say "$title"
	for round in $(seq "$rounds"); do
		for contestant in $(contestants_with "$script.pgbench"); do
			throughput_trial
		done
	done
	case_end "$key"
}

# One trial of throughput(), whose variables it uses.
throughput_trial() {
	local file log after wal cpu all clients_cpu messages rate args pages

	contestant_fresh "$contestant"
	contestant_load "$contestant" "$backlog" "$size"
	query "CALL bench.fill_batch($batch, $size)"
	file=$(script_for "$contestant" "$script" "$batch")
	log="$work/logs/${key// /_}.$contestant.$round"
	settle

	if [ "$limit" = drain ]; then
		args=(-t $(((backlog / batch + clients - 1) / clients)))
	else
		args=(-T "$trial_seconds")
	fi
	pages=$(pages_dirtied)
	wal=$(contestant_written "$contestant")
	clients_cpu=$(client_cpu_ms)
	cpu=$(contestant_cpu_ms "$contestant")
	all=$(machine_cpu_ms)
	drive "$log" "$clients" "$batch" "$size" "$file" "${args[@]}" || return 0
	all=$(($(machine_cpu_ms) - all))
	cpu=$(($(contestant_cpu_ms "$contestant") - cpu))
	clients_cpu=$(($(client_cpu_ms) - clients_cpu))
	wal=$(($(contestant_written "$contestant") - wal))
	pages=$(($(pages_dirtied) - pages))
	after=$(contestant_count "$contestant")

	messages=$(messages_done "$after")
	if [ "$messages" -le 0 ]; then
		broken "$key: $contestant handled no message"
		return 0
	fi
	rate=$(calc "$messages / ($transactions / $tps)")
	# What other processes took of all cores, kernel threads among them.
	all=$(calc "int(($all - $cpu - $clients_cpu) * $tps / $transactions / 10 / $cores)")
	cpu=$(calc "$cpu * 1000 / $messages")
	wal=$(calc "$wal / $messages")
	record main msg/s higher "$contestant" "$rate"
	record latency ms lower "$contestant" "$latency"
	record wal B/msg lower "$contestant" "$wal"
	record cpu us/msg lower "$contestant" "$cpu"
	if ! is_broker "$contestant" && [ "$with_buffercache" = 1 ]; then
		record pages '/1000' lower "$contestant" \
			"$(calc "$pages * 1000 / $messages")"
	fi
	record others % lower "$contestant" "$all"
	if [ "$all" -gt "${most_others:-0}" ]; then
		most_others=$all
	fi
	say "$(printf '  round %d  %-10s %10.0f msg/s %8.1f us CPU/msg %6.0f B WAL/msg, others %2.0f %% CPU' \
		"$round" "$contestant" "$rate" "$cpu" "$wal" "$all")"
}

# Messages handled, by what is left of the backlog ("claimable|total"). Says so
# where something is off: a backlog that ran out makes the figure one of empty
# calls, and a sum that does not fit the number of transactions means lost or
# invented messages (at the end of its time, pgbench leaves each connection
# in the middle of its script).
messages_done() {
	local claimable=${1%%|*} total=${1##*|} handled

	case $script in
		enqueue*) handled=$((total - backlog)) ;;
		claim) handled=$((backlog - claimable)) ;;
		cycle) handled=$((transactions * batch - total)) ;;
		*) handled=$((backlog - total)) ;;
	esac
	if [ "$limit" = drain ]; then
		if [ "$handled" -lt $((backlog * 95 / 100)) ]; then
			warn "$key $contestant: $handled of $backlog messages handled"
		fi
	elif [ "$backlog" -gt 0 ] && [ "$claimable" -le 0 ]; then
		warn "$key $contestant: the backlog ran out, use a larger --backlog"
	elif [ $((transactions * batch - handled)) -gt $((clients * batch)) ] ||
		[ $((handled - transactions * batch)) -gt $((clients * batch)) ]
	then
		warn "$key $contestant: $transactions transactions," \
			"$handled messages"
	fi
	echo "$handled"
}

# Large batches empty the backlog, with the same number of transactions for
# each contestant; small ones would take minutes and run for a set time.
drain_limit() {
	if [ "$1" -ge 50 ]; then
		echo drain
	else
		echo time
	fi
}

# The cases of a workload that drains a backlog: WORKLOAD BATCHES [CLIENTS].
drain_cases() {
	local b c s

	for s in $(bodies_or 98); do
		for c in $(clients_or "${3:-8}"); do
			for b in $(batches_or "$2"); do
				throughput "$1" "$1" "$c" "$b" "$s" \
					"$(backlog_for "$s")" "$(drain_limit "$b")"
			done
		done
	done
}

# A million bodies of 2 kB would be a measurement of the disk.
backlog_for() {
	if [ "$1" -gt 500 ]; then
		echo $((opt_backlog / 10))
	else
		echo "$opt_backlog"
	fi
}

workload_title() {
	sed -n 's/^# title: //p' "$bench/workloads/$1.sh"
}
