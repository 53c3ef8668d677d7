-- More eager autovacuum settings were tried: sending got slower, claiming no faster.
CREATE TABLE bench_vt (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    vt          timestamptz NOT NULL DEFAULT now(),
    deliveries  int NOT NULL DEFAULT 0,
    body        jsonb NOT NULL
);
CREATE INDEX bench_vt_vt ON bench_vt (vt);
