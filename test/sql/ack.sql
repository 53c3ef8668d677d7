--
-- ack() removes a message for good, in the caller's transaction; a receipt
-- that fits nothing is no error.
--
SELECT queue.create('ack');
SELECT count(queue.enqueue('ack', to_jsonb(i))) FROM generate_series(1, 20) i;

SELECT body, receipt AS r FROM queue.dequeue('ack') \gset
SELECT queue.ack('ack', :r);
SELECT count(*) FROM queue.peek('ack', 100);

-- A second time: the receipt is stale, and counted.
SELECT queue.ack('ack', :r);
SELECT queue.ack_batch('ack', ARRAY[:r, :r]);
SELECT acked, stale_receipts FROM queue.stats WHERE queue = 'ack';

-- Twice in one command: the first counts.
SELECT receipt AS r FROM queue.dequeue('ack') \gset
SELECT queue.ack('ack', :r), queue.ack('ack', :r);
SELECT receipt AS r FROM queue.dequeue('ack') \gset
SELECT queue.ack('ack', :r) FROM generate_series(1, 3);

-- Take and ack in one statement.
SELECT body, queue.ack('ack', receipt) FROM queue.dequeue('ack', 3);
SELECT count(*) FROM queue.peek('ack', 100);

-- Rolled back, the lease goes on as before and the receipt stays good.
SELECT body AS b, receipt AS r FROM queue.dequeue('ack') \gset
BEGIN;
SELECT queue.ack('ack', :r);
SELECT queue.ack('ack', :r);
ROLLBACK;
SELECT state, deliveries, failures FROM queue.peek('ack', 100)
 WHERE body = :'b';
SELECT body FROM queue.dequeue('ack');
SELECT queue.ack('ack', :r);

-- Rolled back to a savepoint.
SELECT body AS b, receipt AS r FROM queue.dequeue('ack') \gset
BEGIN;
SAVEPOINT s;
SELECT queue.ack('ack', :r);
ROLLBACK TO s;
SELECT queue.ack('ack', :r);
SAVEPOINT t;
SELECT queue.ack('ack', :r);
RELEASE t;
COMMIT;
SELECT count(*) FROM queue.peek('ack', 100) WHERE body = :'b';

-- An expired lease that nobody else took can still be acked.
SELECT queue.create('ack short', visibility_timeout => '1 ms');
SELECT queue.enqueue('ack short', '"x"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('ack short') \gset
SELECT pg_sleep(0.02);
SELECT queue.ack('ack short', :r);
SELECT * FROM queue.peek('ack short');

-- One that somebody else took in between cannot.
SELECT queue.enqueue('ack short', '"y"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('ack short') \gset
SELECT body, receipt AS r2, deliveries, failures
  FROM queue.dequeue('ack short', visibility => '1 h', wait => '20 s') \gset
SELECT :r <> :r2 AS other_receipt, :deliveries AS deliveries,
       :failures AS failures;
SELECT queue.ack('ack short', :r);
SELECT queue.ack('ack short', :r2);

-- ack_batch counts each message once, in any order, and leaves out what does
-- not fit.
SELECT count(queue.enqueue('ack', to_jsonb(i))) FROM generate_series(101, 1000) i;
SELECT array_agg(receipt ORDER BY id DESC) AS rs
  FROM queue.dequeue('ack', 1000) \gset
SELECT queue.ack_batch('ack', (:'rs'::bigint[])[1:3] || (:'rs'::bigint[])[2:4]);
SELECT queue.ack_batch('ack', ARRAY[NULL, 0, -1, (:'rs'::bigint[])[5], 1, NULL]);
SELECT queue.ack_batch('ack', '{}');
SELECT queue.ack_batch('ack', NULL);
SELECT queue.ack_batch('ack', '{NULL}');
SELECT queue.ack_batch('ack', :'rs') + 5 = cardinality(:'rs'::bigint[]) AS rest;
SELECT queue.ack_batch('ack', :'rs');
SELECT body, state FROM queue.peek('ack', 100);

-- An array that does not begin at 1 is a list too, one of two dimensions not.
SELECT count(queue.enqueue('ack', to_jsonb(i))) FROM generate_series(1, 4) i;
SELECT array_agg(receipt) AS rs FROM queue.dequeue('ack', 4) \gset
SELECT queue.ack_batch('ack', ARRAY[(:'rs'::bigint[])[1:2], (:'rs'::bigint[])[3:4]]);
SELECT error_of(format($$SELECT queue.%s_batch('ack', '{{1,2},{3,4}}'%s)$$, f, a))
  FROM (VALUES ('ack', ''), ('nack', ''), ('release', ''), ('reject', ''),
               ('extend', ', ''1 s''')) c (f, a);
SELECT queue.ack_batch('ack', :'rs');
SELECT queue.enqueue('ack') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('ack') \gset
SELECT queue.ack_batch('ack', ('[5:5]={' || :r || '}')::bigint[]);

-- A receipt of another queue, or none.
SELECT queue.create('ack other');
SELECT queue.enqueue('ack') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('ack') \gset
SELECT queue.ack('ack other', :r), queue.ack('ack short', :r);
SELECT queue.ack('ack', NULL), queue.ack('ack', 0), queue.ack('ack', -1),
       queue.ack('ack', 9223372036854775807),
       queue.ack('ack', (-9223372036854775808)::bigint);
SELECT queue.ack('ack', :r);

SELECT error_of($$SELECT queue.ack(NULL, 1)$$);
SELECT error_of($$SELECT queue.ack('nowhere', 1)$$);
SELECT error_of($$SELECT queue.ack_batch(NULL, '{1}')$$);
SELECT error_of($$SELECT queue.ack_batch('nowhere', NULL)$$);

SELECT queue.drop(name, true) FROM unnest('{ack,ack short,ack other}'::text[]) name;
