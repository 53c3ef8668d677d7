--
-- max_messages and max_bytes bound what is in a queue, in whatever state.
--
SELECT queue.create('lim', max_messages => 3);

-- reject, the default.
SELECT count(queue.enqueue('lim', g::text::jsonb)) FROM generate_series(1, 3) g;
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);
SELECT error_of($$SELECT queue.enqueue_batch('lim', '{4,5}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('lim', '{4,5,6,7}')$$);
SELECT count(*) FROM queue.peek('lim', 100);

-- A delayed, a leased or a dead message counts too.
SELECT queue.purge('lim');
SELECT queue.enqueue('lim', '1', delay => '1 h') > 0 AS delayed;
SELECT queue.enqueue('lim', '2') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('lim') \gset
SELECT queue.enqueue('lim', '3') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);
SELECT queue.reject('lim', :r);
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);

-- ack, pop, cancel and purge make room with their commit.
SELECT receipt AS r FROM queue.dequeue('lim') \gset
BEGIN;
SELECT queue.ack('lim', :r);
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);
ROLLBACK;
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);
SELECT queue.ack('lim', :r);
SELECT queue.enqueue('lim', '4') > 0 AS room;
SELECT error_of($$SELECT queue.enqueue('lim', '5')$$);
SELECT body FROM queue.pop('lim');
SELECT queue.enqueue('lim', '5') AS id \gset
SELECT error_of($$SELECT queue.enqueue('lim', '6')$$);
SELECT queue.cancel('lim', :id);
SELECT queue.enqueue('lim', '6') > 0 AS room;
SELECT error_of($$SELECT queue.enqueue('lim', '7')$$);
SELECT queue.purge('lim');
SELECT count(*) FROM unnest(queue.enqueue_batch('lim', '{1,2,3}'));
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);

-- A rollback gives room back, also of a savepoint, and of an error.
SELECT queue.purge('lim');
BEGIN;
SELECT count(*) FROM unnest(queue.enqueue_batch('lim', '{1,2,3}'));
ROLLBACK;
BEGIN;
SELECT queue.enqueue('lim', '1') > 0 AS ok;
SAVEPOINT s;
SELECT count(*) FROM unnest(queue.enqueue_batch('lim', '{2,3}'));
SELECT error_of($$SELECT queue.enqueue('lim', '4')$$);
ROLLBACK TO s;
SELECT count(*) FROM unnest(queue.enqueue_batch('lim', '{5,6}'));
RELEASE s;
SELECT error_of($$SELECT queue.enqueue('lim', '7')$$);
COMMIT;
SELECT body FROM queue.peek('lim');
SELECT error_of($$SELECT queue.enqueue('lim', '7')$$);

-- A message that is sent again needs no room.
SELECT queue.purge('lim');
SELECT queue.enqueue_batch('lim', '{1,2,3}', dedup_ids => '{a,b,c}') =
       queue.enqueue_batch('lim', '{1,2,3}', dedup_ids => '{a,b,c}') AS same;
SELECT queue.enqueue('lim', '4', dedup_id => 'b') > 0 AS ok;

-- More is set, less is set, also less than what is in it.
SELECT queue.alter('lim', max_messages => 4);
SELECT queue.enqueue('lim', '4') > 0 AS ok;
SELECT queue.alter('lim', max_messages => 2);
SELECT count(*) FROM queue.pop('lim', 2);
SELECT error_of($$SELECT queue.enqueue('lim', '5')$$);
SELECT count(*) FROM queue.pop('lim');
SELECT queue.enqueue('lim', '5') > 0 AS ok;

-- A limit for a queue that has messages.
SELECT queue.create('late');
SELECT count(*) FROM unnest(queue.enqueue_batch('late', array_fill('1'::jsonb, ARRAY[1000])));
SELECT queue.alter('late', max_messages => 1001);
SELECT queue.enqueue('late', '1') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('late', '1')$$);

-- max_bytes: of body, payload, headers and key, uncompressed, as
-- max_message_bytes; wherever they are stored.
SELECT queue.create('bytes', max_bytes => 100000);
SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 60000), 'UTF8')) > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 40001), 'UTF8'))$$);
SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 39990), 'UTF8'), key => '0123456789') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('bytes', key => 'x')$$);
SELECT error_of($$SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 100001), 'UTF8'))$$);
SELECT queue.enqueue('bytes') > 0 AS takes_none;
SELECT length(payload) FROM queue.pop('bytes');
SELECT queue.enqueue('bytes', payload => (SELECT string_agg(decode(md5(g::text), 'hex'), '') FROM generate_series(1, 3750) g)) > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('bytes', key => 'x')$$);
SELECT queue.ack('bytes', receipt) FROM queue.dequeue('bytes', 10);
SELECT queue.enqueue('bytes', payload => convert_to(repeat('x', 100000), 'UTF8')) > 0 AS all_of_it;

