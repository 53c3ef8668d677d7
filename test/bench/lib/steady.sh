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
# first and the last tenth, ms) and claim_rate (messages a second).
steady_run() {
	local out="$work/logs/steady.$contestant"

	run_child "$work/probe" -b 100 -T "$1" -r "$2" \
		-e "$(client_sql "$contestant" client_enqueue_batch 100)" \
		-q "$(client_sql "$contestant" client_claim 100)" \
		-a "$(client_sql "$contestant" client_ack 100)" steady >"$out" ||
		{ broken "$key: $contestant"; return 1; }
	claim_first=$(awk '$1 == "tenth" && $2 == 1 { print $3 }' "$out")
	claim_last=$(awk '$1 == "tenth" && $2 == 10 { print $3 }' "$out")
	claim_p50=$(awk '$1 == "total" { print $4 }' "$out")
	claim_rate=$(awk '$1 == "total" { print $3 }' "$out")
}

# steady_case KEY TITLE PREPARE: 10,000 messages a second for 100 s, once, with
# PREPARE having made life hard.
steady_case() {
	local key=$1 title="$2: claim" round=1 contestant seconds=100 size

	[ "$quick" = 0 ] || seconds=3
	say "$2, $seconds s"
	build_probe
	for contestant in $(contestants_with client_claim.sql); do
		contestant_fresh "$contestant"
		settle
		"$3"
		steady_run "$seconds" 10000 || { stop_background; continue; }
		size=$(query_file "$bench/contestants/$contestant/size.sql")
		stop_background
		record main ms lower "$contestant" "$claim_last"
		record flat x lower "$contestant" \
			"$(calc "$claim_last / $claim_first")"
		record size MB lower "$contestant" "$(calc "$size / 1048576")"
		record rate msg/s higher "$contestant" "$claim_rate"
		say "$(printf '  %-10s claim %.3f ms at first, %.3f at last, %.0f MB, %.0f msg/s' \
			"$contestant" "$claim_first" "$claim_last" \
			"$(calc "$size / 1048576")" "$claim_rate")"
	done
}
