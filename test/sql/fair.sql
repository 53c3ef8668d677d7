--
-- fair: tenants, by key, with few messages in flight are served before those
-- with many; nobody starves, and nothing is held back.
--
SELECT queue.create('fair', fair => true, retry_delay => '0', retry_backoff => 'none');
CREATE TABLE taken (i serial, key text, receipt bigint);
-- So many calls for one message each; the keys, in order.
CREATE FUNCTION take(n int, max int = 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text := '';
    m record;
BEGIN
    FOR i IN 1 .. n LOOP
        FOR m IN SELECT coalesce(key, '-') AS key, receipt FROM queue.dequeue('fair', max, '1 h') LOOP
            result := result || m.key;
            INSERT INTO taken (key, receipt) VALUES (m.key, m.receipt);
        END LOOP;
    END LOOP;
    RETURN result;
END $$;
CREATE FUNCTION send(tenant text, n int, priority int = 0) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(queue.enqueue('fair', to_jsonb(i), key => tenant, priority => priority))
      FROM generate_series(1, n) i;
$$;
CREATE FUNCTION done(tenant text) RETURNS bigint LANGUAGE sql AS $$
    WITH d AS (DELETE FROM taken WHERE key = tenant RETURNING receipt)
    SELECT count(*) FILTER (WHERE queue.ack('fair', receipt)) FROM d;
$$;

-- Fewer than 30 in flight are not noisy, whatever their share: in order.
SELECT send('a', 100), send('b', 3);
SELECT take(1, 29);
SELECT take(1);
-- More are, and the others come first; every tenth call takes what is oldest.
SELECT take(5), send('b', 12), send('c', 3);
SELECT take(10), take(10);
-- What quiet tenants leave of max is filled up.
SELECT send('b', 2), take(1, 5);
SELECT take(1, 100) ~ '^a+$' AS rest_of_a;
-- Back from its leases, a tenant is as quiet as the others.
SELECT done('a'), done('b'), done('c');
SELECT send('a', 3), send('b', 3), take(1, 6), done('a'), done('b');
-- A tenth of what is in flight, or less, is not noisy, however many they are.
SELECT send('a', 35), length(take(1, 35)), send('d', 500), length(take(1, 500));
SELECT send('d', 3), send('a', 3), take(1, 6);
SELECT done('a'), done('d');

-- Without a key all are one tenant.
SELECT send(NULL, 50), take(1, 40);
SELECT send('b', 3), take(3);
SELECT take(9) ~ '^-+$' AS ok, done('-'), done('b');

-- Inside a priority: a noisy tenant's message of a higher one comes first.
SELECT send('a', 60, 5), take(1, 40);
SELECT send('b', 2), send('b', 2, 5);
SELECT take(2), take(1, 30);
SELECT done('a'), done('b');

-- Pops are in flight until their transaction ends.
SELECT send('a', 60), send('b', 4);
BEGIN;
SELECT string_agg(key, '') FROM queue.pop('fair', 40);
SELECT take(3);
ROLLBACK;
SELECT wait_until($$64 = (SELECT ready FROM queue.stats WHERE queue = 'fair')$$);
SELECT take(3);
SELECT queue.purge('fair') > 0 AS ok;
TRUNCATE taken;

-- Switched on and off.
SELECT queue.alter('fair', fair => false);
SELECT send('a', 60), send('b', 2), take(1, 40), take(2);
SELECT queue.alter('fair', fair => true);
SELECT take(1, 100), done('a'), done('b');
SELECT send('a', 60), send('b', 2), take(1, 40), take(2);
SELECT fair FROM queue.queues WHERE queue = 'fair';

DROP FUNCTION take, send, done;
DROP TABLE taken;
SELECT queue.drop('fair', true);
