# shellcheck shell=bash
# about: claim latency and size while an old snapshot is held
# title: held snapshot

workload_snapshot() {
	steady_case snapshot 'held snapshot' before_snapshot
}

before_snapshot() {
	hold_transaction 'BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT count(*) FROM pg_class;'
}
