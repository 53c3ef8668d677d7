--
-- priority: higher first, in order of send inside a level, whatever pages the
-- messages share.
--
SELECT queue.create('prio', retry_delay => '0', retry_backoff => 'none');
CREATE FUNCTION bodies(max int) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(priority || ':' || (body #>> '{}'), ' ')
      FROM queue.dequeue('prio', max);
$$;

-- One page with all levels: the order of send is no order of claims.
SELECT count(queue.enqueue('prio', to_jsonb(i), priority => i % 10))
  FROM generate_series(1, 30) i;
SELECT priority, body, state FROM queue.peek('prio', 3);
SELECT bodies(4);
SELECT bodies(1);
SELECT bodies(100);
SELECT bodies(1);
SELECT queue.purge('prio') > 0 AS ok;

-- A batch has one priority; pop and receive keep the order too.
SELECT array_length(queue.enqueue_batch('prio', '{1,2,3}'), 1),
       array_length(queue.enqueue_batch('prio', '{4,5,6}', priority => 3), 1),
       array_length(queue.enqueue_batch('prio', '{7,8}', priority => 1), 1);
SELECT body, priority FROM queue.pop('prio', 4);
CALL queue.receive('prio', 2, NULL, '0', NULL) \gset
SELECT m.body, m.priority FROM unnest(:'messages'::queue.message[]) m;
SELECT queue, body, priority FROM queue.dequeue_any('{prio}', 9);
SELECT queue.purge('prio') > 0 AS ok;

-- Many pages of low ones, and high ones in the middle of them.
SELECT count(queue.enqueue('prio', to_jsonb(i), payload => repeat('x', 900)::bytea,
                           priority => CASE WHEN i % 100 = 50 THEN 7 ELSE 2 END))
  FROM generate_series(1, 600) i;
SELECT bodies(3);
SELECT bodies(5);
SELECT bodies(1);
SELECT queue.purge('prio') > 0 AS ok;

-- In the transaction that sent them, and with a savepoint rolled back.
BEGIN;
SELECT queue.enqueue('prio', '"low"') > 0 AS ok;
SAVEPOINT s;
SELECT queue.enqueue('prio', '"undone"', priority => 9) > 0 AS ok;
ROLLBACK TO s;
SELECT queue.enqueue('prio', '"mid"', priority => 4) > 0 AS ok;
SELECT queue.enqueue('prio', '"low too"') > 0 AS ok;
SELECT bodies(1);
COMMIT;
SELECT bodies(9);
SELECT queue.purge('prio') > 0 AS ok;

-- A high one that comes back is high again: released, nacked, popped and
-- rolled back, acked and rolled back, or its lease over.
SELECT count(queue.enqueue('prio', to_jsonb(i), priority => i / 6 * 5))
  FROM generate_series(1, 6) i;
SELECT receipt AS r, body FROM queue.dequeue('prio') \gset
SELECT queue.release('prio', :r);
SELECT body, receipt AS r FROM queue.dequeue('prio') \gset
SELECT :body AS body, queue.nack('prio', :r, '0');
SELECT body, receipt AS r FROM queue.dequeue('prio') \gset
BEGIN;
SELECT :body AS body, queue.ack('prio', :r);
ROLLBACK;
SELECT queue.release('prio', :r);
BEGIN;
SELECT body, priority FROM queue.pop('prio');
ROLLBACK;
SELECT body, priority FROM queue.dequeue('prio', visibility => '1 ms');
SELECT wait_until($$6 = (SELECT ready FROM queue.stats WHERE queue = 'prio')$$);
SELECT bodies(1);
SELECT bodies(9);
SELECT queue.purge('prio') > 0 AS ok;

-- Delayed: high as soon as it is due.
SELECT queue.enqueue('prio', '"late"', priority => 9, delay => '1 s') > 0 AS ok;
SELECT count(queue.enqueue('prio', to_jsonb(i))) FROM generate_series(1, 3) i;
SELECT bodies(1);
SELECT wait_until($$3 = (SELECT ready FROM queue.stats WHERE queue = 'prio')$$);
SELECT bodies(2);
SELECT queue.purge('prio') > 0 AS ok;

-- Out of range, for all but the default.
SELECT error_of($$SELECT queue.enqueue('prio', '1', priority => 32768)$$);
SELECT error_of($$SELECT queue.enqueue_batch('prio', '{1}', priority => -1)$$);
SELECT queue.enqueue('prio', '1', priority => NULL) > 0 AS ok;
SELECT bodies(1);

-- The worker has noted that the queue knows priorities; others do not.
SELECT queue.create('plain');
SELECT queue.enqueue('plain', '1') > 0 AS ok;
SELECT wait_until($$(SELECT priorities FROM queue.queue_def WHERE name = 'prio')$$);
SELECT name, priorities FROM queue.queue_def WHERE name IN ('prio', 'plain') ORDER BY 1;

DROP FUNCTION bodies(int);
SELECT queue.drop(name, true) FROM unnest('{prio,plain}'::text[]) name;
