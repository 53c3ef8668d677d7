#!/bin/bash
# make test: build, lint, regress, isolation, fuzz, torture, TAP, each in a
# private copy.
#
#   ONLY="regress tap"   these stages only (the build always comes first)
#   TESTS="ack nack"     these tests of the chosen stages only; "examples" are
#                        those of the documents, in stage regress
#   UPDATE=1             copy the results of regress and isolation to expected/
#   KEEP=1               keep the temporary directory
#   TIME_LIMIT=1700, TAP_LIMIT=600   seconds for all, for one TAP file
#   COVERAGE=DIRECTORY   what gcov says goes there; see test/tools/coverage.sh
#
# For test/tools: COPT="..." goes to the compiler; SERVER_CONF="a = b" to the
# servers of regress and isolation; RECOVER=1 crashes and starts them again when
# the suite is over; VALGRIND="options" runs them under valgrind.
#
# The last line is "N passed, N failed".
set -u

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=cluster.sh
. "$here/cluster.sh"
# shellcheck source=torture/torture.sh
. "$here/torture/torture.sh"

stages=${ONLY:-clang lint regress isolation fuzz torture tap}
wanted=${TESTS:-}
# Leave a margin to the half hour that the whole run may take.
deadline=$((SECONDS + ${TIME_LIMIT:-1700}))
passed=0
failed=0
finished=

finish() {
	local status=$?
	trap '' INT TERM HUP
	work_end || true
	[ -n "$finished" ] || fail "did not run to its end"
	echo "$passed passed, $failed failed"
	[ -n "$finished" ] && [ "$passed" -gt 0 ] && [ "$failed" = 0 ] && exit 0
	exit $((status > 0 ? status : 1))
}

chosen() {
	case " $stages " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

time_left() {
	local left=$((deadline - SECONDS)) limit=$1
	[ "$left" -gt 1 ] || left=1
	echo $((left < limit ? left : limit))
}

pass() {
	passed=$((passed + ${1:-1}))
}

# fail WHAT [FILE]: FILE says why.
fail() {
	failed=$((failed + 1))
	echo "FAILED: $1"
	[ ! -s "${2-}" ] || head -n 400 "$2"
}

# stage NAME: run stage_NAME, say how long it took and what it counted.
stage() {
	local name=$1 start=$SECONDS p=$passed f=$failed status=0
	echo "== $name"
	"stage_$name" || status=$?
	echo "== $name: $((passed - p)) passed, $((failed - f)) failed," \
		"$((SECONDS - start)) s"
	return "$status"
}

stage_build() {
	pg_begin
	if build WERROR=1 ASSERT=1 DEBUG=1 COPT="${COPT-}"; then
		[ -z "${VALGRIND-}" ] || wrap_server
		pass
	else
		fail "build with gcc" "$work/build.log"
		[ ! -s "$work/install.log" ] || cat "$work/install.log"
		return 1
	fi
}

# From now on a server is started under valgrind, but not to make a cluster or
# to say its version.
wrap_server() {
	as_owner mkdir "$work/valgrind"
	as_owner mv "$bindir/postgres" "$bindir/postgres.bin"
	as_owner tee "$bindir/postgres" >/dev/null <<-END
		#!/bin/sh
		case " \$* " in
			*" -D "*) exec valgrind --log-file=$work/valgrind/%p $VALGRIND \\
				$bindir/postgres.bin "\$@" ;;
		esac
		exec $bindir/postgres.bin "\$@"
	END
	as_owner chmod +x "$bindir/postgres"
	export PGCTLTIMEOUT=600
}

# What valgrind found in code of the extension: errors whose innermost frame,
# but for valgrind's own, is there.
valgrind_errors() {
	awk '
		/^==[0-9]+== *$/ { if (ours) print text "\n"; text = ""; seen = 0
			ours = 0; next }
		{ text = text "\n" $0 }
		/(at|by) 0x/ && !seen && !/vgpreload/ { seen = 1
			ours = /queue\.so/ }
	' "$work"/valgrind/*
}

stage_clang() {
	copy_source "$work/clang"
	if within 600 "$work/clang.log" make -s -C "$work/clang" -j "$(nproc)" \
		CC=clang WERROR=1 ASSERT=1 all
	then
		if grep -q debug_pause "$work/clang/queue.so"; then
			fail "debugging code in a build without DEBUG=1"
		else
			pass
		fi
	else
		fail "build with clang" "$work/clang.log"
	fi
}

stage_lint() {
	local line
	"$here/lint.sh" >"$work/lint.log"
	while IFS= read -r line; do
		case $line in
			'ok '*) pass ;;
			'FAIL '*) fail "lint:${line#FAIL}" ;;
			' '*) echo "$line" ;;
		esac
	done <"$work/lint.log"
}

