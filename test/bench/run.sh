#!/bin/bash
# Benchmark of queue against other ways to keep a queue in PostgreSQL.
# See README.md in this directory, or run.sh --help.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
	cat <<-TEXT
		run.sh [option ...] [workload ...]

		Without a workload: "core", throughput and wake-up, about 40 minutes.
		"sweep": enqueue and drain by batch, connections, body. "all": each one,
		some five hours; with --state DIR it goes on where it was interrupted.

		  --list              workloads and contestants
		  --quick             a smoke run: tiny backlog, one round, one second
		  --full              every workload, and PGMQ's shape too
		  --state DIR         keep finished cases there, and go on after them
		  --install           install the packages of contestants by apt-get
		  --pgmq FILE         PGMQ takes part, by this file of SQL
		  --minutes N         length of the runs beside a held snapshot    (2)
		  --rounds N          trials of each contestant in each case     (3)
		  --seconds N         length of a trial that is limited by time  (8)
		  --backlog N         messages to drain                    (1000000)
		  --connections LIST  such as 1,8,32,128     instead of a case's own
		  --batches LIST      such as 1,10,100,1000  instead of a case's own
		  --bodies LIST       such as 98,2048, bytes instead of a case's own
		  --contestants LIST  see --list               (those there are)
		  --checkpoint WHEN   after-load: each trial starts just after one
		                      none: the backlog's pages are still dirty and
		                      cost no full-page images       (after-load)
		  --set 'NAME = VAL'  a line for postgresql.conf, repeatable
		  --json FILE         raw figures      (in a new temporary directory)
		  --tmp DIR           where the server goes, a real disk   (/var/tmp)
		  --check             exit 1 when a target is missed
		  --keep              leave the server's files and the logs
	TEXT
}

# ---------------------------------------------------------------- options

workloads=
contestants='copy insert table pgq redis rabbitmq queue'
pgmq_file=
opt_state=
install=0
minutes=2
rounds=3
trial_seconds=8
opt_backlog=1000000
settle_seconds=1
checkpoint='after-load'
opt_clients=
opt_batches=
opt_bodies=
extra_settings=
json=
check=0
quick=0
tmp=/var/tmp
background_pids=
failures=0

refuse() {
	echo "bench: $*" >&2
	exit 2
}

list_all() {
	local f

	echo 'Workloads:'
	for f in "$bench"/workloads/*.sh; do
		printf '  %-14s %s\n' "$(basename "$f" .sh)" \
			"$(sed -n 's/^# about: //p' "$f")"
	done
	echo 'Contestants:'
	for f in "$bench"/contestants/*/about; do
		printf '  %-14s %s\n' "$(basename "$(dirname "$f")")" "$(cat "$f")"
	done
}

parse_options() {
	while [ $# -gt 0 ]; do
		case $1 in
			--list) list_all && exit 0 ;;
			--help | -h) usage && exit 0 ;;
			--quick)
				quick=1 rounds=1 trial_seconds=1
				opt_backlog=20000 settle_seconds=0
				;;
			--check) check=1 ;;
			--keep) export KEEP=1 ;;
			--install) install=1 ;;
			--full)
				workloads=' all'
				contestants='copy insert table vt_table pgq redis rabbitmq queue'
				;;
			--*)
				[ $# -ge 2 ] || refuse "$1 wants a value, see --help"
				parse_option "$1" "$2"
				shift
				;;
			-*) refuse "no option \"$1\", see --help" ;;
			*) workloads="$workloads $1" ;;
		esac
		shift
	done
}

parse_option() {
	local list=${2//,/ }

	case $1 in
		--rounds) rounds=$2 ;;
		--seconds) trial_seconds=$2 ;;
		--backlog) opt_backlog=$2 ;;
		--connections | --clients) opt_clients=$list ;;
		--batches) opt_batches=$list ;;
		--bodies) opt_bodies=$list ;;
		--contestants) contestants=$list ;;
		--minutes) minutes=$2 ;;
		--pgmq) pgmq_file=$(realpath "$2") ;;
		--state) opt_state=$(realpath -m "$2") ;;
		--checkpoint) checkpoint=$2 ;;
		--set) extra_settings+=$2$'\n' ;;
		--json) json=$(realpath -m "$2") ;;
		--tmp) tmp=$(realpath "$2") ;;
		*) refuse "no option \"$1\", see --help" ;;
	esac
}

# "core" and "all" stand for lists of workloads.
expand_workloads() {
	local w out=

	local core="enqueue enqueue_server drain_bodies drain_server drain_single
		pop claim cycle wakeup"

	for w in ${workloads:-core}; do
		case $w in
			core) w=$core ;;
			all)
				w="$core sweep duplex snapshot idle_xact straggler delayed
					many_queues idle restart"
				;;
			*)
				[ -f "$bench/workloads/$w.sh" ] ||
					refuse "no workload \"$w\", see --list"
				;;
		esac
		out="$out $w"
	done
	workloads=$out
}

