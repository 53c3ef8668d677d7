INSERT INTO bench_table (body) SELECT b FROM unnest($1::jsonb[]) b
