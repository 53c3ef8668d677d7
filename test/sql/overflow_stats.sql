--
-- What had to make room is counted as dead, with the transaction that sent.
--
CREATE VIEW os AS SELECT queue, dead_lettered, dropped FROM queue.stats WHERE queue LIKE 'os\_%' ORDER BY 1;
SELECT queue.create('os_dead');
SELECT queue.create('os_a', max_messages => 2, overflow => 'drop_oldest');
SELECT queue.create('os_b', max_messages => 2, overflow => 'drop_oldest', dead_letter => 'os_dead');
SELECT queue.enqueue_batch(q, '{1,2}') IS NULL AS n FROM unnest('{os_a,os_b}'::text[]) q;
BEGIN;
SELECT queue.enqueue_batch(q, '{3,4}') IS NULL AS n FROM unnest('{os_a,os_b}'::text[]) q;
ROLLBACK;
SELECT * FROM os;
BEGIN;
SELECT queue.enqueue(q, '3') > 0 AS ok FROM unnest('{os_a,os_b}'::text[]) q;
SAVEPOINT s;
SELECT queue.enqueue(q, '4') > 0 AS ok FROM unnest('{os_a,os_b}'::text[]) q;
ROLLBACK TO s;
SAVEPOINT t;
SELECT queue.enqueue(q, '5') > 0 AS ok FROM unnest('{os_a,os_b}'::text[]) q;
RELEASE t;
SELECT * FROM os;
COMMIT;
SELECT * FROM os;
SELECT count(*) FROM queue.peek('os_dead');

-- One that would go round is dropped.
SELECT queue.purge('os_b');
SELECT queue.enqueue('os_b', '6', headers => '{"x-death": [{"queue": "os_dead", "reason": "expired"}]}') > 0 AS ok;
SELECT queue.enqueue_batch('os_b', '{7,8}') IS NULL AS n;
SELECT * FROM os;

DROP VIEW os;
SELECT queue.drop(queue, force => true) FROM queue.queues WHERE queue LIKE 'os\_%' ORDER BY queue;
