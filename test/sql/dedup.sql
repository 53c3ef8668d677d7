--
-- A message whose dedup_id was sent to the same queue within dedup_window is
-- accepted and not stored; the call returns the id of the first.
--
SELECT queue.create('ded');

SELECT queue.enqueue('ded', '1', dedup_id => 'a') AS a \gset
SELECT queue.enqueue('ded', '2', dedup_id => 'a') = :a AS same;
SELECT queue.enqueue('ded', '3', dedup_id => 'b') > :a AS other;
SELECT queue.enqueue('ded', '4') > :a AS none;
SELECT queue.enqueue('ded', '5', dedup_id => NULL) > :a AS none;
SELECT body FROM queue.peek('ded');

-- Any text is an id: the empty one, one that differs at its end only, and the
-- same in another letter case.
SELECT queue.purge('ded');
SELECT count(DISTINCT queue.enqueue('ded', dedup_id => d))
  FROM (VALUES (''), ('A'), ('a'), (repeat('x', 100000) || '1'),
               (repeat('x', 100000) || '2'), (''), ('a'),
               (repeat('x', 100000) || '1')) v (d);
SELECT count(*) FROM queue.peek('ded', 100);

-- A delivery, an ack or a pop does not end it.
SELECT queue.purge('ded') > 0 AS ok;
SELECT queue.enqueue('ded', '1', dedup_id => 'a') AS a \gset
SELECT queue.ack('ded', receipt) FROM queue.dequeue('ded');
SELECT queue.enqueue('ded', '2', dedup_id => 'a') = :a AS same;
SELECT count(*) FROM queue.peek('ded');
SELECT queue.enqueue('ded', '1', dedup_id => 'p') AS p \gset
SELECT count(*) FROM queue.pop('ded');
SELECT queue.enqueue('ded', '2', dedup_id => 'p') = :p AS same;
SELECT queue.enqueue('ded', '1', dedup_id => 'c') AS c \gset
SELECT queue.cancel('ded', :c);
SELECT queue.enqueue('ded', '2', dedup_id => 'c') = :c AS same;
SELECT count(*) FROM queue.peek('ded');

-- The message need not be a copy of the first, nor one that may be stored.
SELECT queue.enqueue('ded', '"x"', headers => '{"h": 1}', key => 'k',
                     delay => '1 h', dedup_id => 'a') = :a AS same;

-- Each queue has ids of its own.
SELECT queue.create('ded2');
SELECT queue.enqueue('ded2', '1', dedup_id => 'a') AS a2 \gset
SELECT queue.enqueue('ded2', '1', dedup_id => 'a') = :a2 AS same;
SELECT count(*) FROM queue.peek('ded2');

-- Rollback, also of a savepoint, takes the id back.
BEGIN;
SELECT queue.enqueue('ded', '1', dedup_id => 'r') AS r \gset
SELECT queue.enqueue('ded', '2', dedup_id => 'r') = :r AS same;
ROLLBACK;
SELECT queue.enqueue('ded', '3', dedup_id => 'r') > :r AS stored;
BEGIN;
SELECT queue.enqueue('ded', '4', dedup_id => 's0') AS s0 \gset
SAVEPOINT s;
SELECT queue.enqueue('ded', '5', dedup_id => 's') AS s \gset
SELECT queue.enqueue('ded', '5', dedup_id => 's0') = :s0 AS same;
ROLLBACK TO s;
SELECT queue.enqueue('ded', '6', dedup_id => 's') > :s AS stored;
SAVEPOINT t;
SELECT queue.enqueue('ded', '7', dedup_id => 't') AS t \gset
RELEASE t;
SELECT queue.enqueue('ded', '8', dedup_id => 't') = :t AS same;
COMMIT;
SELECT queue.enqueue('ded', '9', dedup_id => 't') = :t AS same;
SELECT body FROM queue.peek('ded');

