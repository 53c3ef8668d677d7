# shellcheck shell=bash
# about: send, claim, ack over a hundred and a thousand queues against one
# title: send+claim+ack, many queues

workload_many_queues() {
	local key title round contestant=queue queues

	[ "$want_queue" = 1 ] || return 0
	case_begin many_queues || return 0
	say 'one queue, a hundred, a thousand'
	for round in $(seq "$rounds"); do
		for queues in 1 100 1000; do
			many_queues_trial
		done
	done
	case_end many_queues
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
	say "$(printf '  round %d  %4d queues %12.0f msg/s' "$round" "$queues" \
		"$(calc "$tps * 10")")"
}
