SELECT pg_total_relation_size('bench_vt');