# names DIRECTORY SUFFIX: the tests there, or those of them that are wanted.
names() {
	local path name
	for path in "$top/$1"/*"$2"; do
		name=$(basename "$path" "$2")
		[ -e "$path" ] || continue
		[ -z "$wanted" ] || [[ " $wanted " == *" $name "* ]] || continue
		echo "$name"
	done
}

# pg_regress KIND NAMES MAKE-VARIABLE...: run and count one suite, on a server
# of its own, since what one leaves behind is not the other's affair.
pg_regress() {
	local kind=$1 names=$2 count ok bad name log=$work/$1.log
	shift 2
	count=$(wc -w <<<"$names")
	[ "$count" -gt 0 ] || return 0

	[ ! -d "$work/main" ] || { cluster_stop main; rm -rf "$work/main"*; }
	if ! cluster_create main 'fsync = off' "${SERVER_CONF-}" ||
		! cluster_start main; then
		fail "$kind: no server" "$work/main.log"
		return
	fi
	# A missing expected file would end the run, not fail the test.
	as_owner mkdir -p "$work/src/expected"
	for name in $names; do
		[ -e "$work/src/expected/$name.out" ] ||
			as_owner touch "$work/src/expected/$name.out"
	done
	as_owner rm -f "$work/src/regression.diffs"
	within "$(time_left 900)" "$log" make -C "$work/src" installcheck "$@"

	# 15 says "test x ... ok 10 ms"; later versions speak TAP.
	ok=$(grep -cE '^(test|    ) .* \.\.\. ok|^ok ' "$log")
	bad=$(grep -E '^(test|    ) .* \.\.\. FAILED|^not ok ' "$log" |
		sed -E 's/^not ok [0-9]+ +[-+] |^test //; s/ .*//')
	pass "$ok"
	for name in $bad; do
		fail "$kind $name"
	done
	[ ! -s "$work/src/regression.diffs" ] ||
		head -n 1000 "$work/src/regression.diffs"
	if [ $((ok + $(wc -w <<<"$bad"))) != "$count" ]; then
		fail "$kind: $count tests, not all ran" "$log"
		tail -n 40 "$work/main.log"
	elif grep -qE 'PANIC: |TRAP: |terminated by signal' "$work/main.log"; then
		fail "$kind: the server crashed"
		grep -E -A 5 'PANIC: |TRAP: |terminated by signal' "$work/main.log" |
			head -n 40
	fi

	if [ -n "${RECOVER-}" ]; then
		cluster_stop main immediate
		if cluster_start main; then pass; else fail "$kind: recovery"; fi
		grep -E 'PANIC|inconsistent page' "$work/main.log" &&
			fail "$kind: recovery found a difference"
	fi
	if [ -n "${VALGRIND-}" ]; then
		cluster_stop main
		valgrind_errors >"$work/valgrind.errors"
		echo "   valgrind: $(find "$work/valgrind" -type f | wc -l)" \
			"processes, $(cat "$work"/valgrind/* |
				grep -cE '(at|by) 0x.*vgpreload|Invalid|uninit') reports"
		if [ -s "$work/valgrind.errors" ]; then
			fail "$kind: valgrind" "$work/valgrind.errors"
		else
			pass
		fi
	fi

	[ -z "${UPDATE-}" ] || for name in $names; do
		mkdir -p "$top/expected"
		cp "$work/src/results/$name.out" "$top/expected/$name.out"
	done
}

stage_regress() {
	local names
	names=$(names test/sql .sql)
	# In the Makefile's order, and with the test that creates the extension.
	[ -z "$names" ] || [ ! -e "$top/test/sql/install.sql" ] ||
		names="install $(grep -vx -e install -e uninstall <<<"$names")
			$(grep -x uninstall <<<"$names")"
	names=$(xargs <<<"$names")
	pg_regress regress "$names" ISOLATION= REGRESS="$names"
	[[ -n "$wanted" && " $wanted " != *" examples "* ]] || examples
}

# The examples of the documents can be run in the order in which they stand:
# each document's in a database of its own.
examples() {
	local file log=$work/examples.log
	[ ! -d "$work/main" ] || { cluster_stop main; rm -rf "$work/main"*; }
	if ! cluster_create main 'fsync = off' || ! cluster_start main; then
		fail "examples: no server" "$work/main.log"
		return
	fi
	for file in README.md doc/reference.md doc/operations.md; do
		{
			printf '%s\n' 'CREATE DATABASE example;' '\c example' \
				'CREATE EXTENSION queue;'
			sed -n '/^```sql$/,/^```$/{/^```/!p}' "$top/$file"
			printf '%s\n' '\c postgres' 'DROP DATABASE example WITH (FORCE);'
		} | as_owner tee "$work/example.sql" >/dev/null
		if within "$(time_left 120)" "$log" psql -X -e \
			-v ON_ERROR_STOP=1 -f "$work/example.sql"
		then
			pass
		else
			fail "examples of $file" "$log"
			as_owner dropdb --force --if-exists example
		fi
	done
}

