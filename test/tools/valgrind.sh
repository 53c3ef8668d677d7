#!/bin/bash
# Regress tests with the server under valgrind; an error whose innermost frame
# is in the extension fails. Some twenty times slower: TESTS="install ack
# uninstall" chooses, and tests that measure time may fail for that reason.
set -eu

command -v valgrind >/dev/null || { echo 'valgrind is missing' >&2; exit 1; }
ONLY=${ONLY:-regress} TIME_LIMIT=${TIME_LIMIT:-7200} \
	VALGRIND='--quiet --error-limit=no --leak-check=no --num-callers=12' \
	exec "$(dirname "$0")/../run.sh"
