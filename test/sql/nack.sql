--
-- nack() gives a message back, counts a failure and applies the queue's
-- backoff; over max_attempts the message is dead.
--
SELECT queue.create('nack', retry_delay => '100 s');
SELECT queue.enqueue('nack', '"n"') > 0 AS ok;

-- With a delay of its own.
SELECT receipt AS r FROM queue.dequeue('nack') \gset
SELECT queue.nack('nack', :r, '0');
SELECT receipt AS r2, deliveries, failures FROM queue.dequeue('nack') \gset
SELECT :deliveries AS deliveries, :failures AS failures, :r <> :r2 AS new_receipt;
SELECT queue.nack('nack', :r, '0'), queue.nack('nack', :r2, '1 h', 'later'),
       queue.nack('nack', :r2, '0');
SELECT deliveries, failures, state,
       round(extract(epoch FROM visible_at - clock_timestamp()) / 3600) AS hours
  FROM queue.peek('nack');
SELECT queue.cancel('nack', 1);

-- At once, not undone by a rollback.
SELECT queue.enqueue('nack', '"m"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('nack') \gset
BEGIN;
SELECT queue.nack('nack', :r, '0', 'no transaction');
ROLLBACK;
SELECT deliveries, failures, receipt AS r FROM queue.dequeue('nack') \gset
SELECT :deliveries AS deliveries, :failures AS failures;

-- Dequeue, nack and rollback: one failure, not two.
BEGIN;
SELECT queue.nack('nack', :r, '0');
SELECT receipt AS r FROM queue.dequeue('nack') \gset
SELECT queue.nack('nack', :r, '0');
ROLLBACK;
SELECT deliveries, failures FROM queue.dequeue('nack');

-- After an ack that was not committed yet, nack comes too late; after its
-- rollback it does not.
SELECT queue.purge('nack');
SELECT queue.enqueue('nack', '"a"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('nack') \gset
BEGIN;
SELECT queue.ack('nack', :r), queue.nack('nack', :r, '0');
SELECT queue.nack('nack', :r, '0');
ROLLBACK;
SELECT queue.nack('nack', :r, '0');

-- Backoff: exponential, linear, none; 15 % of jitter; never above the limit.
CREATE FUNCTION backoff(name text, expected int[])
RETURNS TABLE (failures int, delay int, as_expected boolean)
LANGUAGE plpgsql AS $$
DECLARE
    m record;
    seconds numeric;
BEGIN
    FOR i IN 1 .. cardinality(expected) LOOP
        PERFORM queue.purge(name);
        PERFORM queue.enqueue(name);
        FOR j IN 1 .. i - 1 LOOP
            PERFORM queue.nack(name, d.receipt, '0') FROM queue.dequeue(name) d;
        END LOOP;
        PERFORM queue.nack(name, d.receipt) FROM queue.dequeue(name) d;
        SELECT p.failures, extract(epoch FROM p.visible_at - clock_timestamp())
          INTO failures, seconds
          FROM queue.peek(name) p;
        delay := expected[i];
        -- some time may have passed since
        as_expected := seconds BETWEEN delay * 0.85 - 5 AND delay * 1.15;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT * FROM backoff('nack', '{100,200,400,800,900,900}');
SELECT queue.alter('nack', retry_backoff => 'linear');
SELECT * FROM backoff('nack', '{100,200,300,400,500,600,700,800,900,900}');
SELECT queue.alter('nack', retry_backoff => 'none');
SELECT * FROM backoff('nack', '{100,100,100}');
-- A limit below the first delay does not shorten it.
SELECT queue.alter('nack', retry_backoff => 'exponential', retry_max_delay => '1 s');
SELECT * FROM backoff('nack', '{100,100,100}');
SELECT queue.alter('nack', retry_delay => '0', retry_max_delay => '1 h');
SELECT queue.purge('nack');
SELECT queue.enqueue('nack') > 0 AS ok;
SELECT queue.nack('nack', receipt) FROM queue.dequeue('nack');
SELECT failures FROM queue.dequeue('nack', wait => '1 s');
DROP FUNCTION backoff;

-- Jitter: not all the same.
SELECT queue.alter('nack', retry_delay => '1000 s');
SELECT queue.purge('nack');
SELECT count(queue.enqueue('nack')) FROM generate_series(1, 1000);
SELECT queue.nack_batch('nack', array_agg(receipt)) FROM queue.dequeue('nack', 1000);
SELECT min(d) BETWEEN 845 AND 870 AS least, max(d) BETWEEN 1130 AND 1151 AS most,
       avg(d) BETWEEN 985 AND 1015 AS middle
  FROM (SELECT extract(epoch FROM visible_at - clock_timestamp()) AS d
          FROM queue.peek('nack', 1000)) s;

-- max_attempts.
SELECT queue.create('nack dead', max_attempts => 3);
SELECT queue.enqueue('nack dead', '"d"') > 0 AS ok;
SELECT queue.nack('nack dead', receipt, '0') FROM queue.dequeue('nack dead');
SELECT queue.nack('nack dead', receipt, '0') FROM queue.dequeue('nack dead');
SELECT failures, state FROM queue.peek('nack dead');
SELECT queue.nack('nack dead', receipt, '0', 'enough') FROM queue.dequeue('nack dead');
SELECT * FROM queue.dequeue('nack dead');
SELECT body, deliveries, failures, state, visible_at
  FROM queue.peek('nack dead', state => 'dead');
SELECT dead, ready, dead_lettered, nacked FROM queue.stats WHERE queue = 'nack dead';

-- Expired leases count too: the worker, or the next consumer, finds it dead.
SELECT queue.enqueue('nack dead', '"e"') > 0 AS ok;
SELECT deliveries, failures FROM queue.dequeue('nack dead', visibility => '1 ms', wait => '20 s');
SELECT deliveries, failures FROM queue.dequeue('nack dead', visibility => '1 ms', wait => '20 s');
SELECT deliveries, failures FROM queue.dequeue('nack dead', visibility => '1 ms', wait => '20 s');
SELECT wait_until($$2 = (SELECT count(*) FROM queue.peek('nack dead', state => 'dead'))$$);
SELECT * FROM queue.dequeue('nack dead');
SELECT body, failures FROM queue.peek('nack dead', state => 'dead') ORDER BY id;

-- A dead message can be looked at, cancelled and purged, not acked.
SELECT queue.cancel('nack dead', 1);
SELECT queue.purge('nack dead');

-- nack_batch: as ack_batch.
SELECT queue.purge('nack') > 0 AS ok;
SELECT count(queue.enqueue('nack', to_jsonb(i))) FROM generate_series(1, 5) i;
SELECT array_agg(receipt) AS rs FROM queue.dequeue('nack', 5) \gset
SELECT queue.nack_batch('nack', (:'rs'::bigint[])[1:2] || (:'rs'::bigint[])[2:3] || NULL::bigint || 0::bigint, '0');
SELECT queue.nack_batch('nack', :'rs', '1 h', 'reason');
SELECT queue.nack_batch('nack', '{}'), queue.nack_batch('nack', NULL);
SELECT state, failures, count(*) FROM queue.peek('nack') GROUP BY 1, 2 ORDER BY 1, 2;

-- Long delays.
SELECT receipt AS r FROM queue.dequeue('nack') \gset
SELECT queue.nack('nack', :r, '178000000 years');
SELECT count(*) FROM queue.peek('nack') WHERE state = 'delayed' AND visible_at > '3000-01-01';

SELECT error_of($$SELECT queue.nack('nack', 1, '-1 s')$$);
SELECT error_of($$SELECT queue.nack_batch('nack', '{1}', '-1 s')$$);
SELECT error_of($$SELECT queue.nack(NULL, 1)$$);
SELECT error_of($$SELECT queue.nack('nowhere', 1)$$);
SELECT error_of($$SELECT queue.nack_batch('nowhere', '{}')$$);
SELECT queue.nack('nack', NULL, NULL, NULL), queue.nack('nack', 0, NULL),
       queue.nack('nack', -1, '1 s');

-- A limit that is lowered holds for failures before.
SELECT queue.create('nack low', max_attempts => 5, retry_delay => '0');
SELECT queue.enqueue('nack low', '1') > 0 AS ok;
SELECT queue.nack('nack low', receipt) FROM queue.dequeue('nack low');
SELECT queue.nack('nack low', receipt) FROM queue.dequeue('nack low');
SELECT queue.alter('nack low', max_attempts => 2);
SELECT body FROM queue.dequeue('nack low');
SELECT state, failures FROM queue.peek('nack low');

SELECT queue.drop(name, true) FROM unnest('{nack,nack dead,nack low}'::text[]) name;
