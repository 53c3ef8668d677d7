#!/bin/bash
# Load, faults and an account of every message: make torture SECONDS=60 SEED=1.
# SPEED=4 makes producers send more often, BATCH=500 more at a time; PAUSE=1:
# faults come at most a second apart. Without a seed one is drawn and printed.
set -euo pipefail

cd "$(dirname "$0")/../.."
test/setup.sh demo
# shellcheck source=test/cluster.sh
. test/cluster.sh
# shellcheck source=test/torture/torture.sh
. test/torture/torture.sh

work_begin
pg_begin
build ASSERT=1 DEBUG=1
as_owner /usr/bin/python3 "$work/src/test/torture/test_checker.py"
status=0
torture_run "${SECONDS_TO_RUN:-60}" "$work/torture.log" "${SEED-}" \
	--speed "${SPEED:-1}" --batch "${BATCH:-200}" --pause "${PAUSE:-2.5}" ||
	status=$?
cat "$work/torture.log"
exit "$status"
