# shellcheck shell=bash
# A private Redis on a unix socket; nothing is lost of what it confirmed.

redis_available() {
	command -v redis-server >/dev/null && [ -e /usr/include/hiredis/hiredis.h ]
}

redis_libraries() { echo -lhiredis; }
redis_address() { echo "$work/redis/socket"; }
redis_version() { redis-server --version | sed 's/.* v=\([^ ]*\).*/\1/'; }

# Leaves broker_pid.
redis_start() {
	as_owner mkdir -p "$work/redis"
	"${runas[@]}" redis-server --port 0 --unixsocket "$work/redis/socket" \
		--dir "$work/redis" --save '' --appendonly yes --appendfsync always \
		--daemonize no >"$work/logs/redis" 2>&1 &
	broker_pid=$!
}
