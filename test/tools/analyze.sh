#!/bin/bash
# Static analysis that takes minutes: make analyze, or
#
#   test/tools/analyze.sh tidy|analyzer|cppcheck
#
# clang-tidy with checks that find bugs rather than tastes, gcc -fanalyzer,
# cppcheck with all but style. Silent when there is nothing to say. No -Isrc:
# src/limits.h would be taken for the system's.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
cd "$top" || exit 1
pg_config=${PG_CONFIG:-$(test/pg_config.sh)}
flags=(-D_GNU_SOURCE -DUSE_ASSERT_CHECKING -DQUEUE_DEBUG
	-isystem "$("$pg_config" --includedir-server)")
status=0

# Not: what PostgreSQL's macros do (casts, assignments in conditions, easily
# swapped parameters of its conventions), memset_s, which nobody has.
tidy() {
	local checks='-*,clang-analyzer-*,bugprone-*,cert-*,misc-redundant-*'
	checks+=',-bugprone-easily-swappable-parameters'
	checks+=',-bugprone-assignment-in-if-condition'
	checks+=',-bugprone-reserved-identifier,-cert-dcl37-c,-cert-dcl51-cpp'
	checks+=',-bugprone-narrowing-conversions,-bugprone-macro-parentheses'
	checks+=',-bugprone-implicit-widening-of-multiplication-result'
	checks+=',-bugprone-sizeof-expression,-bugprone-branch-clone'
	checks+=',-clang-analyzer-security.insecureAPI.*'
	checks+=',-cert-err33-c,-cert-msc*,-cert-err34-c'
	checks+=',-clang-analyzer-optin.performance.Padding'
	printf '%s\n' src/*.c | xargs -P "$(nproc)" -I FILE clang-tidy --quiet \
		--checks="$checks" FILE -- "${flags[@]}" 2>&1 |
		grep -E '^[^ ].*(warning|error):|^Error' | judged_tidy
}

# Looked at, and not so: an entry is static memory, a lookup that creates what
# it does not find, or an array filled by the call above.
judged() {
	grep -vE -e 'src/filter\.c.*NULL .filter.' \
		-e 'src/fn_move\.c.*uninitialized value .taken\[i\].' \
		-e 'src/keys\.c.*NULL .(0|met).' -e 'src/mapwalk\.c.*NULL .0.'
}

# Looked at, and not so: shared memory and arrays that were reserved before,
# years of whole months, a macro of PostgreSQL's, what look_track() has filled.
judged_tidy() {
	grep -vE -e 'src/(readymap|shmem|txn)\.[ch].*(NullDeref|NonNullParam)' \
		-e 'src/duration\.c.*bugprone-integer-division' \
		-e 'src/page\.c.*misc-redundant-expression' \
		-e 'src/worker\.c.*uninitialized\.Assign'
}

analyzer() {
	printf '%s\n' src/*.c | xargs -P "$(nproc)" -n 1 gcc -fanalyzer -O1 \
		-c -o /dev/null "${flags[@]}" 2>&1 |
		grep -E '^[^ ].*(warning|error):' | judged
}

cpp_check() {
	cppcheck --quiet --inline-suppr -j "$(nproc)" \
		--enable=warning,performance,portability \
		--template='{file}:{line}: {id}: {message}' \
		--suppress=missingInclude --suppress=preprocessorErrorDirective \
		-D__GNUC__ -D'PG_MODULE_MAGIC=' -D'PG_FUNCTION_INFO_V1(f)=' \
		-D'PG_TRY()=' -D'PG_CATCH()=' -D'PG_FINALLY()=' \
		-D'PG_END_TRY()=' -D'PGDLLEXPORT=' src/*.c 2>&1
}

for tool in ${1:-tidy analyzer cppcheck}; do
	case $tool in
		tidy) command -v clang-tidy >/dev/null ||
			{ echo "no clang-tidy"; continue; }
			out=$(tidy) ;;
		analyzer) out=$(analyzer) ;;
		cppcheck) out=$(cpp_check) ;;
	esac
	echo "== $tool: $(grep -c . <<<"$out") findings"
	[ -z "$out" ] || { echo "$out" | sort -u; status=1; }
done
exit "$status"
