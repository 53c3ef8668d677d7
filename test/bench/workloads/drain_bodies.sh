# shellcheck shell=bash
# about: claim, then ack, from a backlog; keys and bodies go to the client
# title: claim+ack, bodies sent

workload_drain_bodies() {
	drain_cases drain_bodies '100 10'
}
