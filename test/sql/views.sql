--
-- The views show the state of the queues at the moment they are read.
--
SELECT queue.create('seen', comment => 'to be looked at');
SELECT queue.create('seen too');

-- stats: counters and numbers of messages by state, step by step.
CREATE VIEW numbers AS
SELECT ready, delayed, leased, dead, total, enqueued, delivered, acked, nacked,
       expired, dead_lettered AS dead_l, redelivered AS redel, stale_receipts AS stale
  FROM queue.stats WHERE queue = 'seen';
SELECT * FROM numbers;
SELECT count(queue.enqueue('seen', to_jsonb(i))) FROM generate_series(1, 10) i;
SELECT * FROM numbers;
SELECT queue.enqueue('seen', '11', delay => '1 h') > 0 AS delayed,
       queue.enqueue('seen', '12', delay => '1 day') > 0 AS parked;
SELECT * FROM numbers;
SELECT array_agg(receipt ORDER BY id) AS rs FROM queue.dequeue('seen', 4, '1 h') \gset
SELECT * FROM numbers;
SELECT queue.ack('seen', (:'rs'::bigint[])[1]), queue.ack('seen', (:'rs'::bigint[])[1]);
SELECT queue.nack('seen', (:'rs'::bigint[])[2], '1 h');
SELECT queue.reject('seen', (:'rs'::bigint[])[3]);
SELECT queue.release('seen', (:'rs'::bigint[])[4]);
SELECT * FROM numbers;
SELECT count(*) FROM queue.dequeue('seen', 1);
SELECT body FROM queue.pop('seen');
SELECT * FROM numbers;
BEGIN;
SELECT count(*) FROM queue.pop('seen', 2);
SELECT total FROM numbers;
ROLLBACK;
SELECT wait_until($$5 = (SELECT ready FROM numbers)$$);
SELECT ready, acked FROM numbers;
SELECT queue.enqueue('seen too', '1') > 0 AS ok;
SELECT count(*) FROM queue.dequeue('seen too', 1, '1 ms');
SELECT wait_until($$EXISTS (SELECT FROM queue.stats WHERE queue = 'seen too' AND ready = 1 AND leased = 0)$$);
SELECT deliveries, failures FROM queue.dequeue('seen too', wait => '20 s');
SELECT delivered, redelivered, expired FROM queue.stats WHERE queue = 'seen too';

-- Uncommitted messages are not counted; a rolled-back sender leaves no trace.
BEGIN;
SELECT queue.enqueue('seen', '99') > 0 AS ok;
ROLLBACK;
SELECT enqueued FROM numbers;

-- bytes, ages, rates and times.
SELECT bytes > 0 AS bytes, oldest_ready_age BETWEEN '0' AND '10 min' AS age,
       enqueue_rate >= 0 AS e, delivery_rate >= 0 AS d, ack_rate >= 0 AS a,
       wait_p50 <= wait_p99 AS wait, wait_p99 < '10 min' AS short,
       processing_p50 <= processing_p99 AS processing
  FROM queue.stats WHERE queue = 'seen';
SELECT oldest_ready_age FROM queue.stats WHERE queue = 'seen too';

-- No scan: what is counted agrees with the table after many messages.
SELECT queue.purge('seen') > 0 AS ok;
SELECT cardinality(queue.enqueue_batch('seen', array_agg(to_jsonb(i)))) FROM generate_series(1, 20000) i;
SELECT queue.ack_batch('seen', array_agg(receipt)) FROM queue.dequeue('seen', 5000);
SELECT count(*) FROM queue.dequeue('seen', 1000);
SELECT ready, leased, total, (SELECT count(*) FROM queue.seen) AS counted FROM numbers;

-- in_flight: one row for each lease.
SELECT queue.purge('seen') > 0 AS ok;
SELECT queue.enqueue('seen', '1') AS id \gset
SELECT receipt AS r FROM queue.dequeue('seen', visibility => '1 h') \gset
SELECT queue, id = :id AS id, holder = pg_backend_pid() AS mine, application_name,
       client_addr, since <= clock_timestamp() AS since,
       until > clock_timestamp() + '59 min' AS until, deliveries, failures
  FROM queue.in_flight WHERE queue = 'seen';
SELECT queue.extend('seen', :r, '2 h');
SELECT until > clock_timestamp() + '119 min' AS until FROM queue.in_flight WHERE queue = 'seen';
SELECT queue, state, pid = pg_backend_pid() AS me, usename = current_user AS usename,
       application_name
  FROM queue.consumers WHERE queue = 'seen';
SELECT queue.ack('seen', :r);
SELECT count(*) FROM queue.in_flight WHERE queue = 'seen';
SELECT count(*) FROM queue.consumers WHERE queue = 'seen';

-- queues.
SELECT queue, regexp_replace(relation::text, '\d+', 'N') AS relation,
       owner = current_user AS mine, state, kind, segments,
       created_at <= now() AS created, comment
  FROM queue.queues ORDER BY queue;

-- segments: an open one of each chain at least.
SELECT queue, chain, state, bool_and(segment > 0) AS segment, bool_and(pages >= 0) AS pages,
       bool_and(bytes >= pages * 8192) AS bytes
  FROM queue.segments WHERE state = 'open'
 GROUP BY queue, chain, state ORDER BY 1, 2;
SELECT count(*) > 0 AS with_pages FROM queue.segments WHERE queue = 'seen' AND pages > 0;
SELECT count(*) FROM queue.segments s
  LEFT JOIN pg_inherits i ON i.inhrelid = s.relation
  LEFT JOIN queue.queues q ON q.relation = i.inhparent
 WHERE s.state <> 'free' AND q.queue IS DISTINCT FROM s.queue;

-- workers: this database has one.
SELECT database, pid <> pg_backend_pid() AS other, started_at < now() AS started,
       loops > 0 AS loops
  FROM queue.workers WHERE database = current_database();
SELECT backend_type = 'queue worker' AS type FROM pg_stat_activity
  JOIN queue.workers USING (pid) WHERE database = current_database();

-- The worker brings what "segments" says up to date twice a second.
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN (SELECT sum(live) FROM queue.segments) = 1;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;

-- They can be joined, filtered and read in a transaction of any isolation level.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT q.queue, s.total FROM queue.queues q JOIN queue.stats s USING (queue) ORDER BY 1;
SELECT queue, sum(live) FROM queue.segments GROUP BY queue ORDER BY 1;
COMMIT;
SELECT queue FROM queue.queues WHERE queue LIKE 'seen%' ORDER BY queue;

-- A queue made or dropped in this transaction.
BEGIN;
SELECT queue.create('seen new');
SELECT queue, total FROM queue.stats WHERE queue = 'seen new';
SELECT queue FROM queue.queues WHERE queue = 'seen new';
SELECT queue.drop('seen too', true);
SELECT queue FROM queue.stats ORDER BY queue;
ROLLBACK;
SELECT queue FROM queue.stats ORDER BY queue;

-- They are no way to write.
INSERT INTO queue.queues (queue) VALUES ('x');
DELETE FROM queue.stats;
UPDATE queue.in_flight SET id = 1;

DROP VIEW numbers;
SELECT queue.drop('seen', true), queue.drop('seen too', true);
