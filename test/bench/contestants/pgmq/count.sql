SELECT count(*) FILTER (WHERE vt <= clock_timestamp()) || '|' || count(*) FROM pgmq.q_bench;
