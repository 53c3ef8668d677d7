SELECT pgq.ticker('bench_' || i) FROM bench_pgq.queues, generate_series(0, n - 1) i \watch 0.02
