# shellcheck shell=bash
# about: claim one message at a time from a backlog, no ack
# title: claim alone

workload_claim() {
	local opt_batches=

	drain_cases claim 1
}
