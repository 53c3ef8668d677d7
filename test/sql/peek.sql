--
-- peek() and get() look at messages and change nothing; cancel() removes one
-- that is not leased.
--
SELECT queue.create('look');
SELECT * FROM queue.peek('look');
SELECT * FROM queue.get('look', 1);
SELECT queue.cancel('look', 1);

SELECT queue.enqueue('look', '"ready"', 'p', '{"color": "red", "n": 1}', 'k');
SELECT queue.enqueue('look', '"delayed"', headers => '{"color": "blue"}', delay => '1 h');
SELECT queue.enqueue('look', '"parked"', headers => '{"color": "red"}', delay => '1 year');
SELECT queue.enqueue('look', '"leased"', headers => '{"color": "red"}');
SELECT queue.enqueue('look', '"dead"');
SELECT queue.release('look', receipt, '1 us') FROM queue.dequeue('look', 1);
SELECT queue.reject('look', max(receipt) FILTER (WHERE body = '"dead"')),
       queue.release('look', max(receipt) FILTER (WHERE body = '"ready"'))
  FROM queue.dequeue('look', 10, '1 h', '20 s');

SELECT id, receipt, body, payload, headers, key, priority, deliveries, failures,
       visible_at > clock_timestamp() + '1 min' AS late, expires_at, state
  FROM queue.peek('look') ORDER BY id;
SELECT s, (SELECT array_agg(body ORDER BY id) FROM queue.peek('look', 10, s))
  FROM unnest('{ready,delayed,leased,dead,NULL}'::text[]) s;
SELECT body FROM queue.peek('look', filter => '{"color": "red"}') ORDER BY id;
SELECT body FROM queue.peek('look', filter => '{"color": "red"}', state => 'leased');
SELECT body FROM queue.peek('look', filter => '{"n": 1, "color": "red"}');
SELECT count(*) FROM queue.peek('look', filter => '{}');
SELECT count(*) FROM queue.peek('look', 2);
SELECT count(*) FROM queue.peek('look', 2147483647);
SELECT count(*) FROM queue.peek('look', NULL, NULL, NULL);

-- max is applied after the filter.
SELECT body FROM queue.peek('look', 1, filter => '{"color": "blue"}');

-- NULL for max is 10.
SELECT count(queue.enqueue('look', to_jsonb(i))) FROM generate_series(1, 2000) i;
SELECT count(*) FROM queue.peek('look', NULL);
SELECT count(*), count(DISTINCT id) FROM queue.peek('look', 5000);

-- get.
SELECT id, body, state, receipt FROM queue.get('look', 1);
SELECT id, body, state FROM queue.get('look', 3);
SELECT id, body, state, receipt FROM queue.get('look', 4);
SELECT id, body, state FROM queue.get('look', 5);
SELECT id, body, state FROM queue.get('look', 2005);
SELECT * FROM queue.get('look', 0);
SELECT * FROM queue.get('look', -1);
SELECT * FROM queue.get('look', 9223372036854775807);
SELECT * FROM queue.get('look', 1000000);

-- Looking has not changed anything.
SELECT deliveries, failures, state FROM queue.get('look', 1);
SELECT delivered, redelivered FROM queue.stats WHERE queue = 'look';

-- Both work in a read-only transaction, with the snapshot of its isolation
-- level for existence and this moment's state.
BEGIN READ ONLY;
SELECT count(*) FROM queue.peek('look', 5000);
SELECT id FROM queue.get('look', 1);
COMMIT;

-- Own changes of the transaction show.
BEGIN;
SELECT queue.enqueue('look', '"mine"') AS mine \gset
SELECT body, state FROM queue.get('look', :mine);
SELECT queue.cancel('look', :mine);
SELECT * FROM queue.get('look', :mine);
SELECT queue.cancel('look', :mine);
ROLLBACK;

-- cancel: each state; a leased one is refused.
SELECT queue.cancel('look', 1);
SELECT queue.cancel('look', 1);
SELECT queue.cancel('look', 2), queue.cancel('look', 3), queue.cancel('look', 5);
SELECT queue.cancel('look', 4);
SELECT id, state FROM queue.peek('look', 100) WHERE id < 6;
SELECT queue.cancel('look', 0), queue.cancel('look', -1),
       queue.cancel('look', 9223372036854775807);
SELECT queue.cancel('look', 2005), queue.cancel('look', 2005);

-- With the caller's commit.
BEGIN;
SELECT queue.cancel('look', 2004);
SELECT count(*) FROM queue.dequeue('look', 5000) WHERE id = 2004;
ROLLBACK;
SELECT queue.cancel('look', 2004);
SELECT * FROM queue.get('look', 2004);

-- A message whose lease ran out can be cancelled; its receipt is stale then.
SELECT queue.create('look short');
SELECT queue.enqueue('look short', '"short"') AS id \gset
SELECT receipt AS r FROM queue.dequeue('look short', 1, '1 us') \gset
SELECT wait_until($$'ready' = (SELECT state FROM queue.peek('look short'))$$);
SELECT queue.cancel('look short', :id);
SELECT queue.ack('look short', :r);

-- What is cancelled is not counted as acked.
SELECT acked, total FROM queue.stats WHERE queue = 'look short';

SELECT error_of($$SELECT queue.peek('look', 0)$$);
SELECT error_of($$SELECT queue.peek('look', -1)$$);
SELECT error_of($$SELECT queue.peek('look', state => 'Ready')$$);
SELECT error_of($$SELECT queue.peek('look', state => '')$$);
SELECT error_of($$SELECT queue.peek(NULL)$$);
SELECT error_of($$SELECT queue.peek('nowhere')$$);
SELECT error_of($$SELECT queue.get(NULL, 1)$$);
SELECT error_of($$SELECT queue.get('look', NULL)$$);
SELECT error_of($$SELECT queue.get('nowhere', 1)$$);
SELECT error_of($$SELECT queue.cancel(NULL, 1)$$);
SELECT error_of($$SELECT queue.cancel('look', NULL)$$);
SELECT error_of($$SELECT queue.cancel('nowhere', 1)$$);

SELECT queue.drop(name, true) FROM unnest('{look,look short}'::text[]) name;
