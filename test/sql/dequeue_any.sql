--
-- dequeue_any() and receive(): dequeue from several queues, and dequeue as a
-- procedure.
--
SELECT queue.create('any a'), queue.create('any b'), queue.create('any c');

-- Nothing anywhere.
SELECT * FROM queue.dequeue_any('{any a,any b,any c}');
SELECT * FROM queue.dequeue_any('{}');
SELECT error_of($$SELECT queue.dequeue_any('{{any a,any b}}')$$);
SELECT * FROM queue.dequeue_any('{}', wait => '1 min');
SELECT * FROM queue.dequeue_any('{any a}', 5, NULL, '10 ms');

-- In the order given; the next queue fills up what the first lacks.
SELECT count(queue.enqueue(q, to_jsonb(q || i)))
  FROM unnest('{any a,any b,any c}'::text[]) q, generate_series(1, 3) i;
SELECT queue, body, deliveries FROM queue.dequeue_any('{any c,any a}');
SELECT queue, id, body, deliveries FROM queue.dequeue_any('{any b,any c,any a}', 5);
SELECT queue, body, payload, headers, key, priority, failures, expires_at,
       receipt <> 0 AS receipt,
       visible_at > clock_timestamp() + '59 min' AS lease
  FROM queue.dequeue_any('{any b,any c,any a}', 100, '1 h');

-- The same queue twice.
SELECT queue.enqueue('any a', '1') > 0 AS ok;
SELECT queue, body, deliveries FROM queue.dequeue_any('{any a,any a}', 5);

-- Each queue has its own default for the lease.
SELECT queue.alter('any b', visibility_timeout => '2 h');
SELECT queue.enqueue('any a', '2'), queue.enqueue('any b', '2');
SELECT queue, round(extract(epoch FROM visible_at - clock_timestamp()) / 60) AS minutes
  FROM queue.dequeue_any('{any a,any b}', 2);

-- A receipt belongs to the queue that is named beside it.
SELECT queue.enqueue('any c', '3') > 0 AS ok;
SELECT queue AS q, receipt AS r FROM queue.dequeue_any('{any a,any b,any c}') \gset
SELECT queue.ack('any a', :r), queue.ack(:'q', :r);

-- wait: for whichever comes first.
SELECT queue.enqueue('any b', '4', delay => '50 ms') > 0 AS ok;
SELECT queue, body FROM queue.dequeue_any('{any a,any b,any c}', wait => '20 s');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT error_of($$SELECT queue.dequeue_any('{any a}', wait => '1 s')$$);
COMMIT;

-- Many queues: at once without a wait, up to a limit with one.
SELECT queue, count(*) FROM queue.dequeue_any(array_fill('any a'::text, '{1000}'), 5)
 GROUP BY queue;
SELECT error_of($$SELECT queue.dequeue_any(array_fill('any a'::text, '{1000}'), wait => '1 s')$$);

SELECT error_of($$SELECT queue.dequeue_any(NULL)$$);
SELECT error_of($$SELECT queue.dequeue_any('{any a,NULL}')$$);
SELECT error_of($$SELECT queue.dequeue_any('{any a,nowhere}')$$);
SELECT error_of($$SELECT queue.dequeue_any('{""}')$$);
SELECT error_of($$SELECT queue.dequeue_any('{any a}', 0)$$);
SELECT error_of($$SELECT queue.dequeue_any('{any a}', visibility => '0')$$);
SELECT error_of($$SELECT queue.dequeue_any('{any a}', wait => '-1 s')$$);

--
-- receive()
--
SELECT queue.create('rec');
CALL queue.receive('rec');
CALL queue.receive('rec', 10, '1 min', '10 ms');
SELECT count(queue.enqueue('rec', to_jsonb(i))) FROM generate_series(1, 6) i;
CALL queue.receive('rec', 2) \gset
SELECT id, receipt IS NOT NULL AS receipt, body, payload, headers, key, priority,
       deliveries, failures, expires_at
  FROM unnest(:'messages'::queue.message[]);
