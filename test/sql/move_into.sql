--
-- What comes into a queue otherwise than by enqueue: into one of kind fifo in
-- the order of the source, into one with limits so that it counts.
--
SELECT queue.create('mi');
SELECT queue.create('mi_line', kind => 'fifo');
SELECT queue.enqueue_batch('mi', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 300) i),
                           keys => (SELECT array_agg('k' || i % 3) FROM generate_series(1, 300) i)) IS NOT NULL AS ok;
SELECT queue.move('mi', 'mi_line');
SELECT queue.enqueue('mi_line', '301', key => 'k1') IS NOT NULL AS ok;
SELECT key, count(*), array_agg(body::int ORDER BY ordinality) = array_agg(body::int ORDER BY body::int) AS ordered
  FROM queue.dequeue('mi_line', 1000) WITH ORDINALITY GROUP BY key ORDER BY key;

-- Moved messages count, and need room like others.
SELECT queue.create('mi_few', max_messages => 5, max_bytes => 1000);
SELECT queue.enqueue_batch('mi', ARRAY['1', '2', '3', '4', '5', '6', '7']::jsonb[]) IS NOT NULL AS ok;
BEGIN;
SELECT queue.move('mi', 'mi_few', 5);
SELECT split_part(error_of($$SELECT queue.enqueue('mi_few', '8')$$), E'\n', 1);
ROLLBACK;
SELECT queue.move('mi', 'mi_few', 4);
SELECT queue.enqueue('mi_few', '8') IS NOT NULL AS ok;
SELECT split_part(error_of($$SELECT queue.move('mi', 'mi_few')$$), E'\n', 1);
SELECT total FROM queue.stats WHERE queue = 'mi_few';

-- Copies of replay are sent.
SELECT queue.create('mi_kept', archive => '1 h');
SELECT queue.enqueue_batch('mi_kept', ARRAY['1', '2', '3']::jsonb[]) IS NOT NULL AS ok;
SELECT count(*) FROM queue.pop('mi_kept', 3);
SELECT split_part(error_of($$SELECT queue.replay('mi_kept', '-infinity', target => 'mi_few')$$), E'\n', 1);
SELECT count(*) FROM queue.pop('mi_few', 3);
SELECT queue.replay('mi_kept', '-infinity', target => 'mi_few');
SELECT total FROM queue.stats WHERE queue = 'mi_few';
SELECT queue.replay('mi_kept', '-infinity', target => 'mi_line');
-- nothing in its archive yet
SELECT queue.alter('mi', archive => '1 h');
SELECT count(*) FROM queue.archived('mi');

-- None is larger than the target takes; what the history adds does not count,
-- nor does a dead letter's size on its way there, nor in its own queue.
SELECT queue.create('mi_small', max_message_bytes => 28, visibility_timeout => '1 h');
SELECT queue.purge('mi') >= 0 AS ok;
SELECT queue.enqueue('mi', payload => decode(repeat('ab', 28), 'hex')) > 0 AS ok;
SELECT queue.move('mi', 'mi_small');
SELECT queue.enqueue('mi', '1', headers => '{"a": 1}') > 0 AS ok;
SELECT queue.enqueue('mi', payload => decode(repeat('ab', 10), 'hex'), key => repeat('k', 19)) > 0 AS ok;
SELECT error_of($$SELECT queue.move('mi', 'mi_small')$$);
SELECT error_of($$SELECT queue.redrive('mi', 'mi_small')$$);
SELECT count(*) FROM queue.peek('mi');
SELECT queue.create('mi_dead', max_message_bytes => 1);
SELECT queue.alter('mi_small', dead_letter => 'mi_dead');
SELECT queue.enqueue('mi_small', payload => decode(repeat('ab', 8), 'hex'), headers => '{"": 1}') > 0 AS ok;
SELECT queue.reject_batch('mi_small', array_agg(receipt)) FROM queue.dequeue('mi_small', 2);
SELECT wait_until($$(SELECT count(*) = 2 FROM queue.peek('mi_dead'))$$);
SELECT queue.redrive('mi_dead');
SELECT octet_length(payload) AS bytes, headers - 'x-death' AS headers FROM queue.peek('mi_small') ORDER BY 1;
SELECT queue.alter('mi_small', dead_letter => '', max_message_bytes => 1);
SELECT queue.reject_batch('mi_small', array_agg(receipt)) FROM queue.dequeue('mi_small', 2);
SELECT queue.redrive('mi_small');

SELECT queue.drop(queue, true) FROM queue.queues WHERE queue ~ '^mi' ORDER BY queue;

-- A lease whose ack is undone behind a savepoint that was released ends with
-- its session all the same.
SELECT queue.create('mi_rel', visibility_timeout => '1 h');
SELECT queue.enqueue_batch('mi_rel', ARRAY['1', '2']::jsonb[]) IS NOT NULL AS ok;
SET queue.release_on_disconnect = on;
SELECT receipt AS r1 FROM queue.dequeue('mi_rel') \gset
SELECT receipt AS r2 FROM queue.dequeue('mi_rel') \gset
BEGIN;
SAVEPOINT s;
SELECT queue.ack('mi_rel', :r1);
RELEASE s;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT queue.ack('mi_rel', :r2);
RELEASE s;
COMMIT;
\c -
SELECT body, failures FROM queue.dequeue('mi_rel', 5, wait => '10 s');
SELECT queue.drop('mi_rel', true);
