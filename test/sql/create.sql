--
-- create() makes a queue with the properties given; the same again does
-- nothing, another one is refused with what differs.
--
SELECT queue.create('made');
\x on
SELECT queue, owner = current_user AS mine, state, kind, visibility_timeout,
       max_attempts, dead_letter, retry_delay, retry_backoff, retry_max_delay,
       delay, ttl, max_messages, max_bytes, overflow, max_in_flight,
       max_message_bytes, dedup_window, persistence, single_active, fair,
       archive, partitions, retention, retention_bytes, compact,
       enqueue_paused, dequeue_paused, segments,
       created_at = now() AS created_now, comment
  FROM queue.queues WHERE queue = 'made';

SELECT queue.create('all', 'work', '1 min', 5, NULL, '2 s', 'linear', '3 min',
                    '4 s', NULL, NULL, NULL, 'reject', NULL, 1000, NULL,
                    'logged', false, false, NULL, 1, NULL, NULL, false,
                    'what it is for');
SELECT visibility_timeout, max_attempts, retry_delay, retry_backoff,
       retry_max_delay, delay, max_message_bytes, comment
  FROM queue.queues WHERE queue = 'all';
\x off

-- Again: no-op, also when the same thing is said in other words.
SELECT queue.create('made');
SELECT queue.create('made', kind => NULL, visibility_timeout => NULL,
                    retry_delay => NULL, retry_backoff => NULL,
                    overflow => NULL, partitions => NULL, fair => NULL,
                    comment => NULL);
SELECT queue.create('made', visibility_timeout => '00:00:30', comment => '');
SELECT queue.create('all', visibility_timeout => '60 s', max_attempts => 5,
                    retry_delay => '2000 ms', retry_backoff => 'linear',
                    retry_max_delay => '180 s', delay => '4 s',
                    max_message_bytes => 1000, comment => 'what it is for');
SELECT count(*) FROM queue.queues;

-- Other properties: each that differs is named.
SELECT queue.create('made', visibility_timeout => '31 s');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.create('all');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.create('made', max_attempts => 3, retry_backoff => 'none',
                    comment => 'new');

-- Values at the limits.
SELECT queue.create('least', visibility_timeout => '1 us', max_attempts => 1,
                    retry_delay => '0', retry_max_delay => '0', delay => '0',
                    max_message_bytes => 1);
SELECT queue.create('most', visibility_timeout => '100 years',
                    max_attempts => 2147483647, retry_delay => '100 years',
                    retry_max_delay => '100 years', delay => '100 years',
                    max_message_bytes => 2147483647);
SELECT queue.enqueue('most', '1'), queue.enqueue('least', payload => 'x');
SELECT id, visible_at > enqueued_at + '99 years' AS late
  FROM queue.peek('most');
SELECT id FROM queue.dequeue('least');

