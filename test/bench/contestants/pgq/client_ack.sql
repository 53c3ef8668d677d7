SELECT pgq.finish_batch(b) FROM (SELECT DISTINCT unnest($1::bigint[]) AS b) s
