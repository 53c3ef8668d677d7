# shellcheck shell=bash
# Latency from COMMIT to a waiting client, by means of probe.c.

# wake_contestants: a trial of each chosen one that can wait.
wake_contestants() {
	local contestant

	for contestant in $contestants; do
		if has_file "$contestant" wake.client; then
			broker_trial
		elif has_file "$contestant" client_poll.sql; then
			wake_trial "$contestant" poll "$contestant" client_poll
		elif has_file "$contestant" client_wait.sql; then
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
	local clients=$consumers

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
		if has_file "$contestant" ticker.sql; then
			background psql -qX -o /dev/null \
				-f "$bench/contestants/$contestant/ticker.sql"
		fi
	fi
	out="$work/logs/${key// /_}.$label.$round"
	if ! run_child "$work/probe" -m "$mode" -r "$rate" -T "$trial_seconds" \
		-p "$producers" -c "$consumers" "${args[@]}" wake >"$out"
	then
		broken "$key: $label"
	else
		wake_record "$label" "$out"
	fi
	stop_background
}

# The same with a broker's client.
broker_trial() {
	local out="$work/logs/${key// /_}.$contestant.$round"

	contestant_fresh "$contestant"
	if ! run_child broker_client "$contestant" -r "$rate" -T "$trial_seconds" \
		-p "$producers" -c "$consumers" wake >"$out"
	then
		broken "$key: $contestant"
	else
		wake_record "$contestant" "$out"
	fi
}

wake_record() {
	local label=$1 p50 p99 p999

	read -r p50 p99 p999 < <(awk -F'\t' '{ print $3, $5, $6 }' "$2")
	record main ms lower "$label" "$p50"
	record p99 ms lower "$label" "$p99"
	record p99.9 ms lower "$label" "$p999"
	say "$(printf '  round %d  %-10s p50 %.3f ms  p99 %.3f ms  p99.9 %.3f ms' \
		"$round" "$label" "$p50" "$p99" "$p999")"
}
