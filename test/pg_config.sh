#!/bin/bash
# Print the pg_config of the PostgreSQL to build for: 15 where it is there,
# else the newest with development files, else the one on the PATH.
set -u

for candidate in /usr/lib/postgresql/15/bin/pg_config \
	$(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -rV) \
	$(command -v pg_config)
do
	pgxs=$("$candidate" --pgxs 2>/dev/null) || continue
	# Debian's server package has pgxs.mk, but no headers.
	[ -f "$pgxs" ] && [ -f "$("$candidate" --includedir-server)/postgres.h" ] &&
		echo "$candidate" && exit 0
done
exit 1
