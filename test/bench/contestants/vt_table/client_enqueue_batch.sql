INSERT INTO bench_vt (body) SELECT b FROM unnest($1::jsonb[]) b
