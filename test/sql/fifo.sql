--
-- Kind fifo: strict order per key, in order of send.
--
SELECT queue.create('ff', kind => 'fifo', retry_delay => '0', retry_backoff => 'none', max_attempts => 3);
SELECT kind FROM queue.queue_def WHERE name = 'ff';

-- While a message of a key is leased nothing later of the key is offered.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2', '3', '4', '5', '6']::jsonb[],
                           keys => ARRAY['a', 'b', 'a', 'b', 'c', 'a']) IS NOT NULL AS sent;
SELECT body, key, receipt AS r1 FROM queue.dequeue('ff') \gset a_
SELECT :'a_body' AS body, :'a_key' AS key;
SELECT body, key, receipt AS r1 FROM queue.dequeue('ff') \gset b_
SELECT :'b_body' AS body, :'b_key' AS key;
SELECT body, key, receipt AS r1 FROM queue.dequeue('ff') \gset c_
SELECT :'c_body' AS body, :'c_key' AS key;
SELECT body, key FROM queue.dequeue('ff', 10);

-- ack lets the next one go, and no other key's.
SELECT queue.ack('ff', :a_r1);
SELECT body, key FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);

-- A batch holds a run of a key, in order, and what follows waits until the
-- whole run is settled.
SELECT queue.ack('ff', :b_r1);
SELECT queue.ack('ff', :c_r1);
SELECT count(queue.ack('ff', receipt)) FROM queue.dequeue('ff', 10);
SELECT queue.enqueue_batch('ff', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 300) i),
                           keys => (SELECT array_agg('k' || i % 2) FROM generate_series(1, 300) i)) IS NOT NULL AS sent;
SELECT key, count(*), array_agg(body::int ORDER BY ordinality) = array_agg(body::int ORDER BY body::int) AS ordered
  FROM queue.dequeue('ff', 200) WITH ORDINALITY GROUP BY key ORDER BY key;
SELECT body FROM queue.dequeue('ff', 1);
SELECT queue.purge('ff');
SELECT queue.enqueue_batch('ff', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 300) i),
                           keys => array_fill('k'::text, ARRAY[300])) IS NOT NULL AS sent;
SELECT array_agg(receipt) AS rs, min(body::int), max(body::int), count(*) FROM queue.dequeue('ff', 250) \gset
SELECT :min, :max, :count;
SELECT body FROM queue.dequeue('ff');
SELECT queue.ack_batch('ff', (:'rs'::bigint[])[:249]);
SELECT body FROM queue.dequeue('ff');
SELECT queue.ack_batch('ff', :'rs');
SELECT min(body::int), max(body::int), count(*), count(queue.ack('ff', receipt)) FROM queue.dequeue('ff', 1000);

-- release, nack without a delay: the same message comes again, and first.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2', '3']::jsonb[], keys => ARRAY['a', 'a', 'a']) IS NOT NULL AS sent;
SELECT queue.release('ff', receipt) FROM queue.dequeue('ff');
SELECT body, deliveries, failures FROM queue.dequeue('ff', 2) WHERE queue.nack('ff', receipt);
SELECT array_agg(receipt ORDER BY id) AS rs FROM queue.dequeue('ff', 2) \gset
-- the second of a run, given back: the first is still held, and comes first
SELECT queue.release('ff', (:'rs'::bigint[])[2]);
SELECT body FROM queue.dequeue('ff');
SELECT queue.release('ff', (:'rs'::bigint[])[1], '0');
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.release('ff', receipt);

-- Delayed by nack: the key waits.
SELECT queue.nack('ff', receipt, '1 h') FROM queue.dequeue('ff');
SELECT body FROM queue.dequeue('ff', 10);
SELECT queue.enqueue('ff', '"other"', key => 'b') IS NOT NULL AS sent;
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);
SELECT queue.cancel('ff', (SELECT id FROM queue.peek('ff', state => 'delayed')));
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);

-- A delayed send keeps its place among those of its key, be it far.
SELECT queue.enqueue('ff', '1', key => 'a', delay => '1 day') IS NOT NULL AS sent;
SELECT queue.enqueue_batch('ff', ARRAY['2', '3']::jsonb[], keys => ARRAY['a', 'b']) IS NOT NULL AS sent;
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);
SELECT body FROM queue.dequeue('ff', 10);
SELECT queue.purge('ff');
SELECT queue.enqueue('ff', '1', key => 'a', delay => '0.2 s') IS NOT NULL AS sent;
SELECT queue.enqueue('ff', '2', key => 'a') IS NOT NULL AS sent;
SELECT body FROM queue.dequeue('ff', 10);
SELECT body FROM queue.dequeue('ff', 10, wait => '20 s') WHERE queue.release('ff', receipt);
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);

