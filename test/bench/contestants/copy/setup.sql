CREATE TABLE bench_copy (id bigint GENERATED ALWAYS AS IDENTITY, body jsonb NOT NULL);
