# shellcheck shell=bash
# about: send, claim, ack; WAL and CPU of a message's whole life
# title: send+claim+ack

workload_cycle() {
	local b c s

	for s in $(bodies_or 98); do
		for c in $(clients_or '8 128'); do
			for b in $(batches_or '100 1'); do
				throughput cycle cycle "$c" "$b" "$s" 0 time
			done
		done
	done
}