-- A repeatable read transaction finds what its snapshot does not see; it
-- cannot be shown here, see iso_dedup.  What it sees works too.
SELECT queue.purge('ded');
SELECT queue.enqueue('ded', '1', dedup_id => 'a') AS a \gset
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT queue.enqueue('ded', '2', dedup_id => 'a') = :a AS same;
COMMIT;

-- Purge forgets the queue's ids, and no other's; rolled back it does not.
BEGIN;
SELECT queue.purge('ded');
SELECT queue.enqueue('ded', '3', dedup_id => 'a') > :a AS stored;
ROLLBACK;
SELECT queue.enqueue('ded', '4', dedup_id => 'a') = :a AS same;
SELECT queue.purge('ded');
SELECT queue.enqueue('ded', '5', dedup_id => 'a') > :a AS stored;
SELECT queue.enqueue('ded2', '5', dedup_id => 'a') = :a2 AS same;

-- Drop forgets them.
SELECT queue.drop('ded2', force => true);
SELECT count(*) FROM queue.dedup_minutes_a a
 WHERE NOT EXISTS (SELECT FROM queue.queue_def q WHERE q.id = a.queue_id);
SELECT queue.create('ded2');
SELECT queue.enqueue('ded2', '1', dedup_id => 'a') > 0 AS ok;
SELECT count(*) FROM queue.peek('ded2');

-- Batches: each element for itself, null is none, repeats in one batch count.
SELECT queue.create('bat');
SELECT queue.enqueue_batch('bat', '{1,2,3,4,5,6}',
                           dedup_ids => '{x,y,NULL,x,NULL,z}') AS ids \gset
SELECT (:'ids'::bigint[])[1] = (:'ids'::bigint[])[4] AS same,
       (SELECT count(DISTINCT i) FROM unnest(:'ids'::bigint[]) i) AS different,
       (:'ids'::bigint[])[2] < (:'ids'::bigint[])[3]
       AND (:'ids'::bigint[])[3] < (:'ids'::bigint[])[5]
       AND (:'ids'::bigint[])[5] < (:'ids'::bigint[])[6] AS ascending;
SELECT id = ANY (:'ids') AS ok, body FROM queue.peek('bat');
SELECT a = ANY (:'ids') AS old
  FROM unnest(queue.enqueue_batch('bat', '{7,8,9}',
                                  dedup_ids => '{z,new,y}')) a;
SELECT queue.enqueue_batch('bat', '{1,2}', dedup_ids => '{x,x}') =
       ARRAY[(:'ids'::bigint[])[1], (:'ids'::bigint[])[1]] AS none_stored;
SELECT count(*) FROM queue.peek('bat', 100);
SELECT queue.enqueue_batch('bat', '{}', dedup_ids => '{}');
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1,2}', dedup_ids => '{a}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1}', dedup_ids => '{{a}}')$$);

-- All or nothing: what a failed batch entered does not count.
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1,2}',
    headers => '{"{}", "3"}', dedup_ids => '{f1,f2}')$$);
SELECT count(*) FROM unnest(queue.enqueue_batch('bat', '{1,2}',
                                                dedup_ids => '{f1,f2}')) i
 WHERE i <> ALL (:'ids');
SELECT queue.purge('bat');

-- Longer than a chunk, all repeated in reverse order.
SELECT count(DISTINCT i)
  FROM unnest(queue.enqueue_batch('bat',
       array_fill('1'::jsonb, ARRAY[2500]),
       dedup_ids => (SELECT array_agg(g::text) FROM generate_series(1, 2500) g)))
       i;
SELECT count(DISTINCT i)
  FROM unnest(queue.enqueue_batch('bat',
       array_fill('1'::jsonb, ARRAY[2501]),
       dedup_ids => (SELECT array_agg(g::text ORDER BY g DESC)
                       FROM generate_series(1, 2501) g))) i;
SELECT queue.purge('bat');

