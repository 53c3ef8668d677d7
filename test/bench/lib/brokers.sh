# shellcheck shell=bash
# Contestants that are no PostgreSQL: a directory with a broker.sh and a
# client.c, which is linked with broker.c. Each is started when its first trial
# comes, and ended with us; its files are below $work.

brokers_pids=
declare -A broker_pids=()

is_broker() {
	has_file "$1" broker.sh
}

# Is it there to be used? Says what is missing.
contestant_available() {
	local packages

	case $1 in
		pgmq)
			[ -n "$pgmq_file" ] || return 1
			return 0
			;;
		pgq) [ ! -e "$(pg_share)/extension/pgq.control" ] || return 0 ;;
		*)
			is_broker "$1" || return 0
			. "$bench/contestants/$1/broker.sh"
			! "$1_available" || return 0
			;;
	esac
	packages=$(cat "$bench/contestants/$1/packages")
	say "Without $1: it takes the packages $packages (--install)"
	return 1
}

pg_share() {
	"${PG_CONFIG:-$("$top/test/pg_config.sh")}" --sharedir
}

# wait_for SECONDS COMMAND...
wait_for() {
	local tries=$(($1 * 10))

	shift
	until "$@" 2>/dev/null; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}

# Compiles the client and starts the server, once.
broker_begin() {
	local name=$1 libraries

	[ -z "${broker_pids[$name]-}" ] || return 0
	libraries=$("${name}_libraries")
	# shellcheck disable=SC2086
	cc -O2 -I"$bench/lib" -o "$work/$name.broker" "$bench/lib/broker.c" \
		"$bench/contestants/$name/client.c" $libraries -lpthread ||
		die "cannot compile the client of $name"
	say "Starting $name"
	broker_pid=
	"${name}_start" || die "$name does not start, see $work/logs/$name"
	broker_pids[$name]=$broker_pid
	brokers_pids="$brokers_pids $broker_pid"
	wait_for 100 broker_client "$name" reset >/dev/null ||
		die "$name does not answer"
}

# broker_client NAME [option ...] MODE
broker_client() {
	local name=$1

	shift
	BENCH_BROKER=$("${name}_address") "$work/$name.broker" "$@"
}

# The last that was started ends first: a server may need its helpers to end,
# and would start them again.
brokers_end() {
	local pid reversed=

	for pid in $brokers_pids; do
		reversed="$pid $reversed"
	done
	for pid in $reversed; do
		kill "$pid" 2>/dev/null || continue
		wait_for 30 is_gone "$pid" || kill -9 "$pid" 2>/dev/null || true
	done
	brokers_pids=
}

is_gone() {
	! kill -0 "$1"
}

# CPU time in ms and bytes written to files by the broker so far.
broker_cpu_ms() {
	awk -v hz="$(getconf CLK_TCK)" '{ sub(/^.*\) /, "")
		print int(($12 + $13) * 1000 / hz) }' "/proc/${broker_pids[$1]}/stat"
}

broker_written() {
	awk '/^write_bytes/ { print $2 }' "/proc/${broker_pids[$1]}/io"
}