check_contestants() {
	local c

	want_queue=0
	[ -z "$pgmq_file" ] || contestants="$contestants pgmq"
	for c in $contestants; do
		[ -f "$bench/contestants/$c/about" ] ||
			refuse "no contestant \"$c\", see --list"
		[ "$c" != queue ] || want_queue=1
	done
}

# Drops those that are not to be had here.
available_contestants() {
	local c out=

	for c in $contestants; do
		! contestant_available "$c" || out="$out $c"
	done
	contestants=$out
}

install_contestants() {
	local c packages=

	for c in $contestants; do
		if [ -f "$bench/contestants/$c/packages" ] &&
			! contestant_available "$c" 2>/dev/null
		then
			packages="$packages $(cat "$bench/contestants/$c/packages")"
		fi
	done
	# shellcheck disable=SC2086
	[ -z "$packages" ] || "$top/test/setup.sh" packages $packages ||
		say 'Not all could be installed'
}

# --------------------------------------------------- before the measuring

# What the figures depend on, as name<TAB>value.
describe_machine() {
	local version=none c

	if [ "$want_queue" = 1 ]; then
		version=$(query "SELECT default_version FROM pg_available_extensions
						  WHERE name = 'queue'")
	fi
	printf '%s\t%s\n' \
		date "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
		commit "$(git_here describe --always --dirty 2>/dev/null ||
			echo unknown)" \
		queue "$version" \
		postgresql "$(query 'SHOW server_version')" \
		pgbench "$(pgbench --version)" \
		kernel "$(uname -sr)" \
		cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		cores "$cores" \
		memory_mb "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)" \
		file_system "$(stat -f -c %T "$work")" \
		commit_ms "$commit_ms" \
		load_before "$load_before" \
		rounds "$rounds" \
		seconds "$trial_seconds" \
		backlog "$opt_backlog" \
		checkpoint "$checkpoint" \
		contestants "${contestants# }" \
		limits "$(cd "$bench/contestants" && echo */limit | sed 's,/limit,,g') notify row+notify"
	for c in $contestants; do
		! is_broker "$c" || printf 'version.%s\t%s\n' "$c" "$("${c}_version")"
	done
	bench_settings | sed 's/ = /\t/; s/^/setting./'
}

# How long a commit of one row takes with one client: says whether fsync
# reaches a disk, and what a single enqueue costs at least.
measure_commit() {
	query 'CREATE TABLE bench.probe (i int)'
	echo 'INSERT INTO bench.probe VALUES (1);' >"$work/probe.pgbench"
	drive "$work/logs/probe" 1 1 1 "$work/probe.pgbench" -T 2 ||
		die 'a single INSERT fails'
	commit_ms=$latency
}

prepare() {
	cores=$(getconf _NPROCESSORS_ONLN)
	load_before=$(cut -d ' ' -f 1 /proc/loadavg)
	if [ "$(calc "($load_before > $cores * 0.3)")" = 1 ]; then
		warn "the machine was busy before (load $load_before on $cores cores)"
	fi
	case $(stat -f -c %T "$work") in
		tmpfs | ramfs) warn "$work is in memory: fsync costs nothing there" ;;
	esac
	bench_cluster
	query_file "$bench/lib/bodies.sql"
	measure_commit
	describe_machine >"$work/machine.tsv"
}

# Everything that was started ends, whatever the reason for leaving.
leave() {
	local status=$?

	# ending takes a while: a second signal must not cut it short
	trap '' INT TERM HUP
	stop_background
	brokers_end
	(exit "$status") || true
	work_end || true
	exit "$status"
}

main() {
	local w status=0

	parse_options "$@"
	expand_workloads
	check_contestants

	# shellcheck source=test/cluster.sh
	. "$bench/../cluster.sh"
	. "$bench/lib/cluster.sh"
	. "$bench/lib/common.sh"
	. "$bench/lib/brokers.sh"
	. "$bench/lib/cases.sh"
	. "$bench/lib/steady.sh"
	. "$bench/lib/wake.sh"
	if [ "$(id -u)" = 0 ]; then
		"$top/test/setup.sh" build
	fi
	[ "$install" = 0 ] || install_contestants
	available_contestants
	result_tmp=${TMPDIR:-/tmp}
	export TMPDIR=$tmp
	work_begin
	trap leave EXIT
	mkdir "$work/logs"
	: >"$work/warnings"
	state_begin

	prepare
	for w in $workloads; do
		. "$bench/workloads/$w.sh"
		"workload_$w"
	done

	if [ "${most_others:-0}" -gt 10 ]; then
		warn "other processes took up to $most_others % of the CPU"
	fi
	if [ -z "$json" ]; then
		json=$(mktemp -d "$result_tmp/queue-bench.XXXXXX")/bench.json
	fi
	state_collect
	perl "$bench/lib/report.pl" "$work" "$bench/targets.tsv" "$json" || status=$?
	[ "$status" -le 1 ] || die 'the report failed'
	echo "Raw figures: $json"
	if [ "$failures" -gt 0 ]; then
		die "$failures trials failed"
	fi
	if [ "$check" = 1 ]; then
		return "$status"
	fi
}

main "$@"
