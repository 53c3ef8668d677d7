INSERT INTO bench_vt (body) VALUES ($1::jsonb)
