--
-- purge() deletes all messages, whatever their state, in the caller's
-- transaction, and says how many.
--
SELECT queue.create('pur');
SELECT queue.purge('pur');
SELECT count(queue.enqueue('pur', to_jsonb(i))) FROM generate_series(1, 5000) i;
SELECT queue.enqueue('pur', '"late"', delay => '1 min') > 0 AS ok;
SELECT queue.enqueue('pur', '"parked"', delay => '1 day') > 0 AS ok;
SELECT queue.reject('pur', receipt) FROM queue.dequeue('pur', 2);
SELECT array_agg(receipt) AS rs FROM queue.dequeue('pur', 3) \gset
SELECT state, count(*) FROM queue.peek('pur', 10000) GROUP BY state ORDER BY state;

-- Rolled back: all are there as they were, and the receipts are good.
BEGIN;
SELECT queue.purge('pur');
SELECT queue.purge('pur');
SELECT count(*) FROM queue.peek('pur', 10000);
SELECT count(*) FROM queue.dequeue('pur', 10000);
SELECT queue.ack_batch('pur', :'rs');
ROLLBACK;
SELECT state, count(*) FROM queue.peek('pur', 10000) GROUP BY state ORDER BY state;
SELECT queue.ack_batch('pur', (:'rs'::bigint[])[1:1]);

-- Committed: the receipts are stale, ids go on.
SELECT queue.purge('pur');
SELECT queue.ack_batch('pur', :'rs');
SELECT count(*) FROM queue.peek('pur', 10000);
SELECT * FROM queue.dequeue('pur');
SELECT queue.enqueue('pur', '"next"') > 5002 AS greater;
SELECT body FROM queue.dequeue('pur');
SELECT queue.purge('pur');

-- Own messages of the same transaction are deleted too; those sent after it
-- stay.
BEGIN;
SELECT queue.enqueue('pur', '"mine"') > 0 AS ok;
SELECT queue.purge('pur');
SELECT queue.enqueue('pur', '"after"') > 0 AS ok;
COMMIT;
SELECT body FROM queue.dequeue('pur', 10);

-- It empties a queue for drop.
BEGIN;
SELECT queue.purge('pur');
SELECT queue.drop('pur');
COMMIT;

-- A queue is purged page by page also when some of its pages are all-visible.
SELECT queue.create('pur vacuum');
SELECT count(queue.enqueue('pur vacuum', to_jsonb(i))) FROM generate_series(1, 1000) i;
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'pur vacuum' AND s.chain = 'm' \gset
VACUUM (FREEZE) :segment;
BEGIN;
SELECT queue.purge('pur vacuum');
ROLLBACK;
SELECT count(*) FROM queue.dequeue('pur vacuum', 500);
SELECT queue.purge('pur vacuum');
SELECT count(*) FROM queue.peek('pur vacuum', 10000);
SELECT queue.drop('pur vacuum');

SELECT error_of($$SELECT queue.purge(NULL)$$);
SELECT error_of($$SELECT queue.purge('')$$);
SELECT error_of($$SELECT queue.purge('nowhere')$$);
