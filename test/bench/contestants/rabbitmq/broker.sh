# shellcheck shell=bash
# A private RabbitMQ on the loopback interface, with an epmd of its own.

rabbitmq_lib=/usr/lib/rabbitmq/bin

rabbitmq_available() {
	[ -x "$rabbitmq_lib/rabbitmq-server" ] && [ -e /usr/include/amqp.h ] &&
		command -v epmd >/dev/null
}

rabbitmq_libraries() { echo -lrabbitmq; }
rabbitmq_address() { echo "$rabbitmq_port"; }
rabbitmq_version() {
	dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null || echo unknown
}

# Leaves broker_pid. The server's script stays between us and the server, whose
# pid is in a file.
rabbitmq_start() {
	local dir="$work/rabbitmq" port=$((20000 + RANDOM % 10000))

	rabbitmq_port=$((port + 1))
	as_owner mkdir -p "$dir"
	as_owner tee "$dir/rabbitmq.conf" >/dev/null <<-CONF
		listeners.tcp.1 = 127.0.0.1:$rabbitmq_port
		log.file.level = warning
	CONF
	"${runas[@]}" epmd -address 127.0.0.1 -port "$port" >"$work/logs/epmd" 2>&1 &
	brokers_pids="$brokers_pids $!"
	"${runas[@]}" env HOME="$dir" ERL_EPMD_ADDRESS=127.0.0.1 \
		ERL_EPMD_PORT="$port" \
		RABBITMQ_NODENAME=bench@localhost \
		RABBITMQ_DIST_PORT=$((port + 2)) \
		RABBITMQ_MNESIA_BASE="$dir/data" RABBITMQ_LOG_BASE="$dir/log" \
		RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
		RABBITMQ_ENABLED_PLUGINS_FILE="$dir/plugins" \
		RABBITMQ_PID_FILE="$dir/pid" \
		RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none' \
		"$rabbitmq_lib/rabbitmq-server" >"$work/logs/rabbitmq" 2>&1 &
	brokers_pids="$brokers_pids $!"
	wait_for 120 test -s "$dir/pid" || return 1
	broker_pid=$(cat "$dir/pid")
}
