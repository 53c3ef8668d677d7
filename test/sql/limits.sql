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
