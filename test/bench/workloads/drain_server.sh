# shellcheck shell=bash
# about: claim, then ack, from a backlog; only keys leave the server
# title: claim+ack, in the server

workload_drain_server() {
	drain_cases drain_server 100
}
