#!/bin/bash
# make demo: competing consumers compute the SHA-256 of each file of a real
# directory tree, in two languages; one of them is killed in the middle.
#
#   DIRECTORY=/usr/include   the tree (default: the first one large enough)
#   FILES=8000               at most so many of its files
#   CONSUMERS=6              half of them Python, half Perl
#   KEEP=1                   keep the temporary directory
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../cluster.sh
. "$here/../cluster.sh"

files=${FILES:-8000}
consumers=${CONSUMERS:-6}
pids=()

say() {
	printf '\n== %s\n' "$*"
}

# Set tree to one with thousands of files, as it stands on this machine, and
# files to how many of them we take.
find_tree() {
	local count
	for tree in ${DIRECTORY:-/usr/share/doc /usr/include /usr/share /usr}; do
		count=$(find "$tree" -type f 2>/dev/null | head -n "$files" | wc -l)
		[ "$count" -lt "$files" ] || break
	done
	files=$count
}

# Started like this, a consumer's pid is its own and no shell's.
start_consumer() {
	local number=$1 program=consumer.py name
	[ $((number % 2)) = 0 ] || program=consumer.pl
	name=${program#consumer.}-$number
	case $program in
		*.py) set -- /usr/bin/python3 ;;
		*.pl) set -- /usr/bin/perl ;;
	esac
	"${runas[@]}" "$@" "$demo/$program" "$name" &
	pids[number]=$!
	names[number]=$name
}

stop_consumers() {
	local pid
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	for pid in "${pids[@]}"; do
		wait "$pid" 2>/dev/null || true
	done
	pids=()
}

finish() {
	local status=$?
	trap '' INT TERM HUP
	stop_consumers
	case $status in
		0) ;;
		130 | 143) say "Interrupted" ;;
		*) tail -n 10 "$work/main.log" 2>/dev/null || true ;;
	esac
	work_end || true
	exit "$status"
}

count_done() {
	sql -c 'SELECT count(*) FROM digest'
}

# Kill a consumer that holds messages. Stopping it first makes that certain:
# what it holds after a moment, it cannot settle any more.
kill_one() {
	local pid=${pids[0]} name=${names[0]} held=0
	for _ in {1..200}; do
		kill -STOP "$pid"
		sleep 0.05
		held=$(sql -c "SELECT count(*) FROM queue.in_flight
			WHERE application_name = '$name'")
		[ "$held" = 0 ] || break
		kill -CONT "$pid"
		sleep 0.01
	done
	echo "  kill -9 $name (pid $pid), which holds $held messages; the first of them:"
	as_owner psql -X -c "SELECT * FROM queue.in_flight
		WHERE application_name = '$name' LIMIT 3" | sed 's/^/  /'
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
	unset 'pids[0]'
	[ "$held" -gt 0 ] || echo "  It held nothing: nothing is redelivered." >&2
	[ "$held" -gt 0 ]
}

# Show how far it is until all is done; kill one consumer at a third.
watch() {
	local total='' finished killed='' line last='' deadline=$((SECONDS + 300))
	while [ "$SECONDS" -lt "$deadline" ]; do
		finished=$(count_done)
		[ -s "$work/produced" ] && total=$(cat "$work/produced")
		line=$(sql -c "SELECT format('  %6s of %s done, %5s ready, %3s leased',
			$finished, '${total:-?}', ready, leased)
			FROM queue.stats WHERE queue = 'files'")
		[ "$line" = "$last" ] || echo "$line"
		last=$line
		if [ "$finished" = "$total" ]; then
			[ -n "$killed" ] && return
			echo "All done before one could be killed: FILES=$files is too few" >&2
			return 1
		fi
		if [ -z "$killed" ] && [ "$finished" -ge $((files / 3)) ]; then
			kill_one
			killed=yes
		fi
		sleep 0.1
	done
	echo "Not done after 300 s" >&2
	return 1
}

report() {
	sql -F ' ' -c "
		SELECT format('  %s files in %s s: %s a second until the last one '
			'that was delivered once', count(*), round(all_seconds, 1),
			round(count(*) FILTER (WHERE deliveries = 1) / seconds))
		FROM digest, (
			SELECT extract(epoch FROM max(at) - min(at)) AS all_seconds,
				extract(epoch FROM max(at) FILTER (WHERE deliveries = 1)
					- min(at)) AS seconds
			FROM digest) AS span
		GROUP BY all_seconds, seconds"
	sql -c "
		SELECT format('  %s messages were redelivered (queue.stats says %s)',
			(SELECT count(*) FROM digest WHERE deliveries > 1), redelivered)
		FROM queue.stats WHERE queue = 'files'"
	as_owner psql -X -c "
		SELECT consumer, count(*) AS files,
			count(*) FILTER (WHERE deliveries > 1) AS redelivered
		FROM digest GROUP BY consumer ORDER BY consumer"
}

"$here/../setup.sh" demo
work_begin
trap finish EXIT

say "Build and install into a private copy of PostgreSQL"
pg_begin
build || { cat "$work/build.log" "$work/install.log" >&2; exit 1; }
"$PG_CONFIG" --version
cluster_create main
cluster_start main
# The copy, since the owner of the server may not be able to read the checkout.
demo=$work/src/test/demo
sql -f "$demo/schema.sql" >/dev/null

find_tree
say "$files files of $tree, $consumers consumers, killing one in the middle"
for ((number = 0; number < consumers; number++)); do
	start_consumer "$number"
done
"${runas[@]}" /usr/bin/python3 "$demo/producer.py" "$tree" "$files" \
	"$work/list" >"$work/produced" &
pids[consumers]=$!
watch
stop_consumers

say "Result"
report
say "Verification"
status=0
as_owner /usr/bin/python3 "$demo/verify.py" "$work/list" || status=$?

for view in queues stats in_flight segments workers; do
	say "queue.$view"
	as_owner psql -X -x -c "SELECT * FROM queue.$view"
done
exit "$status"
