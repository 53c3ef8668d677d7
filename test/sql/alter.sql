--
-- alter() changes the properties given, from commit on, and leaves the others.
--
SELECT queue.create('alt', comment => 'before');
SELECT queue.enqueue('alt', to_jsonb(i)) > 0 AS ok FROM generate_series(1, 3) i;

-- Nothing given: nothing changes.
SELECT queue.alter('alt');
SELECT visibility_timeout, max_attempts, retry_delay, retry_backoff,
       retry_max_delay, delay, max_message_bytes, comment
  FROM queue.queues WHERE queue = 'alt';

-- All that can be changed, in one call; the next call of the same session
-- follows.
SELECT queue.alter('alt', visibility_timeout => '1 h', max_attempts => 1,
                   retry_delay => '1 day', retry_backoff => 'none',
                   retry_max_delay => '2 days', delay => '1 min',
                   max_message_bytes => 20, comment => 'after');
SELECT visibility_timeout, max_attempts, retry_delay, retry_backoff,
       retry_max_delay, delay, max_message_bytes, comment
  FROM queue.queues WHERE queue = 'alt';
SELECT body, visible_at > clock_timestamp() + '59 min' AS lease, receipt AS r
  FROM queue.dequeue('alt') \gset
SELECT :'lease' AS lease;
SELECT queue.nack('alt', :r);
SELECT body, state FROM queue.peek('alt', state => 'dead');
SELECT queue.enqueue('alt', '"late"') > 0 AS ok;
SELECT state, visible_at - enqueued_at AS delay
  FROM queue.peek('alt', state => 'delayed');
SELECT queue.enqueue('alt', '"much too long for it"');

-- One at a time; the comment goes with the empty string.
SELECT queue.alter('alt', delay => '0');
SELECT queue.alter('alt', comment => '');
SELECT visibility_timeout, delay, comment FROM queue.queues WHERE queue = 'alt';

-- Rolled back, also for the session that did it.
BEGIN;
SELECT queue.alter('alt', delay => '1 h');
SELECT queue.enqueue('alt', '"x"') > 0 AS ok;
SELECT state FROM queue.peek('alt') WHERE body = '"x"';
ROLLBACK;
SELECT queue.enqueue('alt', '"y"') > 0 AS ok;
SELECT state FROM queue.peek('alt') WHERE body = '"y"';
SELECT delay FROM queue.queues WHERE queue = 'alt';
BEGIN;
SAVEPOINT s;
SELECT queue.alter('alt', delay => '1 h');
ROLLBACK TO s;
SELECT queue.enqueue('alt', '"z"') > 0 AS ok;
COMMIT;
SELECT state FROM queue.peek('alt') WHERE body = '"z"';

-- A leased message keeps its lease, a delayed one its delay.
SELECT queue.alter('alt', visibility_timeout => '1 ms');
SELECT state, count(*) FROM queue.peek('alt', 100) GROUP BY state ORDER BY state;

-- create() of what it has become is a no-op; of what it was, refused.
SELECT queue.alter('alt', visibility_timeout => '5 s');
SELECT queue.create('alt', visibility_timeout => '5 s', max_attempts => 1,
                    retry_delay => '1 day', retry_backoff => 'none',
                    retry_max_delay => '2 days', max_message_bytes => 20);
SELECT queue.create('alt');
\echo :LAST_ERROR_SQLSTATE

-- Errors; all or nothing.
\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.alter(NULL)$$);
SELECT error_of($$SELECT queue.alter('')$$);
SELECT error_of($$SELECT queue.alter('nowhere')$$);
SELECT error_of($$SELECT queue.alter('nowhere', delay => '1 s')$$);
SELECT error_of($$SELECT queue.alter('alt', delay => '7 s', max_attempts => -1)$$);
SELECT error_of($$SELECT queue.alter('alt', visibility_timeout => '0')$$);
SELECT error_of($$SELECT queue.alter('alt', retry_backoff => 'x')$$);
SELECT error_of($$SELECT queue.alter('alt', kind => 'fifo')$$);
SELECT error_of($$SELECT queue.alter('alt', ttl => '-1 s')$$);
SELECT error_of($$SELECT queue.alter('alt', persistence => 'unlogged')$$);
SELECT error_of($$SELECT queue.alter('alt', partitions => 2)$$);
SELECT error_of($$SELECT queue.alter('alt', kind => 'work', partitions => 1)$$);
\pset format aligned
\pset tuples_only off
SELECT delay FROM queue.queues WHERE queue = 'alt';

SELECT queue.drop('alt', true);

-- 0 takes a limit away, and that of failures also with a dead-letter queue.
SELECT queue.create('alt0 dead');
SELECT queue.create('alt0', max_messages => 2, max_bytes => 100, max_in_flight => 2,
                    max_message_bytes => 20, max_attempts => 1, dead_letter => 'alt0 dead');
SELECT queue.enqueue_batch('alt0', '{1,2}') IS NULL AS n;
SELECT split_part(error_of($$SELECT queue.enqueue('alt0', '3')$$), ':', 1);
SELECT count(*) FROM queue.dequeue('alt0', 10);
SELECT queue.alter('alt0', max_messages => 0, max_bytes => 0, max_in_flight => 0,
                   max_message_bytes => 0, max_attempts => 0, retry_delay => '0');
SELECT max_messages, max_bytes, max_in_flight, max_message_bytes, max_attempts
  FROM queue.queues WHERE queue = 'alt0';
SELECT queue.enqueue_batch('alt0', '{3,4,5,6}', payloads => array_fill('0123456789'::bytea, ARRAY[4])) IS NULL AS n;
SELECT count(*), sum(queue.nack('alt0', receipt)::int) AS failed FROM queue.dequeue('alt0', 10);
SELECT count(*), sum(queue.ack('alt0', receipt)::int) AS acked FROM queue.dequeue('alt0', 10);
SELECT total, dead FROM queue.stats WHERE queue = 'alt0';
-- What comes and goes without a limit counts for the next one.
SELECT queue.enqueue('alt0', '7') > 0 AS ok;
SELECT queue.alter('alt0', max_messages => 4, max_in_flight => 3);
SELECT queue.enqueue('alt0', '8') > 0 AS ok;
SELECT split_part(error_of($$SELECT queue.enqueue('alt0', '9')$$), ':', 1);
SELECT count(*) FROM queue.dequeue('alt0', 10);
-- Below 0 is nothing, and 0 is none to begin with.
SELECT split_part(error_of(format('SELECT queue.alter(%L, %I => -1)', 'alt0', p)), ':', 1)
  FROM unnest('{max_messages,max_bytes,max_in_flight,max_message_bytes,max_attempts}'::text[]) p;
SELECT queue.drop('alt0', force => true), queue.drop('alt0 dead');
