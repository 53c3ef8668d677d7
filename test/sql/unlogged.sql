--
-- persistence => 'unlogged': the same queue, on tables that are not logged.
-- What a crash makes of it: test/t/045_unlogged.pl.
--
SELECT queue.create('ul', persistence => 'unlogged', archive => '1 hour');
SELECT queue.create('ul', persistence => 'unlogged', archive => '1 hour');
SELECT error_of($$SELECT queue.create('ul', archive => '1 hour')$$);
SELECT persistence FROM queue.queues WHERE queue = 'ul';
SELECT s.chain, c.relpersistence
  FROM queue.segments s JOIN pg_class c ON c.oid = s.relation
 WHERE queue = 'ul' ORDER BY segment;
SELECT relkind, relpersistence FROM pg_class
 WHERE oid IN (SELECT unnest(ARRAY[relation, ids]) FROM queue.queue_def
                WHERE name = 'ul') ORDER BY relkind;

SELECT queue.enqueue_batch('ul', '{1,2,3,4}') AS ids;
SELECT queue.enqueue('ul', to_jsonb(repeat('long', 10000)), delay => '1 hour');
SELECT body, queue.ack('ul', receipt) FROM queue.dequeue('ul', 2);
SELECT body FROM queue.pop('ul');
SELECT queue.nack('ul', receipt, '1 hour') FROM queue.dequeue('ul');
SELECT id, state FROM queue.peek('ul') ORDER BY id;
SELECT body FROM queue.archived('ul');
SELECT queue.replay('ul', '-infinity');
SELECT delayed, ready, total FROM queue.stats WHERE queue = 'ul';
BEGIN;
SELECT count(*) FROM queue.pop('ul', 10);
ROLLBACK;
SELECT count(*) FROM queue.pop('ul', 10);
SELECT queue.purge('ul');

-- It stays what it is, as its kind does.
SELECT queue.alter('ul', persistence => 'unlogged', kind => 'work');
SELECT error_of($$SELECT queue.alter('ul', persistence => 'logged')$$);
SELECT queue.create('lo');
SELECT error_of($$SELECT queue.alter('lo', persistence => 'unlogged')$$);
SELECT queue.drop('ul'), queue.drop('lo');
