# shellcheck shell=bash
# Latency of the claim over time, by means of probe.c.

# Needs a C compiler, as the extension does, and libpq. The private copy of
# PostgreSQL has no libpq of its own.
build_probe() {
	local installed

	if [ ! -x "$work/probe" ]; then
		installed=$("$top/test/pg_config.sh")
		cc -O2 -I"$("$installed" --includedir)" -o "$work/probe" \
			"$bench/lib/probe.c" -L"$("$installed" --libdir)" \
			-lpq -lpthread ||
			die 'cannot compile probe.c (is libpq-dev installed?)'
	fi
}

# client_sql CONTESTANT FILE BATCH: the statement for the probe, batch put in.
client_sql() {
	local out="$work/$1.$2.sql"

	sed "s/{{batch}}/$3/g" "$bench/contestants/$1/$2.sql" >"$out"
	echo "$out"
}

# Keeps a transaction open until stop_background.
hold_transaction() {
	background psql -qX -v ON_ERROR_STOP=1 -o /dev/null \
		-c "$1" -c 'SELECT pg_sleep(100000)'
	sleep 1
}

# steady_run SECONDS RATE: send, claim and ack in batches of 100 with one
# connection. Leaves claim_p50, claim_first and claim_last (the medians of the
# first and the last tenth, ms), claim_rate (messages a second) and $steady_out.
steady_run() {
	steady_out="$work/logs/steady.$contestant"
	run_child "$work/probe" -b 100 -T "$1" -r "$2" \
		-e "$(client_sql "$contestant" client_enqueue_batch 100)" \
		-q "$(client_sql "$contestant" client_claim 100)" \
		-a "$(client_sql "$contestant" client_ack 100)" steady \
		>"$steady_out" || { broken "$key: $contestant"; return 1; }
	claim_first=$(awk '$1 == "tenth" && $2 == 1 { print $3 }' "$steady_out")
	claim_last=$(awk '$1 == "tenth" && $2 == 10 { print $3 }' "$steady_out")
	claim_p50=$(awk '$1 == "total" { print $4 }' "$steady_out")
	claim_rate=$(awk '$1 == "total" { print $3 }' "$steady_out")
}

# Writes "second MB" forty times in SECONDS; runs in the background.
watch_size() {
	local i

	for i in $(seq 40); do
		sleep "$(calc "$2 / 40")"
		printf '%s %s\n' "$(calc "$i * $2 / 40")" \
			"$(calc "$(query_file "$bench/contestants/$1/size.sql") / 1048576")"
	done
}

# steady_case KEY TITLE PREPARE: 10,000 messages a second, once, for --minutes,
# with PREPARE having made life hard. "flat" compares the latency of the last
# tenth with that of the first, "growth" the size at the end with that after
# two thirds, when what is reclaimed with a delay has been for the first time.
steady_case() {
	local key=$1 title="$2: claim" round=1 contestant size=0 second
	local seconds=$((minutes * 60))

	[ "$quick" = 0 ] || seconds=3
	case_begin "$key" || return 0
	say "$2, $seconds s"
	build_probe
	for contestant in $(contestants_with client_claim.sql); do
		contestant_fresh "$contestant"
		settle
		"$3"
		watch_size "$contestant" "$seconds" >"$work/sizes" &
		background_pids="$background_pids $!"
		steady_run "$seconds" 10000 || { stop_background; continue; }
		stop_background
		steady_record
	done
	case_end "$key"
}

# The figures of one contestant of steady_case(), whose variables it uses.
steady_record() {
	local growth

	growth=$(awk '{ a[NR] = $2 } END { m = a[int(NR * 2 / 3)]
		print (m > 0 ? a[NR] / m : 0) }' "$work/sizes")
	size=$(awk 'END { print $2 + 0 }' "$work/sizes")
	record main ms lower "$contestant" "$claim_last"
	record flat x lower "$contestant" "$(calc "$claim_last / $claim_first")"
	record size MB lower "$contestant" "$size"
	record growth x lower "$contestant" "$growth"
	record rate msg/s higher "$contestant" "$claim_rate"
	while read -r second size; do
		record_series size "$contestant" "$second" "$size"
	done <"$work/sizes"
	while read -r second size; do
		record_series claim "$contestant" "$second" "$size"
	done < <(awk -v s="$seconds" '$1 == "slice" { print $2 * s / 40, $3 }' \
		"$steady_out")
	say "$(printf '  %-10s claim %.3f ms at first, %.3f at last, %.0f MB, growth %.2f, %.0f msg/s' \
		"$contestant" "$claim_first" "$claim_last" \
		"$(tail -n 1 "$work/sizes" | cut -d ' ' -f 2)" "$growth" "$claim_rate")"
}
