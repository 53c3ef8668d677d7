# shellcheck shell=bash
# Latency from COMMIT to a waiting client, by means of probe.c.

# wake_contestants: a trial of each chosen one that can wait.
wake_contestants() {
	local contestant

	for contestant in $contestants; do
		if has_file "$contestant" client_wait.sql; then
			wake_trial "$contestant" wait "$contestant" client_wait
		elif has_file "$contestant" client_claim.sql; then
			wake_trial "$contestant" listen "$contestant" client_claim
		fi
	done
}

# wake_trial LABEL MODE [CONTESTANT CLAIM]: with $rate messages a second from
# $producers to $consumers; for the case $key.
wake_trial() {
	local label=$1 mode=$2 contestant=${3-} claim=${4-} args=() out
	local p50 p99 p999

	if [ "$mode" = row ]; then
		args=(-e "$bench/lib/row_notify.sql")
		query 'DROP TABLE IF EXISTS bench.row; CREATE TABLE bench.row (body text)' \
			2>/dev/null
	elif [ -n "$contestant" ]; then
		contestant_fresh "$contestant"
		settle
		args=(-e "$(client_sql "$contestant" client_enqueue 1)"
			-q "$(client_sql "$contestant" "$claim" 100)"
			-a "$(client_sql "$contestant" client_ack 1)")
	fi
	out="$work/logs/${key// /_}.$label.$round"
	run_child "$work/probe" -m "$mode" -r "$rate" -T "$trial_seconds" \
		-p "$producers" -c "$consumers" "${args[@]}" wake >"$out" ||
		{ broken "$key: $label"; return 0; }
	read -r p50 p99 p999 < <(awk -F'\t' '{ print $3, $5, $6 }' "$out")
	record main ms lower "$label" "$p50"
	record p99 ms lower "$label" "$p99"
	record p99.9 ms lower "$label" "$p999"
	say "$(printf '  round %d  %-10s p50 %.3f ms  p99 %.3f ms  p99.9 %.3f ms' \
		"$round" "$label" "$p50" "$p99" "$p999")"
}
