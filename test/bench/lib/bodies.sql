-- bodies.sql
--   Message bodies: JSON whose text is exactly "size" bytes long.

CREATE SCHEMA bench;

CREATE FUNCTION bench.body(n bigint, size int) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT format('{"id": %s, "type": "order", "amount": 129.95, "note": "%s"}',
                  10000000 + n % 90000000,
                  left(CASE WHEN size <= 96 + 32 THEN md5(n::text) || md5(n::text)
                            ELSE (SELECT string_agg(md5(n || '.' || i), '')
                                  FROM generate_series(1, size / 32 + 1) i) END,
                       size - 63))::jsonb
$$;

-- Bodies to load from, in arrays of 1,000, so that loading costs no formatting.
CREATE UNLOGGED TABLE bench.pool (chunk int, bodies jsonb[], size int);
ALTER TABLE bench.pool ALTER bodies SET STORAGE EXTERNAL;

CREATE PROCEDURE bench.fill_pool(wanted int)
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM bench.pool WHERE size = wanted) THEN
        RETURN;
    END IF;
    TRUNCATE bench.pool;
    INSERT INTO bench.pool
    SELECT c, array_agg(bench.body(c * 1000 + i, wanted) ORDER BY i), wanted
      FROM generate_series(0, 19) c, generate_series(1, 1000) i
     GROUP BY c;
END $$;

-- One batch in the server, for senders whose bodies do not come from outside.
CREATE UNLOGGED TABLE bench.batch (bodies jsonb[]);
ALTER TABLE bench.batch ALTER bodies SET STORAGE EXTERNAL;

CREATE PROCEDURE bench.fill_batch(count int, size int)
LANGUAGE sql AS $$
    TRUNCATE bench.batch;
    INSERT INTO bench.batch
    SELECT array_agg(bench.body(i, size)) FROM generate_series(1, count) i;
$$;
