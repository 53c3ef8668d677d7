#!/bin/bash
# Benchmark of queue against other ways to keep a queue in PostgreSQL.
# See README.md in this directory, or run.sh --help.
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
	cat <<-TEXT
		run.sh [option ...] [workload ...]

		Without a workload: "core", those that have a target of their own.
		"sweep": enqueue and drain by batch, connections, body. "all": each one.

		  --list              workloads and contestants
		  --quick             a smoke run: tiny backlog, one round, one second
		  --rounds N          trials of each contestant in each case     (3)
		  --seconds N         length of a trial that is limited by time  (8)
		  --backlog N         messages to drain                    (1000000)
		  --connections LIST  such as 1,8,32,128     instead of a case's own
		  --batches LIST      such as 1,10,100,1000  instead of a case's own
		  --bodies LIST       such as 98,2048, bytes instead of a case's own
		  --contestants LIST  (copy,insert,table,queue), see --list
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
contestants='copy insert table queue'
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

	for w in ${workloads:-core}; do
		case $w in
			core) w="enqueue_server enqueue drain_server drain_bodies claim" ;;
			all) w=$(cd "$bench/workloads" && echo *.sh | sed 's/\.sh//g') ;;
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
	for c in $contestants; do
		[ -f "$bench/contestants/$c/setup.sql" ] ||
			refuse "no contestant \"$c\", see --list"
		[ "$c" != queue ] || want_queue=1
	done
}

# --------------------------------------------------- before the measuring

# What the figures depend on, as name<TAB>value.
describe_machine() {
	local version=none

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
		contestants "$contestants"
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

	stop_background
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
	. "$bench/lib/steady.sh"
	. "$bench/lib/wake.sh"
	if [ "$(id -u)" = 0 ]; then
		"$top/test/setup.sh" build
	fi
	result_tmp=${TMPDIR:-/tmp}
	export TMPDIR=$tmp
	work_begin
	trap leave EXIT
	mkdir "$work/logs"
	: >"$work/raw.tsv"
	: >"$work/warnings"

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
