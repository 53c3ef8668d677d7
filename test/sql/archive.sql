--
-- archive: acked and popped messages are kept, with the ack or not at all;
-- replay() sends copies of them again.
--
SELECT queue.create('arch', archive => '1 hour', max_attempts => 1);
SELECT queue.create('arch', archive => '60 min', max_attempts => 1);
SELECT archive FROM queue.queues WHERE queue = 'arch';
SELECT chain, state FROM queue.segments WHERE queue = 'arch' ORDER BY segment;
SELECT * FROM queue.archived('arch');

-- What is acked is kept with all that it was sent with; so is what is popped.
SELECT queue.enqueue('arch', '{"n": 1}', '\x01', '{"h": 1}', 'k');
SELECT queue.enqueue('arch', to_jsonb(n)) FROM generate_series(2, 6) n;
SELECT now() AS begun \gset
SELECT queue.ack('arch', receipt) FROM queue.dequeue('arch');
SELECT body, receipt FROM queue.pop('arch');
SELECT id, receipt, body, payload, headers, key, priority, deliveries,
       failures, visible_at, expires_at, archived_at >= :'begun' AS at,
       enqueued_at <= archived_at AS order
  FROM queue.archived('arch');

-- It is not in the queue any more, for nobody.
SELECT ready, leased, total FROM queue.stats WHERE queue = 'arch';
SELECT count(*) FROM queue.arch;
SELECT count(*) FROM queue.peek('arch', 100);
SELECT queue.get('arch', 1);
SELECT queue.cancel('arch', 1);
SELECT chain, live FROM queue.segments WHERE queue = 'arch' ORDER BY segment;

-- What is rejected or dead, canceled or purged is not kept.
SELECT queue.reject('arch', receipt) FROM queue.dequeue('arch');
SELECT queue.nack('arch', receipt) FROM queue.dequeue('arch');
SELECT queue.cancel('arch', 5);
SELECT queue.purge('arch');
SELECT id FROM queue.archived('arch');

-- Rolled back, as a whole or to a savepoint.
SELECT queue.enqueue_batch('arch', '{7,8,9}') AS ids;
BEGIN;
SELECT count(queue.ack('arch', receipt)) FROM queue.dequeue('arch', 3);
SELECT body FROM queue.archived('arch');
ROLLBACK;
SELECT body FROM queue.archived('arch');
SELECT queue.purge('arch');
SELECT queue.enqueue_batch('arch', '{7,8,9}') AS ids;
BEGIN;
SELECT body FROM queue.pop('arch');
SAVEPOINT s;
SELECT body FROM queue.pop('arch');
ROLLBACK TO s;
COMMIT;
SELECT body FROM queue.archived('arch');
SELECT count(queue.ack('arch', receipt)) FROM queue.dequeue('arch', 3);

-- A stale receipt adds nothing, nor does one that is given twice.
SELECT queue.enqueue('arch', '10') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('arch') \gset
SELECT queue.ack_batch('arch', ARRAY[:r, :r, 0, NULL]);
SELECT queue.ack('arch', :r);
SELECT body FROM queue.archived('arch');

-- since and until name the time of the ack; max takes the first.
SELECT archived_at AS mid FROM queue.archived('arch') WHERE body = '7' \gset
SELECT body FROM queue.archived('arch', until => :'mid');
SELECT body FROM queue.archived('arch', since => :'mid', max => 1);
SELECT count(*) FROM queue.archived('arch', :'mid', :'mid');
SELECT count(*) FROM queue.archived('arch', NULL, NULL, NULL);

-- Values that are kept out of line are copied.
CREATE TABLE big AS
SELECT to_jsonb(string_agg(md5(i::text), '')) AS body
  FROM generate_series(1, 2000) i;
SELECT queue.enqueue('arch', body) > 0 AS ok FROM big;
SELECT queue.ack('arch', receipt) FROM queue.dequeue('arch');
SELECT queue.enqueue('arch', body) > 0 AS ok FROM big;
SELECT count(*) FROM queue.pop('arch');
SELECT count(*) FROM queue.archived('arch') a JOIN big USING (body);
SELECT length(body::text) FROM queue.archived('arch')
 WHERE jsonb_typeof(body) = 'string';

-- A batch over many pages.
SELECT cardinality(queue.enqueue_batch('arch', array_agg(to_jsonb(i))))
  FROM generate_series(1001, 3500) i;
SELECT queue.ack_batch('arch', array_agg(receipt))
  FROM queue.dequeue('arch', 2000);
SELECT count(*) FROM queue.pop('arch', 2000);
SELECT count(DISTINCT body), min(body::int), max(body::int)
  FROM queue.archived('arch', max => 10000)
 WHERE body BETWEEN '1001' AND '3500';

-- Nobody writes to it, whatever they own.
SELECT relation AS archive FROM queue.segments
 WHERE queue = 'arch' AND chain = 'archive' \gset
SELECT left(error_of(format($$DELETE FROM %s$$, :'archive')), 15);
SELECT left(error_of(format($$TRUNCATE %s$$, :'archive')), 17);

--
-- replay
--
SELECT queue.create('again', archive => '1 day', delay => '0');
SELECT queue.enqueue('again', to_jsonb(n), headers => '{"a": 1}', key => 'k')
  FROM generate_series(1, 4) n;
SELECT queue.ack('again', receipt) FROM queue.dequeue('again', 2)
 ORDER BY id DESC;
