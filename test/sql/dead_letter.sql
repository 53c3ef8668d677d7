--
-- Dead letters: what becomes of a message that was rejected, failed too often
-- or expired, with and without a dead-letter queue.
--

-- What the property accepts.
\pset tuples_only on
\pset format unaligned
SELECT queue.create('dl dead');
SELECT error_of($$SELECT queue.create('dl work', dead_letter => 'dl daed')$$);
SELECT error_of($$SELECT queue.create('dl work', dead_letter => 'dl work')$$);
SELECT error_of($$SELECT queue.create('dl work', dead_letter => '')$$);
SELECT error_of($$SELECT queue.alter('dl dead', dead_letter => 'dl dead')$$);
SELECT error_of($$SELECT queue.alter('dl dead', dead_letter => 'nowhere near')$$);
CREATE ROLE dl_user;
GRANT CREATE ON SCHEMA queue TO dl_user;
SET ROLE dl_user;
SELECT error_of($$SELECT queue.create('dl work', dead_letter => 'dl dead')$$);
RESET ROLE;
SELECT queue.grant_access('dl dead', 'dl_user', 'send');
SET ROLE dl_user;
SELECT queue.create('dl mine', dead_letter => 'dl dead');
SELECT queue.drop('dl mine');
RESET ROLE;
DROP OWNED BY dl_user;
DROP ROLE dl_user;
\pset tuples_only off
\pset format aligned

-- With it max_attempts is 10 if nothing else was said, and the same call again
-- is no other queue.
SELECT queue.create('dl work', dead_letter => 'dl dead');
SELECT queue.create('dl work', dead_letter => 'dl dead');
SELECT error_of($$SELECT queue.create('dl work', dead_letter => 'dl dead', max_attempts => 3)$$);
SELECT queue, max_attempts, dead_letter FROM queue.queues WHERE queue LIKE 'dl %' ORDER BY 1;
SELECT queue.alter('dl work', max_attempts => 2, visibility_timeout => '1 h', retry_delay => '0');
SELECT queue.alter('dl work', dead_letter => '');
SELECT max_attempts, dead_letter FROM queue.queues WHERE queue = 'dl work';
SELECT queue.alter('dl work', dead_letter => 'dl dead');
SELECT max_attempts, dead_letter FROM queue.queues WHERE queue = 'dl work';
SELECT queue.create('dl other');
SELECT queue.alter('dl other', dead_letter => 'dl dead');
SELECT max_attempts, dead_letter FROM queue.queues WHERE queue = 'dl other';

-- A dead-letter queue in use can be dropped only by force.
SELECT error_of($$SELECT queue.drop('dl dead')$$);
SELECT queue.drop('dl other');

