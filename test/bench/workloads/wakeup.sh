# shellcheck shell=bash
# about: from COMMIT to the row in a waiting client's hands, against NOTIFY
# title: wake-up

workload_wakeup() {
	local rate

	for rate in 100 1000; do
		wakeup_case "$rate"
	done
}

# "notify" is a bare LISTEN/NOTIFY, whose commit waits for no fsync since it
# writes no WAL; "row+notify" inserts a row as well, so that its commit is as
# durable as the others'; a table adds the claim; "queue" is dequeue(wait).
wakeup_case() {
	local rate=$1 key="wakeup r=$1" round producers=1 consumers=1
	local title="wake-up, median, $1 msg/s"

	case_begin "$key" || return 0
	say "$title"
	build_probe
	for round in $(seq "$rounds"); do
		wake_trial notify notify
		wake_trial row+notify row
		wake_contestants
	done
	case_end "$key"
}