SELECT queue.ack_batch('rec', array_agg(receipt))
  FROM unnest(:'messages'::queue.message[]);
CALL queue.receive(queue => 'rec', messages => NULL) \gset
SELECT body FROM unnest(:'messages'::queue.message[]);

-- What is passed in for messages does not matter.
CALL queue.receive('rec', 1, NULL, NULL, :'messages'::queue.message[]) \gset
SELECT body FROM unnest(:'messages'::queue.message[]);

-- In a transaction block, and from PL/pgSQL.
BEGIN;
CALL queue.receive('rec', wait => '20 s') \gset
SELECT body FROM unnest(:'messages'::queue.message[]);
COMMIT;
DO $$
DECLARE
    messages queue.message[];
BEGIN
    CALL queue.receive('rec', 5, wait => '1 s', messages => messages);
    RAISE NOTICE '% received, acked: %', cardinality(messages),
        queue.ack('rec', (messages)[1].receipt);
    CALL queue.receive('rec', 5, wait => '10 ms', messages => messages);
    RAISE NOTICE '% received', cardinality(messages);
END $$;

-- The transaction ends in the block: its portal has no resource owner any more.
DO $$
DECLARE
    messages queue.message[];
BEGIN
    CALL queue.receive('rec', wait => '1 ms', messages => messages);
    COMMIT;
    CALL queue.receive('rec', wait => '1 ms', messages => messages);
    ROLLBACK;
    CALL queue.receive('rec', wait => '1 ms', messages => messages);
    RAISE NOTICE '% received after COMMIT and ROLLBACK', cardinality(messages);
END $$;

-- The same in a procedure that a top-level CALL runs.
CREATE PROCEDURE receive_twice(INOUT n int DEFAULT 0)
LANGUAGE plpgsql AS $$
DECLARE
    messages queue.message[];
BEGIN
    CALL queue.receive('rec', wait => '1 ms', messages => messages);
    n := cardinality(messages);
    COMMIT;
    CALL queue.receive('rec', wait => '1 ms', messages => messages);
    n := n + cardinality(messages);
END $$;
CALL receive_twice();
DROP PROCEDURE receive_twice;

-- Waits; a delayed message ends the wait.
SELECT queue.enqueue('rec', '"w"', delay => '50 ms') > 0 AS ok;
CALL queue.receive('rec', wait => '20 s') \gset
SELECT body FROM unnest(:'messages'::queue.message[]);
SELECT queue.enqueue('rec', '"v"', delay => '50 ms') > 0 AS ok;
BEGIN;
CALL queue.receive('rec', wait => '20 s') \gset
SELECT body, queue.ack('rec', receipt) FROM unnest(:'messages'::queue.message[]);
COMMIT;

-- Large bodies come through whole, after a wait too.
SELECT queue.enqueue('rec', payload => decode(repeat('ab', 1000000), 'hex'),
                     delay => '50 ms') > 0 AS ok;
CALL queue.receive('rec', wait => '20 s') \gset
SELECT length(payload), md5(payload) = md5(decode(repeat('ab', 1000000), 'hex')) AS same
  FROM unnest(:'messages'::queue.message[]);

SET statement_timeout = '50 ms';
CALL queue.receive('rec', wait => '1 h');
RESET statement_timeout;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL queue.receive('rec', wait => '1 s');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CALL queue.receive('rec');
COMMIT;

SELECT error_of($$CALL queue.receive(NULL)$$);
SELECT error_of($$CALL queue.receive('nowhere')$$);
SELECT error_of($$CALL queue.receive('rec', 0)$$);
SELECT error_of($$CALL queue.receive('rec', visibility => '0')$$);
SELECT error_of($$CALL queue.receive('rec', visibility => '-1 s')$$);
SELECT error_of($$CALL queue.receive('rec', wait => '-1 s')$$);

SELECT queue.drop(name, true) FROM unnest('{any a,any b,any c,rec}'::text[]) name;
