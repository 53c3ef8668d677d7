--
-- drop() removes a queue with all it is made of; one that is not empty only
-- with force.
--
SELECT queue.create('gone');
SELECT relation::oid AS parent, id AS queue_id FROM queue.queues WHERE queue = 'gone' \gset
SELECT queue.drop('gone');
SELECT count(*) FROM queue.queues WHERE queue = 'gone';
SELECT count(*) FROM pg_class
 WHERE oid = :parent OR relname LIKE 'q' || :queue_id || '\_s%'
    OR relname = 'queue_' || :queue_id || '_ids';
SELECT count(*) FROM queue.segment_def WHERE queue_id = :queue_id;
SELECT queue.enqueue('gone', '1');
\echo :LAST_ERROR_SQLSTATE

-- Not empty: in whatever state the message is.
SELECT queue.create('full');
SELECT queue.enqueue('full', '1') > 0 AS ok;
SELECT queue.drop('full');
\echo :LAST_ERROR_SQLSTATE
SELECT receipt AS r FROM queue.dequeue('full') \gset
SELECT queue.drop('full');
SELECT queue.reject('full', :r);
SELECT queue.drop('full', false);
SELECT queue.purge('full');
SELECT queue.enqueue('full', '1', delay => '1 h') > 0 AS ok;
SELECT queue.drop('full', force => NULL);
SELECT queue.drop('full', force => true);
SELECT count(*) FROM queue.queues WHERE queue = 'full';

-- Acked by the same transaction counts as gone.
SELECT queue.create('full');
SELECT queue.enqueue('full', '1') > 0 AS ok;
BEGIN;
SELECT queue.ack('full', receipt) FROM queue.dequeue('full');
SELECT queue.drop('full');
COMMIT;

-- Rolled back, everything is there again.
SELECT queue.create('back');
SELECT queue.enqueue('back', '1') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('back') \gset
BEGIN;
SELECT queue.drop('back', true);
SELECT queue.ack('back', :r);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT queue.drop('back', true);
ROLLBACK TO s;
SELECT queue.enqueue('back', '2') > 0 AS ok;
COMMIT;
SELECT queue.ack('back', :r);
SELECT body FROM queue.dequeue('back');

-- The name can be used again: nothing of the old queue shows, and its receipts
-- are worth nothing.
SELECT queue.enqueue('back', '3') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('back') \gset
SELECT queue.drop('back', true);
SELECT queue.create('back');
SELECT * FROM queue.dequeue('back');
SELECT queue.enqueue('back', '"new"');
SELECT body FROM queue.dequeue('back');
SELECT queue.ack('back', :r);
SELECT acked, delivered, stale_receipts FROM queue.stats WHERE queue = 'back';

-- What depends on the queue's table stops a drop, with or without force.
CREATE VIEW looking AS SELECT id FROM queue.back;
SELECT error_of($$SELECT queue.drop('back', true)$$);
DROP VIEW looking;
SELECT queue.drop('back', true);

-- The tables cannot be dropped by hand except by who may; what is left then
-- can be cleared away or made anew.
SELECT queue.create('by hand');
SELECT queue.create('by hand too');
SELECT relation AS parent FROM queue.queues WHERE queue = 'by hand' \gset
SET client_min_messages = warning;
DROP TABLE :parent CASCADE;
SELECT relation AS parent FROM queue.queues WHERE queue = 'by hand too' \gset
DROP TABLE :parent CASCADE;
RESET client_min_messages;
SELECT queue, owner, state FROM queue.queues ORDER BY queue;
SELECT error_of($$SELECT queue.enqueue('by hand too', '1')$$);
SELECT error_of($$SELECT queue.enqueue('by hand', '1')$$);
SELECT error_of($$SELECT * FROM queue.dequeue('by hand')$$);
SELECT error_of($$SELECT * FROM queue.pop('by hand')$$);
SELECT error_of($$SELECT * FROM queue.peek('by hand')$$);
SELECT error_of($$SELECT queue.ack('by hand', 1)$$);
SELECT error_of($$SELECT queue.purge('by hand')$$);
SELECT error_of($$SELECT queue.alter('by hand', delay => '1 s')$$);
SELECT error_of($$SELECT queue.pause('by hand')$$);
SELECT error_of($$SELECT queue.grant_access('by hand', 'pg_monitor', 'send')$$);
SELECT count(*) >= 0 AS ok FROM queue.stats;
SELECT count(*) >= 0 AS ok FROM queue.segments;
SELECT count(*) >= 0 AS ok FROM queue.in_flight;
SELECT queue.drop('by hand');
SELECT queue.create('by hand too');
SELECT queue.enqueue('by hand too', '1') > 0 AS ok;
SELECT body FROM queue.dequeue('by hand too');
SELECT queue.drop('by hand too', true);

-- A segment dropped by hand: the rest works.
SELECT queue.create('legless');
SELECT queue.enqueue('legless', '1') > 0 AS ok;
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'legless' AND s.chain = 'm' \gset
DROP TABLE :segment;
SELECT error_of($$SELECT * FROM queue.dequeue('legless')$$);
SELECT queue.drop('legless', true);

-- Errors.
SELECT error_of($$SELECT queue.drop(NULL)$$);
SELECT error_of($$SELECT queue.drop('')$$);
SELECT error_of($$SELECT queue.drop('nowhere')$$);
SELECT error_of($$SELECT queue.drop('nowhere', true)$$);
SELECT queue FROM queue.queues;
