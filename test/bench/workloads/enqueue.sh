# shellcheck shell=bash
# about: producers send bodies, a batch or one in a transaction
# title: enqueue

workload_enqueue() {
	enqueue_cases "$(clients_or 8)" "$(batches_or '100 1')"
	# many producers of single messages share their commits
	if [ -z "$opt_clients$opt_batches" ]; then
		enqueue_cases 32 1
	fi
}

# enqueue_cases CLIENTS BATCHES
enqueue_cases() {
	local b c s script

	for s in $(bodies_or 98); do
		for c in $1; do
			for b in $2; do
				script=enqueue_batch
				[ "$b" != 1 ] || script=enqueue
				throughput enqueue "$script" "$c" "$b" "$s" 0 time
			done
		done
	done
}