-- Dead messages let their key go on: reject, the last failure, time to live.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2', '3']::jsonb[], keys => ARRAY['a', 'a', 'a']) IS NOT NULL AS sent;
SELECT queue.reject('ff', receipt) FROM queue.dequeue('ff');
SELECT body, state FROM queue.peek('ff') ORDER BY id;
SELECT queue.nack('ff', receipt) FROM queue.dequeue('ff');
SELECT queue.nack('ff', receipt) FROM queue.dequeue('ff');
SELECT queue.nack('ff', receipt) FROM queue.dequeue('ff');
SELECT body, state FROM queue.peek('ff') ORDER BY id;
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);
SELECT queue.enqueue('ff', '1', key => 'a', ttl => '0.1 s') IS NOT NULL AS sent;
SELECT queue.enqueue('ff', '2', key => 'a') IS NOT NULL AS sent;
SELECT pg_sleep(0.2);
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);
SELECT queue.purge('ff') > 0 AS dead;

-- A lease that ended: the message comes again, before the next one.  The old
-- receipt is good until then, and the key goes on.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2', '3']::jsonb[], keys => ARRAY['a', 'a', 'a']) IS NOT NULL AS sent;
SELECT receipt AS r FROM queue.dequeue('ff', visibility => '0.1 s') \gset
SELECT body, failures, receipt AS r2 FROM queue.dequeue('ff', wait => '20 s', visibility => '0.1 s') \gset
SELECT :'body' AS body, :failures AS failures, queue.ack('ff', :r);
SELECT pg_sleep(0.2);
SELECT queue.ack('ff', :r2);
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.release('ff', receipt);
SELECT receipt AS r FROM queue.dequeue('ff', visibility => '0.1 s') \gset
SELECT pg_sleep(0.2);
SELECT queue.extend('ff', :r, '1 h');
SELECT body FROM queue.dequeue('ff', 10);
SELECT queue.purge('ff');

-- pop: what was popped holds its key until the transaction ends.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2', '3', '4']::jsonb[], keys => ARRAY['a', 'a', 'b', 'a']) IS NOT NULL AS sent;
BEGIN;
SELECT body FROM queue.pop('ff');
SELECT body FROM queue.pop('ff', 10);
ROLLBACK;
SELECT body FROM queue.pop('ff', 2);
SELECT body FROM queue.pop('ff', 10);

-- Savepoints: what a rollback undoes is as if it had not been.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2']::jsonb[], keys => ARRAY['a', 'a']) IS NOT NULL AS sent;
SELECT receipt AS r FROM queue.dequeue('ff') \gset
BEGIN;
SAVEPOINT s;
SELECT queue.ack('ff', :r);
ROLLBACK TO s;
SELECT body FROM queue.dequeue('ff', 10);
COMMIT;
SELECT body FROM queue.dequeue('ff', 10);
BEGIN;
SAVEPOINT s;
SELECT queue.ack('ff', :r);
RELEASE s;
COMMIT;
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);
BEGIN;
SAVEPOINT s;
SELECT queue.enqueue('ff', '1', key => 'a') IS NOT NULL AS sent;
ROLLBACK TO s;
SELECT queue.enqueue('ff', '2', key => 'a') IS NOT NULL AS sent;
COMMIT;
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);
BEGIN;
SELECT queue.enqueue('ff', '1', key => 'a') IS NOT NULL AS sent;
ROLLBACK;
SELECT queue.enqueue('ff', '2', key => 'a') IS NOT NULL AS sent;
SELECT body FROM queue.dequeue('ff', 10) WHERE queue.ack('ff', receipt);

-- Messages without a key are one group; the empty key is another.
SELECT queue.enqueue_batch('ff', ARRAY['1', '2', '3', '4']::jsonb[], keys => ARRAY[NULL, '', NULL, '']) IS NOT NULL AS sent;
SELECT body FROM queue.dequeue('ff');
SELECT body FROM queue.dequeue('ff');
SELECT body FROM queue.dequeue('ff', 10);
SELECT queue.purge('ff');

-- Keys of any length up to 1 kB, beside bodies that are stored out of line.
SELECT error_of($$SELECT queue.enqueue('ff', '1', key => repeat('x', 1025))$$);
SELECT queue.enqueue('ff', to_jsonb(repeat(n, 1000000)), key => repeat('x', 1024)) IS NOT NULL AS sent
  FROM unnest(ARRAY['1', '2']) n;
SELECT queue.enqueue('ff', '3', key => repeat('x', 1024)) IS NOT NULL AS sent;
SELECT left(body::text, 2), length(key) FROM queue.dequeue('ff');
SELECT left(body::text, 2) FROM queue.dequeue('ff', 10);
SELECT queue.purge('ff');

-- Ids ascend with the order, also when a transaction is slow.
SELECT queue.enqueue('ff', to_jsonb(i)) < queue.enqueue('ff', '0') AS ascending FROM generate_series(1, 2) i;
SELECT count(*), count(*) FILTER (WHERE id < before) AS wrong
  FROM (SELECT id, lag(id) OVER (ORDER BY ctid) AS before FROM queue.ff) s;

-- What a fifo queue does not have.
SELECT error_of($$SELECT queue.enqueue('ff', '1', priority => 1)$$);
SELECT error_of($$SELECT queue.enqueue_batch('ff', ARRAY['1']::jsonb[], priority => 9)$$);
SELECT error_of($$SELECT queue.alter('ff', kind => 'work')$$);
SELECT error_of($$SELECT queue.create('ff', kind => 'work')$$);
SELECT queue.alter('ff', kind => 'fifo');

SELECT queue.drop('ff', force => true);
