SELECT pgq.insert_event(bench_pgq.mine('bench_pgq.producer'), 't', $1)
