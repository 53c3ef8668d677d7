--
-- pop() takes messages out of the queue with the caller's commit.
--
SELECT queue.create('pop');
SELECT * FROM queue.pop('pop');
SELECT count(queue.enqueue('pop', to_jsonb(i), 'p', '{"h": 1}', 'k'))
  FROM generate_series(1, 10) i;
SELECT id, receipt, body, payload, headers, key, priority, deliveries, failures,
       visible_at <= clock_timestamp() AS was_visible, expires_at
  FROM queue.pop('pop');
SELECT body FROM queue.pop('pop', 2);
SELECT count(*) FROM queue.peek('pop', 100);
SELECT popped.body
  FROM queue.pop(queue => 'pop', max => 1, wait => '0', filter => NULL) popped;
SELECT count(*) FROM queue.pop('pop', NULL, NULL, NULL);

-- Rolled back: back at once, with one failure more.
BEGIN;
SELECT body FROM queue.pop('pop', 2);
SELECT count(*) FROM queue.peek('pop', 100);
ROLLBACK;
SELECT wait_until($$2 = (SELECT count(*) FROM queue.peek('pop', 100) WHERE failures = 1)$$);
SELECT body, deliveries, failures, state FROM queue.peek('pop', 2);
SELECT body, deliveries, failures FROM queue.pop('pop', 2);

-- ... to a savepoint: back at once in this transaction.
BEGIN;
SAVEPOINT s;
SELECT body FROM queue.pop('pop');
ROLLBACK TO s;
SELECT body FROM queue.pop('pop');
COMMIT;
SELECT count(*) FROM queue.peek('pop', 100);

-- All it returned is gone, whether the statement uses it or not: with LIMIT,
-- with WHERE, in a cursor that is not read to its end.  (pop()).* takes one
-- message, not one for each column: the parser repeats the call, and the
-- planner makes equal set-returning calls of a select list one.
SELECT queue.purge('pop') >= 0 AS ok;
SELECT count(queue.enqueue('pop', to_jsonb(i))) FROM generate_series(1, 30) i;
SELECT body FROM queue.pop('pop', 5) LIMIT 1;
SELECT count(*) FROM queue.peek('pop', 100);
SELECT body FROM queue.pop('pop', 5) WHERE body = '7';
SELECT count(*) FROM queue.peek('pop', 100);
BEGIN;
DECLARE c CURSOR FOR SELECT body FROM queue.pop('pop', 5);
FETCH 1 FROM c;
CLOSE c;
COMMIT;
SELECT count(*) FROM queue.peek('pop', 100);
CREATE TEMP TABLE popped AS SELECT (queue.pop('pop')).*;
SELECT body, deliveries FROM popped;
SELECT count(*) FROM queue.peek('pop', 100);
DROP TABLE popped;

-- Leased and delayed messages are not taken, expired ones are.
SELECT queue.purge('pop') >= 0 AS ok;
SELECT queue.enqueue('pop', '"leased"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('pop', visibility => '1 h') \gset
SELECT queue.enqueue('pop', '"late"', delay => '1 h') > 0 AS ok;
SELECT * FROM queue.pop('pop', 10);
SELECT queue.extend('pop', :r, '1 us');
SELECT body, deliveries, failures FROM queue.pop('pop', 10, wait => '20 s');
SELECT queue.ack('pop', :r);

-- The same command as enqueue: not its message; the same transaction: yes.
WITH sent AS MATERIALIZED (SELECT queue.enqueue('pop', '"cte"') AS id)
SELECT (SELECT count(*) FROM sent), (SELECT count(*) FROM queue.pop('pop'));
BEGIN;
SELECT queue.enqueue('pop', '"mine"') > 0 AS ok;
SELECT body FROM queue.pop('pop', 10);
SELECT * FROM queue.pop('pop', 10);
COMMIT;

-- Moved from one queue to another in one statement.
SELECT queue.create('pop to');
SELECT count(queue.enqueue('pop', to_jsonb(i))) FROM generate_series(1, 3) i;
SELECT count(queue.enqueue('pop to', body)) FROM queue.pop('pop', 3);
SELECT body FROM queue.pop('pop to', 10);

-- wait.
SELECT * FROM queue.pop('pop', wait => '10 ms');
SELECT queue.enqueue('pop', '"delayed"', delay => '50 ms') > 0 AS ok;
SELECT body FROM queue.pop('pop', wait => '20 s');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT error_of($$SELECT queue.pop('pop', wait => '1 s')$$);
COMMIT;
SET statement_timeout = '50 ms';
SELECT * FROM queue.pop('pop', wait => '1 h');
RESET statement_timeout;

-- Messages on a page that VACUUM found all-visible.
SELECT count(queue.enqueue('pop', to_jsonb(i))) FROM generate_series(1, 500) i;
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'pop' AND s.chain = 'm' \gset
VACUUM (FREEZE) :segment;
SELECT count(*), count(DISTINCT id) FROM queue.pop('pop', 250);
SELECT count(*), count(DISTINCT id) FROM queue.dequeue('pop', 500);

-- max_attempts counts rolled-back pops: then the message is dead.
SELECT queue.create('pop poison', max_attempts => 2);
SELECT queue.enqueue('pop poison', '"!"') > 0 AS ok;
SELECT 1 / (id * 0) FROM queue.pop('pop poison');
SELECT wait_until($$EXISTS (SELECT FROM queue.peek('pop poison') WHERE failures = 1)$$);
SELECT 1 / (id * 0) FROM queue.pop('pop poison');
SELECT wait_until($$EXISTS (SELECT FROM queue.peek('pop poison', state => 'dead'))$$);
SELECT * FROM queue.pop('pop poison');
SELECT body, failures, state FROM queue.peek('pop poison');

SELECT error_of($$SELECT queue.pop('pop', 0)$$);
SELECT error_of($$SELECT queue.pop('pop', -5)$$);
SELECT error_of($$SELECT queue.pop('pop', wait => '-1 us')$$);
SELECT error_of($$SELECT queue.pop('pop', filter => 'null')$$);
SELECT error_of($$SELECT queue.pop(NULL)$$);
SELECT error_of($$SELECT queue.pop('nowhere')$$);

SELECT queue.drop(name, true) FROM unnest('{pop,pop to,pop poison}'::text[]) name;
