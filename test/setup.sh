#!/bin/bash
# Install with apt-get what is missing. Says nothing when nothing is.
#
#   test/setup.sh [build|demo|test]     default: test, which includes the rest
#   test/setup.sh packages NAME...      these
set -eu

here=$(cd "$(dirname "$0")" && pwd)
what=${1:-test}
asked=("${@:2}")

# The tools, one package a line. Server headers include gssapi.h, but the
# package with them does not depend on libkrb5-dev.
tools() {
	if [ "$what" = packages ]; then
		printf '%s\n' "${asked[@]}"
		return
	fi
	printf '%s\n' gcc libc6-dev make libkrb5-dev
	[ "$what" = build ] ||
		printf '%s\n' python3 python3-psycopg2 perl libdbd-pg-perl
	[ "$what" != test ] ||
		printf '%s\n' git clang cppcheck shellcheck libipc-run-perl
}

# The server: any with its headers will do, else 15, else what this Debian
# calls "postgresql".
server() {
	local found major
	[ "$what" != packages ] || return 0
	if found=${PG_CONFIG:-$("$here/pg_config.sh")}; then
		major=$("$found" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/')
		[ -x "$("$found" --bindir)/initdb" ] || echo "postgresql-$major"
		return
	fi
	major=15
	apt-cache show postgresql-15 >/dev/null 2>&1 ||
		major=$(apt-cache depends postgresql |
			sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
	printf '%s\n' "postgresql-$major" "postgresql-server-dev-$major"
}

missing() {
	local package
	while read -r package; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
			grep -q 'ok installed$' || echo "$package"
	done
}

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_get() {
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" \
		>"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

if ! command -v dpkg-query >/dev/null; then
	"$here/pg_config.sh" >/dev/null && exit 0
	echo "Not a Debian: install PostgreSQL and its server headers first." >&2
	exit 1
fi
[ -n "$( (tools; server) | missing)" ] || exit 0
if ! as_root true 2>/dev/null; then
	echo "Missing, and no right to install: $( (tools; server) | missing | xargs)" >&2
	exit 1
fi

# Debian's package starts a server of its own when it finds none: not wanted,
# only the programs are used.
no_cluster=/etc/postgresql-common/createcluster.d/queue-setup.conf
no_start=/usr/sbin/policy-rc.d
log=$(mktemp)
trap 'rm -f "$log"; as_root rm -f "$no_cluster" ${made_policy:+"$no_start"}' EXIT
as_root mkdir -p "${no_cluster%/*}"
echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
# Nor is a service that other packages would start.
if [ "$what" = packages ] && [ ! -e "$no_start" ]; then
	made_policy=1
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$no_start" >/dev/null
	as_root chmod 755 "$no_start"
fi

apt_get update
mapfile -t todo < <( (tools; server) | missing)
echo "Installing: ${todo[*]}"
apt_get install --no-install-recommends "${todo[@]}"
