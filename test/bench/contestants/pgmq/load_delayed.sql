SET synchronous_commit = off;
SELECT count(pgmq.send_batch('bench', bodies[1:least(1000, :count - g * 1000)]))
  FROM generate_series(0, (:count - 1) / 1000) AS g
  JOIN bench.pool ON chunk = g % 20;
VACUUM ANALYZE pgmq.q_bench;
