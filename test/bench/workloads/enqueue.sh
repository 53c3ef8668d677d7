# shellcheck shell=bash
# about: producers send bodies, a batch or one in a transaction
# title: enqueue

workload_enqueue() {
	local b c s script

	for s in $(bodies_or 98); do
		for c in $(clients_or 8); do
			for b in $(batches_or '100 1'); do
				script=enqueue_batch
				[ "$b" != 1 ] || script=enqueue
				throughput enqueue "$script" "$c" "$b" "$s" 0 time
			done
		done
	done
}
