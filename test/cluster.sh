# shellcheck shell=bash
# Private PostgreSQL servers for the demo, the tests and the benchmarks.
# Sourced, not run:
#
#   . test/cluster.sh
#   work_begin                  a temporary directory, $work; gone at exit
#   pg_begin                    $work/pg, a private copy of PostgreSQL
#   build WERROR=1 ASSERT=1     copy the checkout to $work/src, make, install
#   cluster_create main 'work_mem = 1MB' ...
#   cluster_start main          PGHOST and PGPORT now point to it
#   as_owner psql ...
#
# All of it runs as $owner, since root cannot run a server. The extension is
# installed into the private copy, so that nothing on the machine changes and
# simultaneous runs do not meet. At exit, also after a signal, every server
# below $work is stopped. KEEP=1 leaves the directory.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

work_begin() {
	local pg_variables

	# A caller's make, PG* and Perl settings are not ours.
	mapfile -t pg_variables < <(compgen -e | grep '^PG' | grep -vx PG_CONFIG)
	unset MAKEFLAGS MFLAGS MAKELEVEL "${pg_variables[@]}"
	unset PERL5LIB PERL5OPT PYTHONPATH
	export LC_ALL=C.UTF-8

	owner=$(id -un)
	runas=()
	if [ "$(id -u)" = 0 ]; then
		owner=postgres
		id "$owner" >/dev/null 2>&1 || owner=nobody
		# setpriv does not stay in between: the pid of a background job
		# is the program's own.
		runas=(setpriv --reuid="$owner" --regid="$(id -g "$owner")"
			--init-groups env USER="$owner" LOGNAME="$owner")
	fi
	helper=
	work=$(mktemp -d -t queue.XXXXXX)
	trap work_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	export TMPDIR="$work" HOME="$work"
	chown "$owner" "$work"
	# initdb and the clients want a directory that the owner may enter.
	cd "$work" || exit 1
}

work_end() {
	local status=$? pidfile
	trap '' INT TERM HUP
	[ -z "$helper" ] || kill "$helper" 2>/dev/null || true
	[ -z "$helper" ] || wait "$helper" 2>/dev/null || true
	while read -r pidfile; do
		as_owner pg_ctl -s -m immediate -D "${pidfile%/*}" stop || true
	done < <(find "$work" -name postmaster.pid)
	cd / && if [ -n "${KEEP-}" ]; then
		echo "Kept: $work"
	else
		rm -rf "$work"
	fi
	return "$status"
}

as_owner() {
	"${runas[@]}" "$@"
}

# within SECONDS LOG COMMAND...: as the owner, output to LOG. timeout makes it
# a process group, which ends with us, and "wait" lets a signal to us through.
within() {
	local seconds=$1 log=$2 status=0
	shift 2
	timeout -k 10 "$seconds" "${runas[@]}" "$@" >"$log" 2>&1 &
	helper=$!
	wait "$helper" || status=$?
	helper=
	return "$status"
}

# A copy of the installed PostgreSQL that finds its own lib and share
# directories: the programs look for them relative to where they are.
pg_begin() {
	local from dir
	from=${PG_CONFIG:-$("$top/test/pg_config.sh")}
	for dir in $("$from" --bindir) $("$from" --pkglibdir) \
		$("$from" --sharedir) $("$from" --includedir-server)
	do
		as_owner mkdir -p "$work/pg${dir%/*}"
		if [ "$dir" = "$("$from" --bindir)" ]; then
			as_owner cp -rL "$dir" "$work/pg$dir"
		else
			as_owner cp -rs "$dir" "$work/pg$dir"
		fi
	done
	bindir=$work/pg$("$from" --bindir)
	PG_CONFIG=$bindir/pg_config
	export PG_CONFIG PATH="$bindir:$PATH"
	# What an earlier "make install" left on this machine is not under test.
	find "$work/pg" \( -path '*/lib/queue.so' -o \
		-path '*/extension/queue[.-]*' \) -delete
}

# The checkout without what is built in it.
copy_source() {
	local to=$1
	as_owner mkdir -p "$to"
	(
		cd "$top" || exit 1
		if git_here ls-files >/dev/null 2>&1; then
			git_here ls-files -z -co --exclude-standard |
				while IFS= read -r -d '' file; do
					[ ! -e "$file" ] || printf '%s\0' "$file"
				done | tar -c --null -T -
		else
			tar -c --exclude=./.git --exclude='*.o' --exclude='*.so' .
		fi
	) | as_owner tar -x --no-same-owner -C "$to"
}

# git, also where the checkout belongs to somebody else.
git_here() {
	git -c safe.directory="$top" -C "$top" "$@"
}

# build [make variable=value]...: into the private PostgreSQL.
build() {
	copy_source "$work/src"
	within 600 "$work/build.log" \
		make -s -C "$work/src" -j "$(nproc)" "$@" all &&
		within 60 "$work/install.log" make -s -C "$work/src" "$@" install
}

# cluster_create NAME ['setting = value']...
cluster_create() {
	local name=$1
	shift
	as_owner initdb -D "$work/$name" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 --no-sync --no-instructions \
		>"$work/$name.initdb.log" || return
	as_owner mkdir "$work/$name.sock"
	as_owner tee -a "$work/$name/postgresql.conf" >/dev/null <<-END
		listen_addresses = ''
		unix_socket_directories = '$work/$name.sock'
		port = $((50000 + RANDOM % 10000))
		shared_preload_libraries = 'queue'
		max_prepared_transactions = 20
		max_worker_processes = 16
		log_line_prefix = '%m [%p] %q%a '
		$(printf '%s\n' "$@")
	END
}

cluster_start() {
	local name=$1
	if ! as_owner pg_ctl -s -w -D "$work/$name" -l "$work/$name.log" start; then
		tail -n 20 "$work/$name.log" >&2
		return 1
	fi
	PGHOST=$work/$name.sock
	PGPORT=$(sed -n 4p "$work/$name/postmaster.pid")
	export PGHOST PGPORT PGUSER=postgres PGDATABASE=postgres
}

# cluster_stop NAME [MODE]
cluster_stop() {
	as_owner pg_ctl -s -w -m "${2:-fast}" -D "$work/$1" stop
}

sql() {
	as_owner psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"
}
