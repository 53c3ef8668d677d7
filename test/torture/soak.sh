#!/bin/bash
# Half of full speed with a backlog that rises and falls: make soak
# SECONDS=3600. Samples and a plot go to $OUT (default: soak/ in the checkout).
set -euo pipefail

cd "$(dirname "$0")/../.."
out=${OUT:-$PWD/soak}
test/setup.sh demo
# shellcheck source=test/cluster.sh
. test/cluster.sh

work_begin
pg_begin
build
cluster_create main 'shared_buffers = 256MB' 'max_wal_size = 2GB' \
	'queue.truncate_grace = 10s'
cluster_start main
status=0
as_owner env PGDATA="$work/main" PYTHONUNBUFFERED=1 /usr/bin/python3 \
	"$work/src/test/torture/soak.py" \
	--seconds "${SECONDS_TO_RUN:-3600}" --out "$work/soak" || status=$?
mkdir -p "$out"
cp "$work"/soak/* "$out"
exit "$status"
