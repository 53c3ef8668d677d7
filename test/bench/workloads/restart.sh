# shellcheck shell=bash
# about: ten times the backlog, restart: time to the first message, speed after
# title: restart

workload_restart() {
	local key=restart title="restart with $((opt_backlog * 10)): first message"
	local round=1 contestant

	case_begin "$key" || return 0
	say "$title"
	build_probe
	for contestant in $(contestants_with client_claim.sql); do
		restart_trial
	done
	case_end "$key"
}

restart_trial() {
	local out="$work/logs/restart.$contestant" first slow fast full

	contestant_fresh "$contestant"
	contestant_load "$contestant" $((opt_backlog * 10)) 98
	cluster_stop bench fast
	as_owner pg_ctl -s -W -D "$work/bench" -l "$work/bench.log" start
	run_child "$work/probe" -q "$(client_sql "$contestant" client_claim 1)" \
		first >"$out" || { broken "restart: $contestant does not come back"; return 0; }
	first=$(awk '$1 == "first" && $2 == 1 { print $3 }' "$out")
	[ -n "$first" ] || { broken "restart: $contestant gives no message"; return 0; }

	# Half of it, so that no second is one of empty calls.
	drive "$out" 8 100 98 "$(script_for "$contestant" drain_server 100)" \
		-t $((opt_backlog * 10 / 2 / 100 / 8)) -P 1 || return 0
	slow=$(awk '/^progress:/ { print $4 * 100; exit }' "$out")
	fast=$(awk '/^progress:/ { print $4 * 100 }' "$out" | sort -g | tail -n 1)
	slow=${slow:-$(calc "$tps * 100")}
	fast=${fast:-$(calc "$tps * 100")}
	# the second in which it is as fast as it gets, nearly
	full=$(awk -v best="$fast" '/^progress:/ { n++
		if ($4 * 100 >= best * 0.9) { print n; exit } }' "$out")
	record main ms lower "$contestant" "$first"
	record 'second 1' msg/s higher "$contestant" "$slow"
	record 'best second' msg/s higher "$contestant" "$fast"
	record 'full speed' s lower "$contestant" "${full:-1}"
	say "$(printf '  %-10s first message %.1f ms after the server lets in, %.0f msg/s in the first second, %.0f in the best' \
		"$contestant" "$first" "$slow" "$fast")"
}
