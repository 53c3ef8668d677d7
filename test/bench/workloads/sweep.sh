# shellcheck shell=bash
# about: enqueue and claim+ack by batch, connections and body size (hours)
# title: sweep

# One dimension at a time around batch 100, 8 connections, 98 bytes; where the
# user gives lists, every combination.
workload_sweep() {
	local w sized="$opt_clients$opt_batches$opt_bodies"

	for w in enqueue drain_bodies; do
		. "$bench/workloads/$w.sh"
		if [ -n "$sized" ]; then
			opt_batches=${opt_batches:-1 10 100 1000} \
				opt_clients=${opt_clients:-1 8 32 128} \
				opt_bodies=${opt_bodies:-98 2048} \
				"workload_$w"
			continue
		fi
		while IFS='|' read -r opt_batches opt_clients opt_bodies; do
			"workload_$w" </dev/null
		done <<-CASES
			100 1|1 8 32 128|98
			10 1000|8|98
			100 1|8|2048
		CASES
		opt_batches='' opt_clients='' opt_bodies=''
	done
}
