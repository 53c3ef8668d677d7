# shellcheck shell=bash
# about: claim latency with a million messages delayed by an hour
# title: delayed backlog

workload_delayed() {
	local key="delayed" title='claim, a million delayed' round
	local contestant empty full

	[ "$quick" = 0 ] || title="claim, $opt_backlog delayed"
	case_begin "$key" || return 0
	say "$title"
	build_probe
	for round in $(seq "$rounds"); do
		for contestant in $(contestants_with load_delayed.sql); do
			contestant_fresh "$contestant"
			settle
			steady_run "$trial_seconds" 10000 || continue
			empty=$claim_p50
			contestant_fresh "$contestant"
			contestant_load "$contestant" "$opt_backlog" 98 load_delayed.sql
			settle
			steady_run "$trial_seconds" 10000 || continue
			full=$claim_p50
			record main ms lower "$contestant" "$full"
			record flat x lower "$contestant" "$(calc "$full / $empty")"
			say "$(printf '  round %d  %-10s empty %.3f ms  full %.3f ms' \
				"$round" "$contestant" "$empty" "$full")"
		done
	done
	case_end "$key"
}
