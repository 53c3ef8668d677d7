--
-- dequeue() leases the oldest claimable messages, as many as asked for, to one
-- consumer at a time.
--
SELECT queue.create('deq');

-- An empty queue gives no row, at once.
SELECT * FROM queue.dequeue('deq');
SELECT * FROM queue.dequeue('deq', 1000, '1 h', '0');

SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 10) i;
SELECT id, body, deliveries, failures FROM queue.dequeue('deq');
SELECT id, body, deliveries, failures FROM queue.dequeue('deq', 3);
SELECT id, body, deliveries, failures FROM queue.dequeue('deq', 2147483647);
SELECT * FROM queue.dequeue('deq', 10);

-- visible_at is the end of the lease: the queue's, or the call's.
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(11, 16) i;
SELECT body, visible_at - clock_timestamp() BETWEEN '28 s' AND '30 s' AS queues
  FROM queue.dequeue('deq');
SELECT body, visible_at - clock_timestamp() BETWEEN '58 min' AND '60 min' AS calls
  FROM queue.dequeue('deq', visibility => '1 h');
SELECT body, visible_at > '2100-01-01' AS far
  FROM queue.dequeue('deq', visibility => '178000000 years');
SELECT state, count(*) FROM queue.peek('deq', 100) GROUP BY state ORDER BY state;

-- NULL for an optional parameter means its default.
SELECT count(*) FROM queue.dequeue('deq', NULL, NULL, NULL, NULL);

-- An expired lease: claimable at once, with one failure more.
SELECT queue.create('deq expire', visibility_timeout => '1 us');
SELECT queue.enqueue('deq expire', '"e"') > 0 AS ok;
SELECT deliveries, failures FROM queue.dequeue('deq expire', wait => '20 s');
SELECT deliveries, failures FROM queue.dequeue('deq expire', wait => '20 s');
SELECT deliveries, failures FROM queue.dequeue('deq expire', wait => '20 s');

-- Never fewer than "max" while more are claimable, over many pages.
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 5000) i;
SELECT count(*), count(DISTINCT id), min(body::int), max(body::int)
  FROM queue.dequeue('deq', 1);
SELECT count(*), count(DISTINCT id), min(body::int), max(body::int)
  FROM queue.dequeue('deq', 999);
SELECT count(*), count(DISTINCT id), min(body::int), max(body::int)
  FROM queue.dequeue('deq', 3000);
SELECT count(*), count(DISTINCT id), min(body::int), max(body::int)
  FROM queue.dequeue('deq', 10000);
SELECT queue.purge('deq');

-- Order: the order of sending, for one sender.
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 1000) i;
SELECT count(*) FILTER (WHERE id < lag) AS out_of_order
  FROM (SELECT id, lag(id) OVER () FROM queue.dequeue('deq', 1000)) s;
SELECT queue.purge('deq');

-- wait: until a message is there; with none, until the time is up.
SELECT clock_timestamp() AS t \gset
SELECT * FROM queue.dequeue('deq', wait => '100 ms');
SELECT clock_timestamp() - :'t' BETWEEN '100 ms' AND '10 s' AS waited;
SELECT queue.enqueue('deq', '"delayed"', delay => '100 ms') > 0 AS ok;
SELECT body FROM queue.dequeue('deq', wait => '20 s');
SELECT queue.enqueue('deq', '"ready"') > 0 AS ok;
SELECT body FROM queue.dequeue('deq', wait => '1000 years');

-- A statement_timeout ends the wait; the session goes on.
SET statement_timeout = '100 ms';
SELECT * FROM queue.dequeue('deq', wait => '1 h');
\echo :LAST_ERROR_SQLSTATE
RESET statement_timeout;
SELECT queue.enqueue('deq', '"after"') > 0 AS ok;
SELECT body FROM queue.dequeue('deq', wait => '20 s');

-- A wait in a snapshot that would never see anything new is refused; without
-- a wait both isolation levels work.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM queue.dequeue('deq', wait => '1 s');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM queue.dequeue('deq', wait => '1 us');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 2) i;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT body, queue.ack('deq', receipt) FROM queue.dequeue('deq', wait => '0');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT body, queue.ack('deq', receipt) FROM queue.dequeue('deq');
COMMIT;

-- The lease is no part of the transaction: after a rollback the message comes
-- back after the queue's backoff, with one failure.
SELECT queue.create('deq retry', retry_delay => '1 ms');
SELECT queue.enqueue('deq retry', '"r"') > 0 AS ok;
BEGIN;
SELECT body, deliveries, failures, receipt AS r
  FROM queue.dequeue('deq retry') \gset
ROLLBACK;
SELECT body, deliveries, failures FROM queue.dequeue('deq retry', wait => '20 s');
SELECT queue.ack('deq retry', :r);

-- ... and so does one whose statement fails.
SELECT queue.enqueue('deq retry', '"f"') > 0 AS ok;
SELECT 1 / (id * 0) FROM queue.dequeue('deq retry');
SELECT body, deliveries, failures FROM queue.dequeue('deq retry', wait => '20 s');

-- Used with LIMIT or WHERE, what was not returned stays leased all the same.
SELECT queue.purge('deq');
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 4) i;
SELECT body FROM queue.dequeue('deq', 2) LIMIT 1;
SELECT body FROM queue.dequeue('deq', 2) WHERE body = '0';
SELECT count(*) FROM queue.peek('deq', state => 'leased');

-- (dequeue()).* takes one message, not one for each column: the parser repeats
-- the call, and the planner makes equal set-returning calls of a select list
-- one.  Two of them that differ, or in a subquery each, are two calls.
SELECT queue.purge('deq');
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 20) i;
SELECT (queue.dequeue('deq')).body;
CREATE TEMP TABLE got AS SELECT (queue.dequeue('deq')).*;
SELECT body, deliveries FROM got;
DROP TABLE got;
SELECT count(*) AS leased FROM queue.peek('deq', 100, 'leased');
SELECT (queue.dequeue('deq')).body, (queue.dequeue('deq', 2)).body AS body2;
SELECT count(*) AS leased FROM queue.peek('deq', 100, 'leased');
SELECT queue.purge('deq');

-- In the select list, in a join, in a cursor.
SELECT count(queue.enqueue('deq', to_jsonb(i))) FROM generate_series(1, 6) i;
SELECT (queue.dequeue('deq', 2)).body;
SELECT q, m.body FROM unnest('{deq,deq retry}'::text[]) q, queue.dequeue(q, 2) m;
BEGIN;
DECLARE c CURSOR FOR SELECT body FROM queue.dequeue('deq', 2);
FETCH 1 FROM c;
FETCH 2 FROM c;
COMMIT;
SELECT queue.purge('deq');

-- Errors.
SELECT error_of($$SELECT queue.dequeue('deq', 0)$$);
SELECT error_of($$SELECT queue.dequeue('deq', -1)$$);
SELECT error_of($$SELECT queue.dequeue('deq', visibility => '0')$$);
SELECT error_of($$SELECT queue.dequeue('deq', visibility => '-1 s')$$);
SELECT error_of($$SELECT queue.dequeue('deq', wait => '-1 s')$$);
SELECT error_of($$SELECT queue.dequeue('deq', filter => '[]')$$);
SELECT error_of($$SELECT queue.dequeue(NULL)$$);
SELECT error_of($$SELECT queue.dequeue('')$$);
SELECT error_of($$SELECT queue.dequeue('nowhere')$$);

SELECT queue.drop(name, true)
  FROM unnest('{deq,deq expire,deq retry}'::text[]) name;