stage_isolation() {
	local names
	names=$(names test/specs .spec | xargs)
	pg_regress isolation "$names" REGRESS= ISOLATION="$names"
}

# A minute of random calls, from a seed that is printed when they fail.
stage_fuzz() {
	local log=$work/fuzz.log
	[ -z "$wanted" ] || return 0
	[ ! -d "$work/main" ] || { cluster_stop main; rm -rf "$work/main"*; }
	if ! cluster_create main 'fsync = off' 'queue.truncate_grace = 0' \
		'queue.segment_size = 1MB' 'max_connections = 40' \
		'deadlock_timeout = 100ms' "log_line_prefix = '%m [%p] %e '" ||
		! cluster_start main
	then
		fail "fuzz: no server" "$work/main.log"
	elif within "$(time_left 180)" "$log" env PGDATA="$work/main" \
		/usr/bin/python3 "$work/src/test/fuzz/fuzz.py" \
		--log "$work/main.log" --seconds "${FUZZ_SECONDS:-60}" \
		${SEED:+--seed "$SEED"}
	then
		pass
		grep '^fuzz:' "$log"
	else
		fail "fuzz" "$log"
	fi
}

# Load and faults, and an account of every message; see test/torture.
stage_torture() {
	local log=$work/torture.log
	[ -z "$wanted" ] || return 0
	[ ! -d "$work/main" ] || { cluster_stop main; rm -rf "$work/main"*; }
	if ! within 60 "$log" /usr/bin/python3 \
		"$work/src/test/torture/test_checker.py"
	then
		fail "torture: the checker itself" "$log"
		return
	fi
	pass "$(sed -nE 's/^Ran ([0-9]+) tests.*/\1/p' "$log")"
	if torture_run "${TORTURE_SECONDS:-180}" "$log" "${SEED-}" \
		--pause 1
	then
		pass
		grep -E '^(torture|faults):' "$log"
	else
		fail "torture" "$log"
	fi
}

stage_tap() {
	local name
	for name in $(names test/t .pl); do
		tap_file "$name"
	done
}

# The environment is what PGXS's installcheck gives to prove.
tap_file() {
	local name=$1 dir=$work/tap/$1 pgxs status=0 ok bad start=$SECONDS
	local log=$work/tap/$1.log

	pgxs=$(dirname "$("$PG_CONFIG" --pgxs)")/../..
	as_owner mkdir -p "$dir/tmp_check/log"
	if [ "$SECONDS" -ge "$deadline" ]; then
		fail "tap $name: no time left"
		return
	fi
	within "$(time_left "${TAP_LIMIT:-600}")" "$log" env -C "$work/src" TESTDIR="$dir" \
		TESTDATADIR="$dir/tmp_check" TESTLOGDIR="$dir/tmp_check/log" \
		PG_TEST_PORT_DIR="$work/tap" PG_TEST_NOCLEAN="${KEEP-}" \
		PGPORT=65432 PG_REGRESS="$pgxs/src/test/regress/pg_regress" \
		perl -I "$pgxs/src/test/perl" -I test/t "test/t/$name.pl" || status=$?

	ok=$(grep -c '^ok ' "$log")
	bad=$(grep '^not ok ' "$log" | grep -vc '# TOD[O]')
	pass "$ok"
	if [ "$bad" -gt 0 ]; then
		failed=$((failed + bad - 1))
		fail "tap $name: $bad assertions" "$log"
	elif [ "$status" != 0 ]; then
		fail "tap $name: exit status $status after $ok assertions" "$log"
	elif ! grep -qE '^1\.\.' "$log"; then
		fail "tap $name: no plan" "$log"
	fi
	if [ "$bad" -gt 0 ] || [ "$status" != 0 ]; then
		# The script's own log, and those of its servers.
		find "$dir/tmp_check/log" -type f -exec tail -n 40 {} +
	fi
	echo "   $name: $((SECONDS - start)) s"
	[ -n "${KEEP-}" ] || rm -rf "$dir"
}

"$here/setup.sh" test || exit 1
work_begin
trap finish EXIT
for name in $wanted; do
	[ "$name" = examples ] ||
		[ -e "$top/test/sql/$name.sql" ] || [ -e "$top/test/t/$name.pl" ] ||
		[ -e "$top/test/specs/$name.spec" ] || fail "no test called $name"
done
if stage build; then
	for name in clang lint regress isolation fuzz torture tap; do
		! chosen "$name" || stage "$name"
	done
fi
[ -z "${COVERAGE-}" ] || "$here/tools/coverage.sh" "$work/src" "$COVERAGE"
finished=yes
