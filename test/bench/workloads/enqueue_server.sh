# shellcheck shell=bash
# about: producers send batches of bodies that are in the server already
# title: enqueue, in the server

workload_enqueue_server() {
	local b c s

	for s in $(bodies_or 98); do
		for c in $(clients_or 8); do
			for b in $(batches_or 100); do
				throughput enqueue_server enqueue_server "$c" "$b" "$s" 0 time
			done
		done
	done
}
