# shellcheck shell=bash
# about: what a hundred and a thousand idle queues cost: WAL, transaction ids, CPU
# title: idle

workload_idle() {
	local key title round=1 contestant queues seconds=60

	[ "$quick" = 0 ] || seconds=5
	for queues in 100 1000; do
		key="idle queues=$queues"
		title="$queues idle queues"
		case_begin "$key" || continue
		say "$title, $seconds s"
		for contestant in $(contestants_with many.sql); do
			idle_trial
		done
		case_end "$key"
	done
}

idle_state() {
	query "SELECT pg_current_wal_insert_lsn() - '0/0' || ' ' ||
				  pg_snapshot_xmax(pg_current_snapshot())"
}

idle_trial() {
	local before after cpu

	contestant_fresh "$contestant"
	query_file "$bench/contestants/$contestant/many.sql" -v "count=$queues" >/dev/null
	query CHECKPOINT
	# The checkpoint's successor of running transactions, the worker's setup,
	# and autovacuum's look at new tables are not idleness.
	sleep $((seconds / 3))
	before=$(idle_state)
	cpu=$(server_cpu_ms)
	sleep "$seconds"
	cpu=$(($(server_cpu_ms) - cpu))
	after=$(idle_state)
	record main ms/min lower "$contestant" "$(calc "$cpu * 60 / $seconds")"
	record wal B/min lower "$contestant" \
		"$(calc "(${after% *} - ${before% *}) * 60 / $seconds")"
	record xids xid/min lower "$contestant" \
		"$(calc "(${after#* } - ${before#* }) * 60 / $seconds")"
	say "  $contestant: $cpu ms CPU, $((${after% *} - ${before% *})) B WAL," \
		"$((${after#* } - ${before#* })) xids"
}
