SELECT count(*) || '|' || count(*) FROM bench_insert;
