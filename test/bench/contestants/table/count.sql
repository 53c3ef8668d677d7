SELECT count(*) FILTER (WHERE state = 0) || '|' || count(*) FROM bench_table;
