SET synchronous_commit = off;
INSERT INTO bench_insert (body)
SELECT b
  FROM generate_series(0, (:count - 1) / 1000) AS g
  JOIN bench.pool ON chunk = g % 20,
       unnest(bodies) WITH ORDINALITY AS u (b, i)
 WHERE g * 1000 + i <= :count;
VACUUM ANALYZE bench_insert;
