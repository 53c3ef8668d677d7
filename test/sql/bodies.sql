--
-- Bodies of every size come out as they went in, from none to 100 MB.
--
SELECT queue.create('body');

-- Sizes around what fits into a page, and around toast's threshold; data that
-- compresses and data that does not.
CREATE TEMP TABLE sent (id bigint, size int, kind text, hash text);
CREATE FUNCTION noise(size int) RETURNS bytea LANGUAGE sql AS $$
    SELECT substr(coalesce(string_agg(sha512(int4send(i)), ''), ''), 1, size)
      FROM generate_series(1, size / 64 + 1) i
$$;
INSERT INTO sent
SELECT queue.enqueue('body', payload => data), size, kind, md5(data)
  FROM unnest('{0,1,2,3,126,127,128,1000,1950,1980,1990,1995,2000,2030,2040,
                3980,4000,4060,7900,7990,8000,8050,8100,8160,8192,9000,16000,
                65535,65536,100000,1000000}'::int[]) size,
       unnest('{noise,zeros}'::text[]) kind,
       LATERAL (SELECT CASE kind WHEN 'noise' THEN noise(size)
                                 ELSE decode(repeat('00', size), 'hex') END) d (data);
SELECT count(*), count(*) FILTER (WHERE length(payload) = size AND md5(payload) = hash) AS intact
  FROM queue.dequeue('body', 1000) JOIN sent USING (id);
SELECT count(*) FROM queue.peek('body', 1000) JOIN sent USING (id)
 WHERE md5(payload) = hash AND state = 'leased';
SELECT queue.purge('body') = count(*) AS all FROM sent;

-- The same as jsonb, headers and key, all at once.
TRUNCATE sent;
INSERT INTO sent
SELECT queue.enqueue('body', to_jsonb(t), t::bytea, jsonb_build_object('h', t), t), size, '', md5(t)
  FROM unnest('{0,1,500,700,1990,2000,3000,8000,100000,1000000}'::int[]) size,
       LATERAL (SELECT encode(noise(size), 'hex')) d (t);
SELECT count(*) FILTER (WHERE md5(body #>> '{}') = hash) AS body,
       count(*) FILTER (WHERE md5(payload) = hash) AS payload,
       count(*) FILTER (WHERE md5(headers ->> 'h') = hash) AS headers,
       count(*) FILTER (WHERE md5(key) = hash) AS key
  FROM queue.pop('body', 1000) JOIN sent USING (id);

-- A value that is stored out of line in another table is copied, not pointed
-- to; so is one that is taken from a message.
CREATE TEMP TABLE doc (data bytea);
ALTER TABLE doc ALTER data SET STORAGE EXTERNAL;
INSERT INTO doc SELECT noise(100000);
SELECT queue.enqueue('body', payload => data) > 0 AS ok FROM doc;
DROP TABLE doc;
SELECT md5(payload) = md5(noise(100000)) AS intact FROM queue.dequeue('body', 1, '1 ms');
SELECT queue.enqueue('body', payload => payload) > 0 AS ok
  FROM queue.pop('body', wait => '20 s');
SELECT md5(payload) = md5(noise(100000)) AS intact FROM queue.pop('body');

-- Rows kept after the transaction that took the message out of the queue.
SELECT queue.enqueue('body', payload => noise(50000)) > 0 AS ok;
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT payload FROM queue.pop('body');
COMMIT;
CREATE TEMP TABLE kept (data bytea);
DO $$
DECLARE
    m queue.message;
BEGIN
    PERFORM queue.enqueue('body', payload => noise(50001));
    SELECT * INTO m FROM queue.pop('body');
    INSERT INTO kept VALUES (m.payload);
END $$;
SELECT md5(data) = md5(noise(50001)) AS intact FROM kept;
FETCH 1 FROM c \gset
SELECT md5(:'payload'::bytea) = md5(noise(50000)) AS intact;
CLOSE c;

-- A rolled-back sender leaves nothing, a rolled-back pop the whole body.
BEGIN;
SELECT queue.enqueue('body', payload => noise(100000)) > 0 AS ok;
ROLLBACK;
SELECT * FROM queue.dequeue('body');
SELECT queue.enqueue('body', payload => noise(100000)) > 0 AS ok;
BEGIN;
SELECT length(payload) FROM queue.pop('body');
ROLLBACK;
SELECT md5(payload) = md5(noise(100000)) AS intact FROM queue.pop('body', wait => '20 s');

-- 100 MB.
SELECT queue.enqueue('body', payload => decode(repeat(md5('x'), 6250000), 'hex')) > 0 AS ok;
SELECT length(payload), md5(payload) = md5(decode(repeat(md5('x'), 6250000), 'hex')) AS intact,
       queue.ack('body', receipt)
  FROM queue.dequeue('body');
SELECT count(*) FROM queue.peek('body');

-- Beyond what a value can be: an error of PostgreSQL's, and the queue goes on.
SELECT error_of($$SELECT queue.enqueue('body', payload => decode(repeat('ab', 600000000), 'hex'))$$) ~ '^54000|^XX000' AS refused;
SELECT queue.enqueue('body', '"on"') > 0 AS ok;
SELECT body FROM queue.dequeue('body');

SELECT queue.drop('body', true);
DROP FUNCTION noise;
