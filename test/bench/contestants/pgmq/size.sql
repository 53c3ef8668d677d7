SELECT pg_total_relation_size('pgmq.q_bench');
