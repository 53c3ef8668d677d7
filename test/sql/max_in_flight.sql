--
-- max_in_flight: no more messages are leased at a time.
--
SELECT queue.create('mif', max_in_flight => 3, max_attempts => 2, retry_delay => '0', retry_backoff => 'none');
SELECT count(queue.enqueue('mif', to_jsonb(i))) FROM generate_series(1, 200) i;
SELECT count(*) FROM queue.dequeue('mif', 2);
SELECT array_agg(receipt) AS rs, count(*) FROM queue.dequeue('mif', 10) \gset
SELECT :count AS count;
SELECT count(*) FROM queue.dequeue('mif', 10);

-- Each way to settle a lease gives its place back; extend does not.
SELECT queue.extend('mif', (:'rs'::bigint[])[1], '1 h');
SELECT count(*) FROM queue.dequeue('mif', 10);
SELECT queue.ack('mif', (:'rs'::bigint[])[1]), queue.ack('mif', (:'rs'::bigint[])[1]);
SELECT count(*), count(queue.nack('mif', receipt)) FROM queue.dequeue('mif', 10);
SELECT count(*), count(queue.release('mif', receipt, '1 h')) FROM queue.dequeue('mif', 10);
SELECT count(*), count(queue.reject('mif', receipt)) FROM queue.dequeue('mif', 10);
SELECT count(*) FROM queue.dequeue('mif', 10, visibility => '0.1 s');
SELECT count(*) FROM queue.dequeue('mif', 10);
SELECT count(*) FROM queue.dequeue('mif', 10, wait => '20 s');
SELECT count(*) FROM queue.dequeue('mif', 10);

-- Uncommitted: an ack keeps its place until the commit; a pop has one, too.
SELECT queue.purge('mif');
SELECT count(queue.enqueue('mif', to_jsonb(i))) FROM generate_series(1, 200) i;
SELECT array_agg(receipt) AS rs, count(*) FROM queue.dequeue('mif', 10) \gset
SELECT :count AS count;
BEGIN;
SELECT queue.ack_batch('mif', :'rs');
SELECT count(*) FROM queue.dequeue('mif', 10);
ROLLBACK;
SELECT count(*) FROM queue.dequeue('mif', 10);
BEGIN;
SAVEPOINT s;
SELECT queue.ack_batch('mif', :'rs');
ROLLBACK TO s;
SELECT queue.ack('mif', (:'rs'::bigint[])[1]);
COMMIT;
SELECT count(*) FROM queue.dequeue('mif', 10);
SELECT queue.ack_batch('mif', :'rs');
BEGIN;
SELECT count(*) FROM queue.pop('mif', 10);
SELECT count(*) FROM queue.pop('mif', 10);
SAVEPOINT s;
ROLLBACK TO s;
ROLLBACK;
SELECT count(*) FROM queue.pop('mif', 10);
SELECT count(*) FROM queue.pop('mif', 10);

-- Changed while messages are leased: what is leased counts.
SELECT queue.purge('mif');
SELECT count(queue.enqueue('mif', to_jsonb(i))) FROM generate_series(1, 200) i;
SELECT count(*) FROM queue.dequeue('mif', 10);
SELECT queue.alter('mif', max_in_flight => 120);
SELECT count(*) FROM queue.dequeue('mif', 200);
SELECT queue.alter('mif', max_in_flight => 121);
SELECT count(*) FROM queue.dequeue('mif', 200);
SELECT queue.purge('mif');
SELECT queue.create('mif2');
SELECT count(queue.enqueue('mif2', to_jsonb(i))) FROM generate_series(1, 200) i;
SELECT count(*) FROM queue.dequeue('mif2', 10);
SELECT queue.alter('mif2', max_in_flight => 12);
SELECT count(*) FROM queue.dequeue('mif2', 10);
SELECT count(*) FROM queue.pop('mif2', 10);

-- With kind fifo.
SELECT queue.create('mif3', kind => 'fifo', max_in_flight => 3);
SELECT queue.enqueue_batch('mif3', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 20) i),
                           keys => (SELECT array_agg('k' || i / 2) FROM generate_series(1, 20) i)) IS NOT NULL AS sent;
SELECT body, receipt AS r FROM queue.dequeue('mif3') \gset
SELECT body FROM queue.dequeue('mif3', 10);
SELECT queue.ack('mif3', :r);
SELECT body FROM queue.dequeue('mif3', 10);
SELECT body FROM queue.dequeue('mif3', 10);
SELECT queue.drop(q, force => true) FROM unnest(ARRAY['mif', 'mif2', 'mif3']) q;