-- Bad values.
\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.create(NULL)$$);
SELECT error_of($$SELECT queue.create('')$$);
SELECT error_of($$SELECT queue.create(repeat('x', 256))$$);
SELECT error_of($$SELECT queue.create(repeat('ä', 128))$$);
SELECT error_of($$SELECT queue.create('b', 'task')$$);
SELECT error_of($$SELECT queue.create('b', '')$$);
SELECT error_of($$SELECT queue.create('b', 'WORK')$$);
SELECT error_of($$SELECT queue.create('b', visibility_timeout => '0')$$);
SELECT error_of($$SELECT queue.create('b', visibility_timeout => '-1 s')$$);
SELECT error_of($$SELECT queue.create('b', visibility_timeout => '100 years 1 us')$$);
SELECT error_of($$SELECT queue.create('b', visibility_timeout => '178000000 years')$$);
SELECT error_of($$SELECT queue.create('b', visibility_timeout => '1 month -31 days')$$);
SELECT error_of($$SELECT queue.create('b', max_attempts => 0)$$);
SELECT error_of($$SELECT queue.create('b', max_attempts => -2147483648)$$);
SELECT error_of($$SELECT queue.create('b', dead_letter => '')$$);
SELECT error_of($$SELECT queue.create('b', retry_delay => '-1 us')$$);
SELECT error_of($$SELECT queue.create('b', retry_backoff => 'quadratic')$$);
SELECT error_of($$SELECT queue.create('b', retry_max_delay => '-1 us')$$);
SELECT error_of($$SELECT queue.create('b', delay => '-1 us')$$);
SELECT error_of($$SELECT queue.create('b', ttl => '0')$$);
SELECT error_of($$SELECT queue.create('b', max_messages => 0)$$);
SELECT error_of($$SELECT queue.create('b', max_bytes => -1)$$);
SELECT error_of($$SELECT queue.create('b', overflow => 'explode')$$);
SELECT error_of($$SELECT queue.create('b', max_in_flight => 0)$$);
SELECT error_of($$SELECT queue.create('b', max_message_bytes => 0)$$);
SELECT error_of($$SELECT queue.create('b', dedup_window => '-1 s')$$);
SELECT error_of($$SELECT queue.create('b', persistence => 'maybe')$$);
SELECT error_of($$SELECT queue.create('b', archive => '0')$$);
SELECT error_of($$SELECT queue.create('b', partitions => 0)$$);
SELECT error_of($$SELECT queue.create('b', retention => '0')$$);
SELECT error_of($$SELECT queue.create('b', retention_bytes => 0)$$);

-- What this version cannot do is refused, not ignored.
SELECT error_of($$SELECT queue.create('b', 'stream')$$);
SELECT error_of($$SELECT queue.create('b', partitions => 2)$$);
SELECT error_of($$SELECT queue.create('b', retention => '1 day')$$);
SELECT error_of($$SELECT queue.create('b', retention_bytes => 1)$$);
SELECT error_of($$SELECT queue.create('b', compact => true)$$);
\pset format aligned
\pset tuples_only off
SELECT count(*) FROM queue.queues WHERE queue = 'b';

-- Transactional: create, use and roll back; create and use in one
-- transaction; drop and make anew in one.
BEGIN;
SELECT queue.create('never');
SELECT queue.enqueue('never', '1');
SELECT body FROM queue.dequeue('never');
ROLLBACK;
SELECT * FROM queue.dequeue('never');
BEGIN;
SELECT queue.create('once');
SELECT queue.enqueue('once', '1');
SELECT queue.drop('once', force => true);
SELECT queue.create('once', max_attempts => 7);
SELECT queue.enqueue('once', '2');
COMMIT;
SELECT body, deliveries FROM queue.dequeue('once', 10);
BEGIN;
SAVEPOINT s;
SELECT queue.create('sub');
SELECT queue.enqueue('sub', '1');
ROLLBACK TO s;
SELECT queue.create('sub', delay => '1 ms');
COMMIT;
SELECT queue, delay FROM queue.queues WHERE queue = 'sub';
SELECT * FROM queue.peek('sub');

-- Another default access method, tablespace or search_path changes nothing.
SET default_table_access_method = 'heap';
SET search_path = '';
SET default_transaction_isolation = 'serializable';
SELECT queue.create('settings');
SELECT queue.enqueue('settings', '1');
SELECT body FROM queue.dequeue('settings');
RESET ALL;

-- Tables of the queue: the parent has the queue's name where that is possible,
-- no tables of other schemas are touched.
SELECT relation, comment FROM queue.queues WHERE queue IN ('made', 'all') ORDER BY 1;
SELECT count(*) AS segments, bool_and(relhassubclass = false) AS leaf
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'queue.made'::regclass;
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull
  FROM pg_attribute a
 WHERE a.attrelid = 'queue.made'::regclass AND a.attnum > 0
 ORDER BY a.attnum;

SELECT queue.drop(name, true)
  FROM unnest('{made,all,least,most,once,sub,settings}'::text[]) name;
