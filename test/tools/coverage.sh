#!/bin/bash
# Lines of src/ that the tests reach: make coverage, or
#
#   ONLY="regress" test/tools/coverage.sh      these stages only
#
# Writes coverage/summary and coverage/uncovered. A process that is killed, or
# whose server is stopped at once, leaves no counts: real numbers are higher.
# With two arguments, as test/run.sh calls it: report on a build directory.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
if [ $# = 0 ]; then
	cd "$top"
	export CCACHE_DISABLE=1 COVERAGE="$top/coverage" ONLY=${ONLY:-regress isolation tap}
	mkdir -p "$COVERAGE"
	TIME_LIMIT=${TIME_LIMIT:-3600} test/run.sh || true
	cat "$COVERAGE/summary"
	exit
fi

build=$1
to=$2
cd "$build"
gcov -o src src/*.c >/dev/null
# "        -:" no code, "    #####:" never run, else a count
awk -F: '
	FNR == 1 { file = FILENAME; sub(/\.gcov$/, "", file) }
	file !~ /\.c$/ { next }
	$1 ~ /#####|=====/ { missed[file]++ }
	$1 !~ /-$/ { lines[file]++ }
	END {
		for (file in lines) {
			printf "%6.1f %%  %4d of %4d  %s\n",
				100 * (1 - missed[file] / lines[file]),
				lines[file] - missed[file], lines[file], file | "sort -n"
			all += lines[file]
			not += missed[file]
		}
		close("sort -n")
		printf "%6.1f %%  %4d of %4d  total\n",
			100 * (1 - not / all), all - not, all
	}' *.c.gcov >"$to/summary"
grep -HE '^ *(#####|=====)' ./*.c.gcov |
	sed -E 's/^\.\/([^:]*)\.gcov: *[#=]+: *([0-9]+):(.*)/\1:\2:\3/' \
	>"$to/uncovered"
