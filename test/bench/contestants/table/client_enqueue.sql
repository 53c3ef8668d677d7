INSERT INTO bench_table (body) VALUES ($1::jsonb)
