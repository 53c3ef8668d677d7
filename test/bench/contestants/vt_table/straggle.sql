INSERT INTO bench_vt (body, vt) VALUES (bench.body(0, 98), now() + interval '1 hour');