-- Messages with an expiry date and with each column or none.
SELECT queue.create('mix', max_bytes => 1000);
SELECT count(queue.enqueue('mix', b, p, h, k, ttl => t))
  FROM (VALUES ('"b"'::jsonb), (NULL)) v1 (b),
       (VALUES ('\x0102'::bytea), (NULL)) v2 (p),
       (VALUES ('{"h": 1}'::jsonb), (NULL)) v3 (h),
       (VALUES ('k'), (NULL)) v4 (k),
       (VALUES ('1 h'::interval), (NULL)) v5 (t);
SELECT count(queue.ack('mix', receipt)) FROM queue.dequeue('mix', 100);
SELECT queue.enqueue('mix', payload => convert_to(repeat('x', 1000), 'UTF8')) > 0 AS empty_again;

-- Both limits at once.
SELECT queue.create('both', max_messages => 2, max_bytes => 10);
SELECT queue.enqueue('both', key => '12345678') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('both', key => '123')$$);
SELECT queue.enqueue('both', key => '12') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('both')$$);

-- max_message_bytes.
SELECT queue.create('small', max_message_bytes => 10);
SELECT error_of($$SELECT queue.enqueue('small', key => '12345678901')$$);

-- drop_oldest: the oldest ready ones go.
SELECT queue.create('ring', max_messages => 3, overflow => 'drop_oldest');
DO $$
BEGIN
    FOR i IN 1..10 LOOP
        PERFORM queue.enqueue('ring', i::text::jsonb);
    END LOOP;
END $$;
SELECT body FROM queue.peek('ring');
SELECT count(*) FROM unnest(queue.enqueue_batch('ring', '{11,12}'));
SELECT body FROM queue.peek('ring');
SELECT error_of($$SELECT queue.enqueue_batch('ring', '{1,2,3,4}')$$);

-- What the same statement has sent is not dropped.
SELECT error_of($$SELECT queue.enqueue('ring', g::text::jsonb) FROM generate_series(1, 10) g$$);

-- In the sender's transaction.
BEGIN;
SELECT queue.enqueue('ring', '13') > 0 AS ok;
ROLLBACK;
SELECT body FROM queue.peek('ring');
BEGIN;
SELECT queue.enqueue('ring', '13') > 0 AS ok;
SAVEPOINT s;
SELECT queue.enqueue('ring', '14') > 0 AS ok;
ROLLBACK TO s;
COMMIT;
SELECT body FROM queue.peek('ring');
SELECT queue.enqueue('ring', '15') > 0 AS ok;
SELECT body FROM queue.peek('ring');

-- Never a leased, a delayed or a dead one.
SELECT body, receipt AS r FROM queue.dequeue('ring') \gset
SELECT queue.reject('ring', receipt) FROM queue.dequeue('ring');
SELECT queue.enqueue('ring', '16', delay => '1 h') > 0 AS ok;
SELECT body, state FROM queue.peek('ring');
SELECT error_of($$SELECT queue.enqueue('ring', '17')$$);
SELECT queue.ack('ring', :r);
SELECT queue.enqueue('ring', '18') > 0 AS ok;
SELECT queue.enqueue('ring', '19') > 0 AS ok;
SELECT body, state FROM queue.peek('ring');

-- By bytes.
SELECT queue.create('ring bytes', max_bytes => 10, overflow => 'drop_oldest');
SELECT queue.enqueue('ring bytes', key => '1') > 0 AS ok;
SELECT queue.enqueue('ring bytes', key => '22') > 0 AS ok;
SELECT queue.enqueue('ring bytes', key => '333') > 0 AS ok;
SELECT queue.enqueue('ring bytes', key => '4444') > 0 AS ok;
SELECT queue.enqueue('ring bytes', key => '55555') > 0 AS ok;
SELECT key FROM queue.peek('ring bytes');
SELECT dropped FROM queue.stats WHERE queue = 'ring bytes';

-- Into the dead-letter queue.
SELECT queue.create('ring dead');
SELECT queue.create('ring2', max_messages => 1, overflow => 'drop_oldest',
                    dead_letter => 'ring dead');
