#!/bin/bash
# The regress and isolation suites with the extension built by
# -fsanitize=undefined: undefined behaviour ends the server, and the test.
set -eu

ONLY=${ONLY:-regress isolation} \
	COPT='-fsanitize=undefined -fno-sanitize-recover' \
	exec "$(dirname "$0")/../run.sh"
