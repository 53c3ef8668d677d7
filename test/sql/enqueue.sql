--
-- enqueue() stores a message and returns its id, ascending per queue; what is
-- given comes out again, what is not given is NULL.
--
SELECT queue.create('enq');

-- Each parameter, by position and by name.
SELECT queue.enqueue('enq');
SELECT queue.enqueue('enq', '{"a": 1}');
SELECT queue.enqueue('enq', '{"a": 1}', '\x00ff', '{"h": [1, null]}', 'key');
SELECT queue.enqueue(queue => 'enq', key => 'k', payload => 'bytes');
SELECT queue.enqueue('enq', headers => '{}', priority => 0);
SELECT queue.enqueue('enq', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT id, body, payload, headers, key, priority, deliveries, failures,
       expires_at
  FROM queue.dequeue('enq', 10);

-- SQL's NULL and JSON's null differ.
SELECT queue.enqueue('enq', 'null') > 0 AS ok;
SELECT body, body IS NULL AS sql_null FROM queue.dequeue('enq');

-- Any JSON is a body.
SELECT count(queue.enqueue('enq', b::jsonb))
  FROM unnest('{0,-1.5e3,true,"\"\"","[]","{}","\"\\u00e4\\n\"",
                "[[[[[1]]]]]"}'::text[]) b;
SELECT body, jsonb_typeof(body) FROM queue.dequeue('enq', 10);

-- Headers are an object.
SELECT error_of($$SELECT queue.enqueue('enq', '1', headers => '[1, 2]')$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', headers => 'null')$$);
SELECT error_of($$SELECT queue.enqueue_batch('enq', '{1,2}', headers => '{NULL,3}')$$);

-- An empty key is not no key; a long one is stored too.
SELECT count(queue.enqueue('enq', key => k))
  FROM (VALUES (''), (NULL), (repeat('k', 10000)), ('häß"''\')) v (k);
SELECT left(key, 10) AS key, length(key) FROM queue.dequeue('enq', 10);

-- Times: now() of the call, not of the transaction.
BEGIN;
SELECT pg_sleep(0.01);
SELECT queue.enqueue('enq', '"time"') > 0 AS ok;
SELECT enqueued_at > now() AS after_begin,
       enqueued_at <= clock_timestamp() AS before_now
  FROM queue.dequeue('enq');
COMMIT;

-- Transactional: after a rollback there is no message, and its id is not used
-- again.
BEGIN;
SELECT queue.enqueue('enq', '"rolled back"') AS lost \gset
ROLLBACK;
SELECT * FROM queue.dequeue('enq');
SELECT queue.enqueue('enq', '"kept"') > :lost AS greater;
SELECT body FROM queue.dequeue('enq');

-- In the same transaction the sender sees his own message.
BEGIN;
SELECT queue.enqueue('enq', '"mine"') > 0 AS ok;
SELECT body, deliveries FROM queue.dequeue('enq');
COMMIT;

-- Ids ascend, also from one statement.
SELECT bool_and(id > lag) AS ascending, count(*)
  FROM (SELECT id, lag(id, 1, 0::bigint) OVER (ORDER BY n)
          FROM (SELECT n, queue.enqueue('enq', to_jsonb(n)) AS id
                  FROM generate_series(1, 10000) n) s) t;
SELECT count(*), count(DISTINCT id), min((body)::int), max((body)::int),
       bool_and(deliveries = 1) AS first
  FROM queue.dequeue('enq', 20000);

-- delay: not before it has passed.
SELECT queue.enqueue('enq', '"late"', delay => '1 h') > 0 AS ok;
SELECT queue.enqueue('enq', '"soon"', delay => '1 s') > 0 AS ok;
SELECT queue.enqueue('enq', '"now"', delay => '0') > 0 AS ok;
SELECT body FROM queue.dequeue('enq', 10);
SELECT body, visible_at > enqueued_at + '29 s' AS lease,
       clock_timestamp() - enqueued_at >= '1 s' AS not_early
  FROM queue.dequeue('enq', 10, wait => '20 s');
SELECT body, state, visible_at - enqueued_at AS delay
  FROM queue.peek('enq', state => 'delayed');

-- deliver_at: the same as an instant; one of the past is now.
SELECT queue.enqueue('enq', '"2100"', deliver_at => '2100-01-01 UTC') > 0 AS ok;
SELECT queue.enqueue('enq', '"1970"', deliver_at => '1970-01-01') > 0 AS ok;
SELECT queue.enqueue('enq', '"far"', deliver_at => '294276-12-31') > 0 AS ok;
SELECT queue.enqueue('enq', '"bc"', deliver_at => '4713-01-01 BC') > 0 AS ok;
SELECT body FROM queue.dequeue('enq', 10);
SELECT body, visible_at AT TIME ZONE 'UTC' AS visible_at
  FROM queue.peek('enq', state => 'delayed')
 WHERE body <> '"late"'
 ORDER BY id;

-- Delays without a horizon: far beyond a year, months and days included.
SELECT queue.enqueue('enq', '"long"', delay => '1000 years') > 0 AS ok;
SELECT queue.enqueue('enq', '"longer"', delay => '178000000 years') > 0 AS ok;
SELECT queue.enqueue('enq', '"mixed"', delay => '1 month -29 days') > 0 AS ok;
SELECT body, state, extract(day FROM visible_at - enqueued_at) AS days
  FROM queue.peek('enq', 100) WHERE body IN ('"mixed"');
SELECT body, state, visible_at > '2900-01-01' AS far
  FROM queue.peek('enq', 100) WHERE body IN ('"long"', '"longer"')
 ORDER BY id;

-- The queue's delay applies where the call says nothing.
SELECT queue.create('enq late', delay => '1 h');
SELECT queue.enqueue('enq late', '"queue"') > 0 AS ok;
SELECT queue.enqueue('enq late', '"call"', delay => '0') > 0 AS ok;
SELECT queue.enqueue('enq late', '"at"', deliver_at => now()) > 0 AS ok;
SELECT body FROM queue.dequeue('enq late', 10);
SELECT body, visible_at - enqueued_at AS delay
  FROM queue.peek('enq late', state => 'delayed');

-- max_message_bytes: what is given counts uncompressed.
SELECT queue.create('enq small', max_message_bytes => 100);
SELECT queue.enqueue('enq small', payload => repeat('x', 100)::bytea) > 0 AS ok;
SELECT queue.enqueue('enq small', payload => repeat('x', 101)::bytea);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('enq small', to_jsonb(repeat('x', 1000)));
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('enq small', payload => repeat('x', 60)::bytea,
                     body => to_jsonb(repeat('x', 60)));
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('enq small', headers => jsonb_build_object('h', repeat('x', 1000)));
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('enq small', key => repeat('x', 1000));
\echo :LAST_ERROR_SQLSTATE
SELECT queue.alter('enq small', max_message_bytes => 1);
SELECT queue.enqueue('enq small') > 0 AS ok;
SELECT queue.enqueue('enq small', payload => '\x00') > 0 AS ok;
SELECT queue.enqueue('enq small', payload => '\x0000') > 0 AS ok;

-- From PL/pgSQL, as a prepared statement, in a CTE, as a column default.
PREPARE send AS SELECT queue.enqueue('enq', $1) > 0 AS ok;
EXECUTE send('1');
EXECUTE send('2');
DO $$ BEGIN PERFORM queue.enqueue('enq', '3'); END $$;
WITH sent AS (SELECT queue.enqueue('enq', '4') AS id)
SELECT count(*) FROM sent;
CREATE TEMP TABLE job (n int, message bigint DEFAULT queue.enqueue('enq', '5'));
INSERT INTO job VALUES (1), (2);
SELECT count(message), count(DISTINCT message) FROM job;
SELECT body FROM queue.dequeue('enq', 10);
DEALLOCATE send;
DROP TABLE job;

-- Errors leave nothing behind.
SELECT error_of($$SELECT queue.enqueue('enq', '1', delay => '1 s', deliver_at => now())$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', delay => '-1 us')$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', delay => '1 month -31 days')$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', deliver_at => 'infinity')$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', deliver_at => '-infinity')$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', priority => -1)$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', priority => 10)$$);
SELECT error_of($$SELECT queue.enqueue('enq', '1', ttl => '0')$$);
SELECT error_of($$SELECT queue.enqueue(NULL, '1')$$);
SELECT error_of($$SELECT queue.enqueue('nowhere', '1')$$);
SELECT error_of($$SELECT queue.enqueue('', '1')$$);
SELECT * FROM queue.dequeue('enq', 10);

SELECT queue.drop(name, true)
  FROM unnest('{enq,enq late,enq small}'::text[]) name;