SELECT queue.enqueue('ring2', '1') > 0 AS ok;
SELECT queue.enqueue('ring2', '2') > 0 AS ok;
BEGIN;
SELECT queue.enqueue('ring2', '3') > 0 AS ok;
ROLLBACK;
SELECT body FROM queue.peek('ring2');
SELECT body, headers->'x-death'->0->>'reason' AS reason,
       headers->'x-death'->0->>'queue' AS queue
  FROM queue.peek('ring dead');
SELECT queue.pause('ring dead');
SELECT error_of($$SELECT queue.enqueue('ring2', '4')$$);
SELECT queue.resume('ring dead');

-- ... which may be full, too: then nothing is dropped, unless it drops.
SELECT queue.alter('ring dead', max_messages => 2);
SELECT queue.enqueue('ring2', '4') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('ring2', '5')$$);
SELECT body FROM queue.peek('ring2');
SELECT queue.alter('ring dead', overflow => 'drop_oldest');
SELECT queue.enqueue('ring2', '5') > 0 AS ok;
SELECT queue.enqueue('ring2', '6') > 0 AS ok;
SELECT body FROM queue.peek('ring2');
SELECT body FROM queue.peek('ring dead');

-- ... in a circle there is an end.
SELECT queue.alter('ring dead', dead_letter => 'ring2');
SELECT error_of($$SELECT queue.enqueue('ring2', '7')$$);
SELECT body FROM queue.peek('ring2');
SELECT body FROM queue.peek('ring dead');

-- From pages that VACUUM found visible to all, at the latest when the worker's
-- transactions of now are over.
SELECT queue.create('ring3', max_messages => 2, overflow => 'drop_oldest');
SELECT count(*) FROM unnest(queue.enqueue_batch('ring3', '{1,2}'));
\set ECHO none
SELECT 'DO $$BEGIN PERFORM pg_sleep(0.2); END$$', format('VACUUM %s', s.relation)
  FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id,
       generate_series(1, 3) WHERE d.name = 'ring3' \gexec
\set ECHO all
SELECT count(*) FROM unnest(queue.enqueue_batch('ring3', '{3,4}'));
SELECT body FROM queue.peek('ring3');

