SELECT queue.create('bench_' || i) FROM generate_series(1, :count) i;