SELECT clock_timestamp() AS mid \gset
SELECT queue.enqueue('again', body) > 0 AS ok FROM big;
SELECT queue.ack('again', receipt) FROM queue.dequeue('again', 3);

SELECT queue.replay('again', :'mid');
SELECT id > 5 AS new, jsonb_typeof(body) AS type,
       headers - 'x-replay' AS headers, key, deliveries, failures,
       headers->'x-replay'->>'queue' AS queue,
       headers->'x-replay'->>'id' AS first
  FROM queue.peek('again') ORDER BY id;
SELECT (headers->'x-replay'->>'acked_at')::timestamptz > :'mid' AS after
  FROM queue.pop('again', 3);
SELECT queue.replay('again', '-infinity', :'mid');
SELECT body FROM queue.peek('again') ORDER BY id;
SELECT queue.purge('again');

-- With the priority that it had.
SELECT queue.enqueue('again', '"p"', priority => 7) > 0 AS ok;
SELECT queue.enqueue('again', '"q"') > 0 AS ok;
SELECT clock_timestamp() AS late \gset
SELECT body FROM queue.pop('again', 2);
SELECT queue.replay('again', :'late');
SELECT queue.enqueue('again', '"r"', priority => 5) > 0 AS ok;
SELECT body, priority FROM queue.pop('again');
SELECT body, priority FROM queue.pop('again', 2);

-- Into another queue, committed with the caller.
SELECT queue.create('other', delay => '1 hour');
BEGIN;
SELECT queue.replay('again', '-infinity', target => 'other');
ROLLBACK;
SELECT count(*) FROM queue.peek('other');
SELECT queue.replay('again', '-infinity', :'mid', 'other');
SELECT body, state FROM queue.peek('other') ORDER BY id;
SELECT queue.replay('again', now() + interval '1 day', NULL, 'other');

-- Who may.
SET client_min_messages = warning;
DROP ROLE IF EXISTS queue_test_arch;
RESET client_min_messages;
CREATE ROLE queue_test_arch;
SET ROLE queue_test_arch;
SELECT error_of($$SELECT queue.archived('again')$$);
SELECT error_of($$SELECT queue.replay('again', now())$$);
RESET ROLE;
SELECT queue.grant_access('again', 'queue_test_arch', 'browse');
SET ROLE queue_test_arch;
SELECT count(*) > 3 AS ok FROM queue.archived('again');
SELECT error_of($$SELECT queue.replay('again', now())$$);
SELECT error_of($$SELECT queue.replay('again', now(), target => 'other')$$);
RESET ROLE;
SELECT queue.grant_access('other', 'queue_test_arch', 'send');
SET ROLE queue_test_arch;
SELECT queue.replay('again', '-infinity', :'mid', 'other');
RESET ROLE;

-- What is wrong with a call.
SELECT error_of($$SELECT queue.archived('nowhere')$$);
SELECT error_of($$SELECT queue.archived(NULL)$$);
SELECT error_of($$SELECT queue.archived('other')$$);
SELECT error_of($$SELECT queue.archived('again', now(), now() - interval '1 s')$$);
SELECT error_of($$SELECT queue.archived('again', max => 0)$$);
SELECT error_of($$SELECT queue.replay('nowhere', now())$$);
SELECT error_of($$SELECT queue.replay(NULL, now())$$);
SELECT error_of($$SELECT queue.replay('other', now())$$);
SELECT error_of($$SELECT queue.replay('again', NULL)$$);
SELECT error_of($$SELECT queue.replay('again', now(), now() - interval '1 s')$$);
SELECT error_of($$SELECT queue.replay('again', now(), NULL, 'nowhere')$$);
SELECT queue.pause('other', dequeue => false);
SELECT error_of($$SELECT queue.replay('again', now(), NULL, 'other')$$);
SELECT queue.resume('other');
SELECT queue.alter('other', max_message_bytes => 1000);
SELECT error_of($$SELECT queue.replay('again', '-infinity', NULL, 'other')$$);
BEGIN READ ONLY;
SELECT count(*) > 3 AS ok FROM queue.archived('again');
SELECT error_of($$SELECT queue.replay('again', now())$$);
ROLLBACK;

--
-- alter: on, and off, for a queue that was made without
--
SELECT queue.create('later');
SELECT queue.enqueue_batch('later', '{1,2,3}') AS ids;
SELECT count(*) FROM queue.pop('later');
SELECT queue.alter('later', archive => '1 day');
SELECT queue.alter('later', archive => '2 days');
SELECT archive FROM queue.queues WHERE queue = 'later';
SELECT chain, state FROM queue.segments WHERE queue = 'later' ORDER BY segment;
SELECT count(*) FROM queue.pop('later');
SELECT body FROM queue.archived('later');
SELECT queue.alter('later', archive => '0');
SELECT archive FROM queue.queues WHERE queue = 'later';
SELECT count(*) FROM queue.pop('later');
SELECT error_of($$SELECT queue.archived('later')$$);
SELECT queue.create('later');
SELECT error_of($$SELECT queue.alter('later', archive => '-1 s')$$);
SELECT error_of($$SELECT queue.create('never', archive => '0')$$);

-- Dropped with the queue, which counts as empty.
SELECT queue.drop('later'), queue.drop('again'), queue.drop('other', true),
       queue.drop('arch');
SELECT count(*) FROM queue.segment_def;
SELECT to_regclass(:'archive');
DROP TABLE big;
DROP ROLE queue_test_arch;
