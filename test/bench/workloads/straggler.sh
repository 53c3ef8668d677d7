# shellcheck shell=bash
# about: claim latency and size while the oldest message is leased for an hour
# title: straggler

workload_straggler() {
	steady_case straggler 'straggler' before_straggler
}

before_straggler() {
	query_file "$bench/contestants/$contestant/straggle.sql" >/dev/null
}
