# shellcheck shell=bash
# about: four producers, four waiting consumers: end-to-end latency by load
# title: duplex

workload_duplex() {
	local rate key title round producers=4 consumers=4

	build_probe
	for rate in 500 1000 2000 4000; do
		key="duplex r=$rate"
		title="duplex 4+4, median, $rate msg/s"
		case_begin "$key" || continue
		say "$title"
		for round in $(seq "$rounds"); do
			wake_contestants
		done
		case_end "$key"
	done
}
