# shellcheck shell=bash
# about: claim one message, then ack it, in two transactions
# title: claim+ack, two transactions

workload_drain_single() {
	local opt_batches=

	drain_cases drain_single 1 '8 32'
}