-- What is in the dead-letter queue, when it has so many.
CREATE FUNCTION dead(name text, n int) RETURNS TABLE (body jsonb, payload text,
    key text, headers jsonb, deliveries int, failures int, x_death jsonb,
    state text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wait_until(format(
        '(SELECT count(*) >= %s FROM queue.peek(%L, 100))', n, name));
    -- nothing is in two places
    PERFORM pg_sleep(0.1);
    RETURN QUERY SELECT p.body, encode(p.payload, 'escape'), p.key,
        p.headers - 'x-death', p.deliveries, p.failures,
        (SELECT jsonb_agg(CASE jsonb_typeof(x) WHEN 'object' THEN x - 'first' - 'last' - 'id' ELSE x END) FROM jsonb_array_elements(p.headers->'x-death') x),
        p.state
      FROM queue.peek(name, 100) p ORDER BY p.id;
END $$;

-- Rejected: body, payload, key and headers are kept; not counted as delivered.
SELECT queue.enqueue('dl work', '{"n": 1}', 'bytes', '{"a": 1}', 'k') AS id \gset
SELECT queue.reject('dl work', receipt, 'no such thing') FROM queue.dequeue('dl work');
SELECT * FROM dead('dl dead', 1);
SELECT (x->>'id')::bigint = :id AS id, x->>'first' = x->>'last' AS once,
       (x->>'first')::timestamptz BETWEEN now() - interval '1 min' AND clock_timestamp() AS now
  FROM queue.peek('dl dead') p, jsonb_array_elements(p.headers->'x-death') x;
SELECT count(*) FROM queue.peek('dl work');
SELECT dead_lettered, dropped, enqueued FROM queue.stats WHERE queue = 'dl work';
SELECT queue.purge('dl dead');

-- Failed too often: by nack, by an ended lease, by rollback.
SELECT queue.enqueue('dl work', '"nack"') > 0 AS ok;
SELECT queue.nack('dl work', receipt, '0') FROM queue.dequeue('dl work');
SELECT queue.nack('dl work', receipt, '0', 'again') FROM queue.dequeue('dl work');
SELECT body, x_death FROM dead('dl dead', 1);
SELECT queue.enqueue('dl work', '"lease"') > 0 AS ok;
SELECT body FROM queue.dequeue('dl work', visibility => '10 ms');
SELECT body FROM queue.dequeue('dl work', visibility => '10 ms', wait => '10 s');
SELECT body, x_death FROM dead('dl dead', 2);
SELECT queue.enqueue('dl work', '"rollback"') > 0 AS ok;
BEGIN;
SELECT body FROM queue.dequeue('dl work');
ROLLBACK;
BEGIN;
SELECT body FROM queue.dequeue('dl work', wait => '10 s');
ROLLBACK;
SELECT body, x_death FROM dead('dl dead', 3);
SELECT count(*) FROM queue.peek('dl work');
SELECT queue.purge('dl dead');

-- The reason that a consumer gave for the last failure is kept, up to 120
-- bytes of whole characters, with the death that it belongs to.
SELECT queue.enqueue_batch('dl work', '{1,2,3,4,5}') IS NULL AS n;
SELECT body, queue.reject('dl work', receipt, CASE body
    WHEN '1' THEN 'no "such"' || chr(10) || 'thing' WHEN '2' THEN ''
    WHEN '3' THEN repeat(chr(8364), 50) END)
  FROM queue.dequeue('dl work', 3);
SELECT queue.nack_batch('dl work', array_agg(receipt), '0', 'first try')
  FROM queue.dequeue('dl work', 2);
SELECT body, queue.nack('dl work', receipt, '0', CASE body WHEN '4' THEN 'second try' END)
  FROM queue.dequeue('dl work', 2);
SELECT body, x->'reason' AS reason, left(x->>'detail', 20) AS detail, length(x->>'detail'), octet_length(x->>'detail')
  FROM dead('dl dead', 5), jsonb_array_elements(x_death) x ORDER BY body;
SELECT queue.redrive('dl dead', filter => '{"x-death": [{"detail": "second try"}]}');
SELECT body, failures FROM queue.peek('dl work');
SELECT queue.reject('dl work', receipt) FROM queue.dequeue('dl work');
SELECT x_death FROM dead('dl dead', 5) WHERE body = '4';
SELECT queue.redrive('dl dead', filter => '{"x-death": [{"reason": "rejected"}]}') > 0 AS ok;
SELECT queue.reject_batch('dl work', array_agg(receipt), 'in a batch') FROM queue.dequeue('dl work', 10);
SELECT body, x_death->0->'detail' AS detail FROM dead('dl dead', 5) ORDER BY body;
SELECT queue.purge('dl dead');

-- release is no failure.
SELECT queue.enqueue('dl work', '"release"') > 0 AS ok;
SELECT queue.release('dl work', receipt) FROM queue.dequeue('dl work');
SELECT queue.release('dl work', receipt) FROM queue.dequeue('dl work');
SELECT queue.release('dl work', receipt) FROM queue.dequeue('dl work');
SELECT deliveries, failures, state FROM queue.peek('dl work');
SELECT queue.purge('dl work');

-- Expired: with a dead-letter queue it goes there, without a time to live of
-- its own; delayed and ready alike.
SELECT queue.enqueue('dl work', '"ttl"', ttl => '10 ms') > 0 AS ok;
SELECT queue.enqueue('dl work', '"delayed"', delay => '1 h', ttl => '300 ms') > 0 AS ok;
SELECT body, x_death, state FROM dead('dl dead', 2);
SELECT count(expires_at) FROM queue.peek('dl dead');
SELECT count(*) FROM queue.peek('dl work');
SELECT queue.purge('dl dead');

-- ... without one it is dropped, and counted; a rejected one stays.
SELECT queue.create('dl drop', visibility_timeout => '1 h');
SELECT queue.enqueue('dl drop', '"rejected"') > 0 AS ok;
SELECT queue.reject('dl drop', receipt) FROM queue.dequeue('dl drop');
SELECT queue.enqueue('dl drop', '"ttl"', ttl => '10 ms') > 0 AS ok;
SELECT wait_until($$(SELECT dropped = 1 FROM queue.stats WHERE queue = 'dl drop')$$);
SELECT body, state FROM queue.peek('dl drop');
SELECT ready, dead, dead_lettered, dropped FROM queue.stats WHERE queue = 'dl drop';
-- ... until there is a dead-letter queue.
SELECT queue.alter('dl drop', dead_letter => 'dl dead');
SELECT body, x_death FROM dead('dl dead', 1);
SELECT queue.drop('dl drop');

-- The target's own delay does not count, its time to live does.
SELECT queue.purge('dl dead');
SELECT queue.alter('dl dead', delay => '1 h', ttl => '2 h');
SELECT queue.enqueue('dl work', '"x"') > 0 AS ok;
SELECT queue.reject('dl work', receipt) FROM queue.dequeue('dl work');
SELECT body, state FROM dead('dl dead', 1);
SELECT expires_at > now() + interval '110 min' AS two_hours FROM queue.peek('dl dead');
SELECT queue.alter('dl dead', delay => '0');

-- While the target is paused or missing, messages wait, dead, in the source.
SELECT queue.purge('dl dead');
SELECT queue.pause('dl dead');
SELECT queue.enqueue('dl work', '"paused"') > 0 AS ok;
SELECT queue.reject('dl work', receipt) FROM queue.dequeue('dl work');
SELECT pg_sleep(0.3);
SELECT body, state FROM queue.peek('dl work');
SELECT queue.resume('dl dead');
SELECT body FROM dead('dl dead', 1);
SELECT queue.drop('dl dead', force => true);
SELECT queue.enqueue('dl work', '"missing"') > 0 AS ok;
SELECT queue.reject('dl work', receipt) FROM queue.dequeue('dl work');
SELECT pg_sleep(0.3);
SELECT body, state FROM queue.peek('dl work');
SELECT queue.create('dl dead');
SELECT body FROM dead('dl dead', 1);
SELECT queue.purge('dl dead');

-- Large values go along, in a batch with small ones, and so does a forged
-- history.
SELECT queue.enqueue_batch('dl work',
    ARRAY[jsonb_build_object('s', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i)),
          '2', '3', '4', '5'],
    headers => ARRAY['{}', '{"x-death": 7}', '{"x-death": [1, null, {"queue": 3}, [2]]}',
        '{"x-death": [{"queue": "dl work", "reason": "rejected", "count": 1e300, "first": 4}]}',
        '{"x-death": [{"queue": "a", "reason": "expired", "count": 3, "first": "f", "more": true}, {"queue": "dl work", "reason": "rejected", "count": 2, "first": "f"}]}']::jsonb[]) IS NULL AS n;
