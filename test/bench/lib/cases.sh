# shellcheck shell=bash
# A case is what one key stands for: all its contestants in all its rounds.
# With --state DIR its figures are kept when it is over, and a later run with
# the same DIR goes on after it.

# case_begin KEY: false when this case was done before.
case_begin() {
	if grep -qxF -- "$1" "$state/done"; then
		say "$1: done before"
		return 1
	fi
	: >"$work/case.tsv"
	: >"$work/case.series"
	failures_before=$failures
}

# A case in which a trial failed is in this run's report only, and is done
# again by the next.
case_end() {
	if [ "$failures" != "$failures_before" ]; then
		cat "$work/case.tsv" >>"$work/partial.tsv"
		cat "$work/case.series" >>"$work/partial.series"
		return
	fi
	cat "$work/case.tsv" >>"$state/raw.tsv"
	cat "$work/case.series" >>"$state/series.tsv"
	echo "$1" >>"$state/done"
}

state_begin() {
	: >"$work/partial.tsv"
	: >"$work/partial.series"
	state=${opt_state:-$work/state}
	mkdir -p "$state"
	touch "$state/done" "$state/raw.tsv" "$state/series.tsv"
}

# What the report reads.
state_collect() {
	cat "$state/raw.tsv" "$work/partial.tsv" >"$work/raw.tsv"
	cat "$state/series.tsv" "$work/partial.series" >"$work/series.tsv"
}

# record METRIC UNIT BETTER CONTESTANT VALUE: one raw figure of the case $key,
# $title in round $round. METRIC "main" is what the workload is about.
record() {
	local IFS=$'\t'

	printf '%s\n' "$key"$'\t'"$title"$'\t'"$1"$'\t'"$2"$'\t'"$3"$'\t'"$4"$'\t'"$round"$'\t'"$5" \
		>>"$work/case.tsv"
}

# record_series METRIC CONTESTANT SECOND VALUE: a point of a curve over time.
record_series() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$key" "$@" >>"$work/case.series"
}
