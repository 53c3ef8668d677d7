--
-- pause() makes sending, receiving or both fail until resume(); what is leased
-- can be settled meanwhile.
--
SELECT queue.create('halt');
SELECT queue.enqueue('halt', to_jsonb(i)) FROM generate_series(1, 5) i;
SELECT receipt AS r FROM queue.dequeue('halt') \gset

-- Both.
SELECT queue.pause('halt');
SELECT state, enqueue_paused, dequeue_paused FROM queue.queues WHERE queue = 'halt';
SELECT error_of($$SELECT queue.enqueue('halt', '1')$$);
SELECT error_of($$SELECT queue.enqueue_batch('halt', '{1}')$$);
SELECT error_of($$SELECT queue.dequeue('halt')$$);
SELECT error_of($$SELECT queue.dequeue('halt', wait => '1 min')$$);
SELECT error_of($$SELECT queue.dequeue_any('{halt}')$$);
SELECT error_of($$CALL queue.receive('halt')$$);
SELECT error_of($$SELECT queue.pop('halt')$$);
SELECT queue.extend('halt', :r, '1 min');
SELECT queue.nack('halt', :r, '0');
SELECT count(*) FROM queue.peek('halt');
SELECT body, state FROM queue.get('halt', 2);
SELECT queue.cancel('halt', 2);
SELECT ready, total FROM queue.stats WHERE queue = 'halt';

-- Paused again: the same.  Properties stay changeable.
SELECT queue.pause('halt');
SELECT queue.alter('halt', comment => 'paused');
SELECT queue.create('halt', comment => 'paused');

-- What is leased can be settled, one by one and in batches.
SELECT queue.create('held', visibility_timeout => '0.3 s', max_attempts => 1);
SELECT queue.enqueue_batch('held', '{1,2,3,4,5,6,7,8,9,10}') AS ids;
SELECT receipt AS r FROM queue.dequeue('held') \gset
SELECT array_agg(receipt ORDER BY id) AS rs
  FROM queue.dequeue('held', 9, '1 h') \gset
SELECT queue.enqueue('held', '11', delay => '0.3 s');
SELECT queue.pause('held');
SELECT queue.ack('held', (:'rs'::bigint[])[1]),
       queue.release('held', (:'rs'::bigint[])[2]),
       queue.reject('held', (:'rs'::bigint[])[3]),
       queue.ack_batch('held', (:'rs'::bigint[])[4:5]),
       queue.release_batch('held', (:'rs'::bigint[])[6:6]),
       queue.reject_batch('held', (:'rs'::bigint[])[7:7]),
       queue.extend_batch('held', (:'rs'::bigint[])[8:8], '2 h'),
       queue.nack_batch('held', (:'rs'::bigint[])[8:8]);

-- The worker goes on: the delay ends, and so does the lease, the last one.
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM queue.get('held', 1) WHERE state = 'dead')
              AND EXISTS (SELECT FROM queue.get('held', 11) WHERE state = 'ready');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT id, state FROM queue.peek('held', 20) ORDER BY id;
SELECT queue.drop('held', true);

-- Half of it resumed.
SELECT queue.resume('halt', enqueue => true, dequeue => false);
SELECT state FROM queue.queues WHERE queue = 'halt';
SELECT queue.enqueue('halt', '6');
SELECT error_of($$SELECT queue.dequeue('halt')$$);
SELECT queue.resume('halt', enqueue => false);
SELECT state FROM queue.queues WHERE queue = 'halt';
SELECT count(*) FROM queue.dequeue('halt', 2);

-- Only sending; false leaves the other as it is.
SELECT queue.pause('halt', dequeue => false);
SELECT state FROM queue.queues WHERE queue = 'halt';
SELECT error_of($$SELECT queue.enqueue('halt', '1')$$);
SELECT count(*) FROM queue.dequeue('halt');
SELECT queue.pause('halt', enqueue => false);
SELECT state FROM queue.queues WHERE queue = 'halt';
SELECT queue.resume('halt', NULL, NULL);
SELECT state FROM queue.queues WHERE queue = 'halt';
SELECT queue.resume('halt');
SELECT state FROM queue.queues WHERE queue = 'halt';

-- Only receiving.
SELECT queue.pause('halt', false, true);
SELECT state FROM queue.queues WHERE queue = 'halt';
SELECT queue.enqueue('halt', '7');
SELECT error_of($$SELECT queue.pop('halt')$$);
SELECT queue.resume('halt');

-- Rolled back, and in the same transaction.
BEGIN;
SELECT queue.pause('halt');
SAVEPOINT s;
SELECT queue.enqueue('halt', '8');
ROLLBACK TO s;
SELECT queue.resume('halt');
SELECT queue.enqueue('halt', '8') > 0 AS ok;
SELECT queue.pause('halt');
ROLLBACK;
SELECT queue.enqueue('halt', '9') > 0 AS ok;
SELECT count(*) > 0 AS ok FROM queue.pop('halt');

-- One paused queue among several stops dequeue_any.
SELECT queue.create('halt not');
SELECT queue.enqueue('halt not', '1') > 0 AS ok;
SELECT queue.pause('halt');
SELECT error_of($$SELECT queue.dequeue_any('{halt not,halt}')$$);
SELECT body, deliveries FROM queue.dequeue('halt not');

-- A paused queue can be purged and dropped.
SELECT queue.purge('halt') >= 0 AS ok;
SELECT queue.drop('halt'), queue.drop('halt not', true);

SELECT queue.create('halt');
SELECT error_of($$SELECT queue.pause('halt', false, false)$$);
SELECT error_of($$SELECT queue.resume('halt', false, false)$$);
SELECT error_of($$SELECT queue.pause(NULL)$$);
SELECT error_of($$SELECT queue.resume(NULL)$$);
SELECT error_of($$SELECT queue.pause('')$$);
SELECT error_of($$SELECT queue.pause('nowhere')$$);
SELECT error_of($$SELECT queue.resume('nowhere')$$);
SELECT queue.drop('halt');
