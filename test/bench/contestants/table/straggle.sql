INSERT INTO bench_table (body, state, lease_until)
VALUES (bench.body(0, 98), 1, now() + interval '1 hour');
