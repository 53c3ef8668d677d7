#!/bin/bash
# Random sequences of calls: make fuzz SECONDS=60 SEED=1. Without a seed one
# is drawn and printed.
set -euo pipefail

cd "$(dirname "$0")/../.."
test/setup.sh demo
# shellcheck source=test/cluster.sh
. test/cluster.sh

work_begin
pg_begin
build ASSERT=1 DEBUG=1
cluster_create main 'fsync = off' 'queue.truncate_grace = 0' \
	'queue.segment_size = 1MB' 'max_connections = 40' \
	'max_prepared_transactions = 100' 'deadlock_timeout = 100ms' \
	"log_line_prefix = '%m [%p] %e '"
cluster_start main
export PGDATA="$work/main" PGUSER=postgres
as_owner /usr/bin/python3 "$work/src/test/fuzz/fuzz.py" \
	--log "$work/main.log" --seconds "${SECONDS_TO_RUN:-60}" \
	${SEED:+--seed "$SEED"}
