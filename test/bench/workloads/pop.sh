# shellcheck shell=bash
# about: claim and remove in one statement, bodies go to the client
# title: pop

workload_pop() {
	drain_cases pop '1 100'
}
