CREATE SCHEMA bench_many;
-- More eager autovacuum settings were tried: sending got slower, claiming no faster.
CREATE TABLE bench_table (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz,
    deliveries  int NOT NULL DEFAULT 0,
    state       smallint NOT NULL DEFAULT 0,    -- 0 ready, 1 leased
    body        jsonb NOT NULL
);
CREATE INDEX bench_table_ready ON bench_table (id) WHERE state = 0;