-- A full dead-letter queue: the rest waits, dead, where it died.
SELECT queue.create('full dead', max_messages => 2);
SELECT queue.create('full', dead_letter => 'full dead');
CREATE FUNCTION settled(in_dead int, in_queue int) RETURNS TABLE (bodies text, dead bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wait_until(format('(SELECT count(*) = %s FROM queue.peek(''full dead'', 100))
        AND (SELECT count(*) = %s FROM queue.peek(''full'', 100))', in_dead, in_queue));
    PERFORM pg_sleep(0.3);
    RETURN QUERY SELECT
        (SELECT string_agg(p.body::text, ' ' ORDER BY p.id) FROM queue.peek('full dead', 100) p),
        (SELECT count(*) FROM queue.peek('full', 100, 'dead'));
END $$;
SELECT count(*) FROM unnest(queue.enqueue_batch('full', '{1,2,3,4,5}'));
SELECT queue.reject_batch('full', array_agg(receipt)) FROM queue.dequeue('full', 5);
SELECT * FROM settled(2, 3);
SELECT queue.ack('full dead', receipt) FROM queue.dequeue('full dead');
SELECT * FROM settled(2, 2);
SELECT queue.alter('full dead', overflow => 'block');
SELECT queue.ack('full dead', receipt) FROM queue.dequeue('full dead');
SELECT * FROM settled(2, 1);
SELECT queue.purge('full dead');
SELECT * FROM settled(1, 0);
SELECT queue.enqueue('full dead', '"room for one"') > 0 AS ok;
SELECT queue.alter('full dead', overflow => 'reject');
SELECT error_of($$SELECT queue.enqueue('full dead', '"no more"')$$);

-- ... drops its oldest, if it does that, and those alone.
SELECT queue.alter('full dead', overflow => 'drop_oldest', max_messages => 3);
SELECT queue.enqueue('full', '6') > 0 AS ok;
SELECT queue.enqueue('full', '7') > 0 AS ok;
SELECT queue.reject_batch('full', array_agg(receipt)) FROM queue.dequeue('full', 5);
SELECT * FROM settled(3, 0);
SELECT count(*) FROM unnest(queue.enqueue_batch('full', '{8,9,10,11,12,13,14}'));
SELECT queue.reject_batch('full', array_agg(receipt)) FROM queue.dequeue('full', 10);
SELECT * FROM settled(3, 0);
SELECT count(*) FROM queue.dequeue('full dead', 3, '1 h');
SELECT queue.enqueue('full', '15') > 0 AS ok;
SELECT queue.reject('full', receipt) FROM queue.dequeue('full');
SELECT * FROM settled(3, 1);

-- Bytes, with those of the history: never more than there may be, and one that
-- is too large does not hold up the others.
SELECT queue.purge('full dead'), queue.purge('full');
SELECT queue.alter('full dead', max_messages => 100, max_bytes => 3000, overflow => 'reject');
SELECT queue.enqueue('full', payload => convert_to(repeat('x', 2900), 'UTF8')) > 0 AS large;
SELECT count(queue.enqueue('full', g::text::jsonb, convert_to(repeat('x', 100), 'UTF8'))) FROM generate_series(1, 30) g;
SELECT queue.reject_batch('full', array_agg(receipt)) FROM queue.dequeue('full', 100);
SELECT wait_until($$(SELECT count(*) > 4 FROM queue.peek('full dead', 100))$$);
SELECT pg_sleep(0.5);
SELECT count(*) BETWEEN 5 AND 14 AS some, sum(length(payload) + pg_column_size(headers)) BETWEEN 2000 AND 3000 AS not_more
  FROM queue.peek('full dead', 100);
SELECT queue.alter('full dead', max_bytes => 30000);
SELECT wait_until($$(SELECT count(*) = 31 FROM queue.peek('full dead', 100))$$);
SELECT count(*) FROM queue.peek('full', 100);
DROP FUNCTION settled;

-- move and redrive are sends.
SELECT queue.create('from');
SELECT queue.create('to', max_messages => 3);
SELECT count(*) FROM unnest(queue.enqueue_batch('from', '{1,2,3,4,5,6}'));
SELECT error_of($$SELECT queue.move('from', 'to')$$);
BEGIN;
SELECT queue.move('from', 'to', 3);
ROLLBACK;
SELECT queue.move('from', 'to', 2);
SELECT error_of($$SELECT queue.move('from', 'to', 2)$$);
SELECT queue.move('from', 'to', 1);
SELECT queue.alter('to', overflow => 'drop_oldest');
SELECT queue.move('from', 'to', 2);
SELECT body FROM queue.peek('to');
SELECT queue.alter('to', overflow => 'block');
SET lock_timeout = '50 ms';
SELECT error_of($$SELECT queue.move('from', 'to', 1)$$);
RESET lock_timeout;
SELECT queue.ack('to', receipt) FROM queue.dequeue('to');
SELECT queue.move('from', 'to', 1);
SELECT body FROM queue.peek('to');
SELECT queue.alter('to', overflow => 'reject');
SELECT queue.enqueue('from', '8') > 0 AS ok;
SELECT error_of($$SELECT queue.redrive('from', 'to')$$);
SELECT body FROM queue.peek('from');
-- What is dead in the queue itself has its room.
SELECT queue.reject_batch('to', array_agg(receipt)) FROM queue.dequeue('to', 3);
BEGIN;
SELECT queue.redrive('to');
ROLLBACK;
SELECT queue.redrive('to');
SELECT error_of($$SELECT queue.enqueue('to', '7')$$);
SELECT queue.ack('to', receipt) FROM queue.dequeue('to');
SELECT queue.enqueue('to', '7') > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('to', '8')$$);
SELECT body FROM queue.peek('to');

-- block waits; bounded by lock_timeout and statement_timeout.
SELECT queue.create('blk', max_messages => 2, overflow => 'block');
SELECT count(*) FROM unnest(queue.enqueue_batch('blk', '{1,2}'));
SET lock_timeout = '50 ms';
SELECT error_of($$SELECT queue.enqueue('blk', '3')$$);
SELECT error_of($$SELECT queue.enqueue_batch('blk', '{3,4,5}')$$);
RESET lock_timeout;
SET statement_timeout = '50 ms';
SELECT queue.enqueue('blk', '3');
RESET statement_timeout;
SELECT queue.purge('blk');
BEGIN;
SELECT count(*) FROM unnest(queue.enqueue_batch('blk', '{1,2}'));
SELECT error_of($$SELECT queue.enqueue('blk', '3')$$);
COMMIT;
SELECT body FROM queue.peek('blk');

SELECT queue.drop(queue, force => true) FROM queue.queues;
