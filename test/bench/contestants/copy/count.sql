SELECT count(*) || '|' || count(*) FROM bench_copy;