SELECT queue.reject_batch('dl work', array_agg(receipt)) FROM queue.dequeue('dl work', 10);
SELECT length(body::text) AS length, headers, CASE WHEN length(x_death::text) < 300 THEN x_death END AS x_death,
       x_death->0->'count' AS count
  FROM dead('dl dead', 5);
SELECT md5(body->>'s') = md5((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i)) AS same
  FROM queue.peek('dl dead') WHERE length(body::text) > 10;
SELECT p.headers->'x-death'->0->>'first' FROM queue.peek('dl dead') p WHERE body = '5';
SELECT queue.purge('dl dead');

-- A count that is none begins anew, and the longest number stops nobody.
SELECT queue.enqueue_batch('dl work', '{1,2,3,4,5,6}', headers => ARRAY(
    SELECT format('{"x-death": [{"queue": "dl work", "reason": "rejected", "count": %s}]}', n)::jsonb
      FROM unnest(ARRAY[repeat('9', 131072), '9223372036854775806',
          '9223372036854775807', '1.5', '-1', '2.0']) WITH ORDINALITY u (n, i) ORDER BY i)) IS NULL AS n;
SELECT queue.reject_batch('dl work', array_agg(receipt)) FROM queue.dequeue('dl work', 10);
SELECT body, x_death->0->'count' AS count FROM dead('dl dead', 6);
SELECT queue.purge('dl dead');

-- Two queues that are each other's: by expiry alone no message comes back to
-- where it was; after a rejection it does, once more.
SELECT queue.create('dl a', ttl => '50 ms', visibility_timeout => '1 h');
SELECT queue.create('dl b', ttl => '50 ms', dead_letter => 'dl a', visibility_timeout => '1 h');
SELECT queue.alter('dl a', dead_letter => 'dl b');
SELECT queue.enqueue('dl a', '"round"') > 0 AS ok;
SELECT wait_until($$(SELECT sum(dropped) = 1 FROM queue.stats WHERE queue IN ('dl a', 'dl b'))$$);
SELECT queue, enqueued, dead_lettered, dropped, total FROM queue.stats WHERE queue IN ('dl a', 'dl b') ORDER BY 1;
SELECT queue.alter('dl b', ttl => '1 day');
SELECT queue.alter('dl a', ttl => '1 day');
SELECT queue.enqueue('dl a', '"rejected"') > 0 AS ok;
SELECT queue.reject('dl a', receipt) FROM queue.dequeue('dl a');
SELECT x_death FROM dead('dl b', 1);
SELECT queue.reject('dl b', receipt) FROM queue.dequeue('dl b');
SELECT x_death FROM dead('dl a', 1);
SELECT queue.reject('dl a', receipt) FROM queue.dequeue('dl a');
SELECT x_death FROM dead('dl b', 1);

DROP FUNCTION dead;
SELECT queue.drop(queue, force => true) FROM queue.queues WHERE queue LIKE 'dl %' ORDER BY queue;
