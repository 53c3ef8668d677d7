--
-- With queue.release_on_disconnect the leases that a session took come back
-- when it ends, as failures, without waiting for their time.
--
SELECT queue.create('rel', visibility_timeout => '1 h', retry_delay => '1 h');
SELECT queue.create('keep', visibility_timeout => '1 h');
SHOW queue.release_on_disconnect;

-- Without the setting they run out.
SELECT queue.enqueue('keep', '1') > 0 AS ok;
SELECT body FROM queue.dequeue('keep');
SELECT queue.enqueue_batch('rel', '{1,2,3,4,5,6,7,8}') IS NOT NULL AS ok;
SET queue.release_on_disconnect = on;
SELECT body, receipt AS acked FROM queue.dequeue('rel') \gset
SELECT body, receipt AS undone FROM queue.dequeue('rel') \gset
SELECT body, receipt AS nacked FROM queue.dequeue('rel') \gset
SELECT body, receipt AS released FROM queue.dequeue('rel') \gset
SELECT body, receipt AS extended FROM queue.dequeue('rel') \gset
SELECT body, receipt AS savepoint FROM queue.dequeue('rel') \gset
SELECT queue.ack('rel', :acked);
SELECT queue.nack('rel', :nacked, '1 h');
SELECT queue.release('rel', :released, '1 h');
SELECT queue.extend('rel', :extended, '2 h');
SELECT holder = pg_backend_pid() AS mine, count(*)
  FROM queue.in_flight WHERE queue = 'rel' GROUP BY 1;
SELECT pid = pg_backend_pid() AS me, state
  FROM queue.consumers WHERE queue = 'rel';

-- An ack that is rolled back leaves the lease, also by a savepoint.
BEGIN;
SELECT queue.ack('rel', :undone);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT queue.ack('rel', :savepoint);
ROLLBACK TO s;
COMMIT;

-- One that was taken by a transaction that the end of the session rolls back.
BEGIN;
SELECT body FROM queue.dequeue('rel');
\c -
SELECT body, failures, deliveries
  FROM (SELECT * FROM queue.dequeue('rel', 1, wait => '10 s')
        UNION ALL SELECT * FROM queue.dequeue('rel', 1, wait => '10 s')
        UNION ALL SELECT * FROM queue.dequeue('rel', 1, wait => '10 s')
        UNION ALL SELECT * FROM queue.dequeue('rel', 1, wait => '10 s')
        UNION ALL SELECT * FROM queue.dequeue('rel', 1, wait => '10 s')) m
 ORDER BY body;
SELECT body, state, failures FROM queue.peek('rel') ORDER BY body;
SELECT body, state, failures FROM queue.peek('keep');

-- A lease taken by another session since is not touched.
SELECT queue.purge('rel') > 0 AS ok;
SELECT queue.enqueue('rel', '1') > 0 AS ok;
SET queue.release_on_disconnect = on;
SELECT body FROM queue.dequeue('rel', visibility => '10 ms');
SET queue.release_on_disconnect = off;
SELECT body, failures FROM queue.dequeue('rel', wait => '10 s');
\c -
SELECT pg_sleep(0.3);
SELECT body, state, failures FROM queue.peek('rel');

-- The last failure allowed.
SELECT queue.create('last', max_attempts => 1);
SELECT queue.enqueue('last', '1') > 0 AS ok;
SET queue.release_on_disconnect = on;
SELECT body FROM queue.dequeue('last');
\c -
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN EXISTS (SELECT FROM queue.peek('last', 1, 'dead'));
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT body, state, failures FROM queue.peek('last');

SELECT queue.drop(queue, force => true) FROM queue.queues;

-- A session that has as many leases as are remembered forgets those that are
-- over for a new one.
SELECT queue.create('many');
SELECT cardinality(queue.enqueue_batch('many', array_fill('1'::jsonb, ARRAY[5000])));
SET queue.release_on_disconnect = on;
SELECT count(*) FROM queue.dequeue('many', 5000, visibility => '10 ms');
SELECT queue.purge('many');
SELECT queue.enqueue('many', '"last"') > 0 AS ok;
SELECT pg_sleep(1.1);
SELECT body FROM queue.dequeue('many', visibility => '1 h');
\c -
SELECT body, failures FROM queue.dequeue('many', wait => '10 s');
SELECT queue.drop('many', true);
