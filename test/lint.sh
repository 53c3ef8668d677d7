#!/bin/bash
# House rules, in seconds. Each rule is a function that prints its offences as
# file:line: text. The last line is "lint: N passed, M failed".
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.." || exit 1
top=$PWD
passed=0
failed=0

shopt -s nullglob
sources=(src/*.c src/*.h)
units=(src/*.c)

git_here() {
	git -c safe.directory="$top" "$@"
}

in_git=yes
git_here rev-parse --git-dir >/dev/null 2>&1 || in_git=

# Files that are or could be committed, and are still there.
project_files() {
	if [ -z "$in_git" ]; then
		find . -type f ! -name '*.o' ! -name '*.so'
		return
	fi
	git_here ls-files -z -co --exclude-standard |
		while IFS= read -r -d '' file; do
			[ ! -f "$file" ] || printf '%s\n' "$file"
		done
}

# rule NAME COMMAND...: passes when the command succeeds silently.
rule() {
	local name=$1 out status=0
	shift
	out=$("$@" 2>&1) || status=$?
	if [ -z "$out" ] && [ "$status" = 0 ]; then
		passed=$((passed + 1))
		echo "ok    $name"
	else
		failed=$((failed + 1))
		echo "FAIL  $name"
		printf '%s\n' "${out:-exit status $status}" | sed 's/^/      /'
	fi
}

# Whitespace as .gitattributes says, of the work tree with new files.
whitespace() {
	local empty file
	[ -n "$in_git" ] || return 0
	empty=$(git_here hash-object -t tree /dev/null)
	git_here diff --check "$empty" -- | grep -v '^+'
	git_here ls-files -o --exclude-standard | while read -r file; do
		git_here diff --no-index --check /dev/null "$file" | grep -v '^+'
	done
	return 0
}

# With outputdir ".", ./sql/NAME.sql would run in place of test/sql/NAME.sql.
test_names() {
	local file name
	for file in test/sql/*.sql; do
		name=$(basename "$file")
		[ ! -e "sql/$name" ] || echo "$file:1: shadowed by sql/$name"
		[ ! -e "test/specs/${name%.sql}.spec" ] ||
			echo "$file:1: shares its expected file with a spec"
	done
}

expected_files() {
	local file name
	for file in test/sql/*.sql test/specs/*.spec; do
		name=$(basename "${file%.*}")
		[ -e "expected/$name.out" ] ||
			echo "$file:1: no expected/$name.out"
	done
	for file in expected/*.out; do
		# name_1.out is another accepted result of name.
		name=$(basename "$file" .out | sed -E 's/_[0-9]$//')
		[ -e "test/sql/$name.sql" ] || [ -e "test/specs/$name.spec" ] ||
			echo "$file:1: result of no test"
	done
}

# Traces of where and how this was written. The brackets keep this file out.
words() {
	project_files | tr '\n' '\0' | xargs -0 -r grep -nIiE \
		-e '/wor[k]/' -e '/roo[t]/' -e '/home/[a-z]' \
		-e 'claud[e]' -e 'anthropi[c]' -e 'chatgp[t]' -e 'sub-?agen[t]' \
		-e 'hazard[s]\.md' -e 'shared/(api|style|design)' -e 'the brie[f]'
	project_files | tr '\n' '\0' |
		xargs -0 -r grep -nIE '\<(TOD[O]|FIXM[E]|XX[X])\>'
	return 0
}

# What a sourced file shares with its readers, shellcheck cannot see.
shell_scripts() {
	command -v shellcheck >/dev/null || return 0
	project_files | grep -E '\.sh$|\.ci/run$' |
		xargs -r shellcheck -x -P SCRIPTDIR -S warning -f gcc \
		-e SC1090,SC2034,SC2154
}

# Warnings only in our files: PostgreSQL's headers count as system headers.
warnings() {
	local compiler=$1 pg_config
	shift
	command -v "$compiler" >/dev/null || return 0
	pg_config=${PG_CONFIG:-$(test/pg_config.sh)}
	printf '%s\n' "${units[@]}" | xargs -r -P "$(nproc)" -n 4 "$compiler" \
		-fsyntax-only -D_GNU_SOURCE -DUSE_ASSERT_CHECKING -DQUEUE_DEBUG \
		-isystem "$("$pg_config" --includedir-server)" \
		-Wall -Wextra -Werror -Wno-unused-parameter \
		-Wno-missing-field-initializers \
		-Wmissing-prototypes -Wdeclaration-after-statement -Wvla "$@"
}

cppcheck_quick() {
	command -v cppcheck >/dev/null || return 0
	cppcheck --quiet --inline-suppr --enable=warning,portability \
		-j "$(nproc)" --template='{file}:{line}: {id}: {message}' \
		--suppress=missingInclude --suppress=preprocessorErrorDirective \
		-D__GNUC__ -D'PG_MODULE_MAGIC=' -D'PG_FUNCTION_INFO_V1(f)=' \
		-D'PG_TRY()=' -D'PG_CATCH()=' -D'PG_FINALLY()=' -D'PG_END_TRY()=' \
		-D'PGDLLEXPORT=' "${sources[@]}"
}

source_rule() {
	[ "${#sources[@]}" = 0 ] || perl test/lint/source.pl "$1" "${sources[@]}"
}

rule whitespace whitespace
for name in columns errcodes function_comments gucs header_comment includes \
	layers line_comments sizes version_num
do
	rule "$name" source_rule "$name"
done
rule test_names test_names
rule expected_files expected_files
rule words words
rule shell_scripts shell_scripts
rule versions test/checkver.sh -q
if [ "${#units[@]}" -gt 0 ]; then
	rule gcc warnings gcc -Wshadow=compatible-local
	# PostgreSQL was configured for gcc, whose attributes clang ignores.
	rule clang warnings clang -Wno-ignored-attributes
	rule cppcheck cppcheck_quick
fi

echo "lint: $passed passed, $failed failed"
[ "$failed" = 0 ]
