# shellcheck shell=bash
# about: claim latency and size beside an idle transaction that owns an xid
# title: idle transaction

workload_idle_xact() {
	steady_case idle_xact 'idle transaction' before_idle_xact
}

before_idle_xact() {
	hold_transaction 'BEGIN; SELECT pg_current_xact_id();'
}
