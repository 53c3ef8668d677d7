SELECT batch, body FROM bench_pgq.claim()
