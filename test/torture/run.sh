#!/bin/bash
# Load, faults and an account of every message: make torture SECONDS=60 SEED=1
set -euo pipefail

cd "$(dirname "$0")/../.."
test/setup.sh demo
# shellcheck source=test/cluster.sh
. test/cluster.sh

work_begin
pg_begin
build ASSERT=1
cluster_create main 'max_prepared_transactions = 50' \
	'queue.truncate_grace = 2s' 'queue.segment_size = 4MB' \
	'restart_after_crash = on' 'max_connections = 60' \
	"log_line_prefix = '%m [%p] %e '"
cluster_start main
export PGDATA="$work/main" PGUSER=postgres
as_owner /usr/bin/python3 "$work/src/test/torture/test_checker.py"
status=0
as_owner /usr/bin/python3 "$work/src/test/torture/torture.py" \
	--seconds "${SECONDS_TO_RUN:-60}" ${SEED:+--seed "$SEED"} || status=$?
if grep -E 'PANIC|TRAP|signal (6|11)| XX[0-9]{3} ' "$work"/main/log \
	"$work"/main.log 2>/dev/null | head -n 20 | grep .; then
	status=1
fi
exit $status
