# shellcheck shell=bash
# about: enqueue and claim+ack by batch, connections and body size (hours)
# title: sweep

workload_sweep() {
	local w

	for w in enqueue drain_bodies; do
		. "$bench/workloads/$w.sh"
		opt_batches=${opt_batches:-1 10 100 1000} \
			opt_clients=${opt_clients:-1 8 32 128} \
			opt_bodies=${opt_bodies:-98 2048} \
			"workload_$w"
	done
}