-- The window: exact by the clock.
SELECT queue.create('win', dedup_window => '1 s');
SELECT dedup_window FROM queue.queues WHERE queue = 'win';
SELECT queue.enqueue('win', '1', dedup_id => 'a') AS a \gset
SELECT queue.enqueue('win', '2', dedup_id => 'a') = :a AS same;
SELECT pg_sleep(1.05);
SELECT queue.enqueue('win', '3', dedup_id => 'a') AS a3 \gset
SELECT :a3 > :a AS stored;
SELECT queue.enqueue('win', '4', dedup_id => 'a') = :a3 AS same;
SELECT body FROM queue.peek('win');

-- What came too late is not undone by a rollback of what replaced it.
SELECT pg_sleep(1.05);
BEGIN;
SELECT queue.enqueue('win', '5', dedup_id => 'a') > :a3 AS stored;
ROLLBACK;
SELECT queue.enqueue('win', '6', dedup_id => 'a') > :a3 AS stored;

-- A queue per class of windows.
SELECT queue.create('win_' || w, dedup_window => w::interval)
  FROM unnest('{5 min,1 h,1 day,1 year}'::text[]) w;
SELECT w, queue.enqueue('win_' || w, '1', dedup_id => 'a') > 0 AS first
  FROM unnest('{5 min,1 h,1 day,1 year}'::text[]) w;
SELECT w, queue.enqueue('win_' || w, '2', dedup_id => 'a') > 0 AS again
  FROM unnest('{5 min,1 h,1 day,1 year}'::text[]) w;
SELECT w, (SELECT count(*) FROM queue.peek('win_' || w))
  FROM unnest('{5 min,1 h,1 day,1 year}'::text[]) w;

-- Another window of the same or of another class finds what was entered.
SELECT queue.alter('win_1 h', dedup_window => '30 min');
SELECT queue.enqueue('win_1 h', '3', dedup_id => 'a') > 0 AS ok;
SELECT queue.alter('win_1 h', dedup_window => '2 days');
SELECT queue.enqueue('win_1 h', '4', dedup_id => 'a') > 0 AS ok;
SELECT queue.alter('win_1 h', dedup_window => '1 min');
SELECT queue.enqueue('win_1 h', '5', dedup_id => 'a') > 0 AS ok;
SELECT count(*) FROM queue.peek('win_1 h');
-- ... also the window of a queue that is told none.
SELECT queue.alter('win_1 day', dedup_window => '0');
SELECT dedup_window FROM queue.queues WHERE queue = 'win_1 day';
SELECT queue.enqueue('win_1 day', '3', dedup_id => 'a') > 0 AS ok;
SELECT count(*) FROM queue.peek('win_1 day');

-- Bad windows.
SELECT error_of($$SELECT queue.create('bad', dedup_window => '0')$$);
SELECT error_of($$SELECT queue.create('bad', dedup_window => '101 years')$$);

-- No privilege on the tables of entries is needed.
CREATE ROLE dedup_sender;
SELECT queue.grant_access('ded', 'dedup_sender', 'send');
SET ROLE dedup_sender;
SELECT queue.enqueue('ded', '1', dedup_id => 'u') > 0 AS ok;
SELECT error_of('SELECT FROM queue.dedup_minutes_a');
RESET ROLE;

SELECT queue.drop(queue, force => true) FROM queue.queues;
DROP OWNED BY dedup_sender;
DROP ROLE dedup_sender;

-- A fifo queue numbers its messages when it stores them; here nothing is left
-- to store, of a call and of a part of one.
SELECT queue.create('dedf', kind => 'fifo');
SELECT queue.enqueue_batch('dedf', '{1,2}', keys => '{a,a}',
                           dedup_ids => '{x,y}') AS ids \gset
SELECT queue.enqueue_batch('dedf', '{3,4}', keys => '{a,a}',
                           dedup_ids => '{x,y}') = :'ids' AS same;
SELECT count(DISTINCT id)
  FROM unnest(queue.enqueue_batch('dedf',
         (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 2001) i),
         dedup_ids => (SELECT array_agg('x'::text)
                       FROM generate_series(1, 2001)))) id;
SELECT body FROM queue.peek('dedf', 10);
SELECT queue.drop('dedf', force => true);
