SELECT count(*) FILTER (WHERE vt <= clock_timestamp()) || '|' || count(*) FROM bench_vt;
