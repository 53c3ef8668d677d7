#!/bin/bash
# The regress and isolation suites with each WAL record compared with the page
# that it makes, in a crash recovery over all of it.
set -eu

ONLY=${ONLY:-regress isolation} RECOVER=1 \
	SERVER_CONF='wal_consistency_checking = all
checkpoint_timeout = 1h
max_wal_size = 20GB' \
	exec "$(dirname "$0")/../run.sh"
