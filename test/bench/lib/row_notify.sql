WITH row AS (INSERT INTO bench.row VALUES ($1) RETURNING body)
SELECT pg_notify('bench', body) FROM row
