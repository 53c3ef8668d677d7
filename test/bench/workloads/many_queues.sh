# shellcheck shell=bash
# about: send, claim, ack over a hundred hot queues against one
# title: send+claim+ack, many queues

workload_many_queues() {
	local key title round contestant=queue queues

	[ "$want_queue" = 1 ] || return 0
	say 'one queue and a hundred'
	for round in $(seq "$rounds"); do
		for queues in 1 100; do
			many_queues_trial
		done
	done
}

many_queues_trial() {
	local file

	key="many_queues q=$queues"
	title="send+claim+ack, batch 10, 8 conn, $queues queues"
	contestant_fresh queue
	query_file "$bench/contestants/queue/many.sql" -v "count=$queues" >/dev/null
	file=$(script_for queue many 10)
	settle
	drive "$work/logs/many_queues.$queues.$round" 8 10 98 "$file" \
		-D "queues=$queues" -T "$trial_seconds" || return 0
	record main msg/s higher queue "$(calc "$tps * 10")"
	say "$(printf '  round %d  %3d queues %12.0f msg/s' "$round" "$queues" \
		"$(calc "$tps * 10")")"
}
