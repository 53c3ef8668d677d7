--
-- move() takes messages out of one queue and puts them into another, in the
-- caller's transaction.
--
SELECT queue.create('mv from', visibility_timeout => '1 h', max_attempts => 1, retry_delay => '0');
SELECT queue.create('mv to', visibility_timeout => '1 h');

\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.move('mv from', 'mv from')$$);
SELECT error_of($$SELECT queue.move('mv form', 'mv to')$$);
SELECT error_of($$SELECT queue.move('mv from', 'mv too')$$);
SELECT error_of($$SELECT queue.move(NULL, 'mv to')$$);
SELECT error_of($$SELECT queue.move('mv from', NULL)$$);
SELECT error_of($$SELECT queue.move('mv from', 'mv to', 0)$$);
CREATE ROLE mv_user;
SELECT queue.grant_access('mv to', 'mv_user', 'send');
SET ROLE mv_user;
SELECT error_of($$SELECT queue.move('mv from', 'mv to')$$);
RESET ROLE;
SELECT queue.grant_access('mv from', 'mv_user', 'receive');
SELECT queue.revoke_access('mv to', 'mv_user', 'send');
SET ROLE mv_user;
SELECT error_of($$SELECT queue.move('mv from', 'mv to')$$);
RESET ROLE;
DROP OWNED BY mv_user;
DROP ROLE mv_user;
SELECT queue.pause('mv to', dequeue => false);
SELECT error_of($$SELECT queue.move('mv from', 'mv to')$$);
SELECT queue.resume('mv to');
\pset tuples_only off
\pset format aligned

SELECT queue.move('mv from', 'mv to');

-- What a message keeps; ready before delayed ones, dead ones are ready, leased
-- ones stay.
SELECT queue.enqueue('mv from', '"leased"') > 0 AS ok;
SELECT queue.enqueue('mv from', '"dead"') > 0 AS ok;
SELECT body FROM queue.dequeue('mv from');
SELECT queue.nack('mv from', receipt) FROM queue.dequeue('mv from');
SELECT queue.enqueue('mv from', '"ready"', 'bytes', '{"h": 1}', 'k') > 0 AS ok;
SELECT queue.enqueue('mv from', '"delayed"', delay => '50 min') > 0 AS ok;
SELECT queue.enqueue('mv from', '"parked"', delay => '5 h') > 0 AS ok;
SELECT queue.enqueue('mv from', '"ttl"', ttl => '40 min') > 0 AS ok;
SELECT queue.enqueue('mv from', '"last"') > 0 AS ok;
BEGIN;
SELECT queue.move('mv from', 'mv to');
SELECT count(*) FROM queue.peek('mv to');
ROLLBACK;
SELECT count(*) FROM queue.peek('mv to');
SELECT count(*) FROM queue.peek('mv from');
SELECT queue.move('mv from', 'mv to');
SELECT body, encode(payload, 'escape') AS payload, headers, key, deliveries, failures, state,
       round(extract(epoch FROM visible_at - now()) / 600) * 10 AS visible_in,
       round(extract(epoch FROM expires_at - now()) / 600) * 10 AS expires_in
  FROM queue.peek('mv to') ORDER BY state DESC, id;
SELECT body, state FROM queue.peek('mv from');
SELECT body FROM queue.dequeue('mv to', 10);
SELECT queue.purge('mv to');

-- Back and forth in one transaction, with what the transaction sent itself.
BEGIN;
SELECT queue.enqueue('mv from', '"own"') > 0 AS ok;
SELECT queue.move('mv from', 'mv to');
SELECT queue.move('mv to', 'mv from');
SELECT queue.move('mv from', 'mv to');
COMMIT;
SELECT body FROM queue.pop('mv to', 10);

-- max and filter; order.
SELECT cardinality(queue.enqueue_batch('mv from',
    (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 5000) i),
    headers => (SELECT array_agg(jsonb_build_object('odd', i % 2 = 1)) FROM generate_series(1, 5000) i))) AS n;
SELECT queue.move('mv from', 'mv to', 3);
SELECT array_agg(body ORDER BY id) FROM queue.peek('mv to');
SELECT queue.move('mv from', 'mv to', filter => '{"odd": true}');
SELECT queue.move('mv from', 'mv to', filter => '{"odd": true}');
SELECT count(*) FROM queue.peek('mv from', 10000);
SELECT queue.move('mv from', 'mv to', 2000, '{"odd": false}');
SELECT array_agg(body ORDER BY id) = (SELECT array_agg(to_jsonb(i)) FROM
           (SELECT i FROM generate_series(1, 3) i
            UNION ALL SELECT i FROM generate_series(5, 5000, 2) i
            UNION ALL SELECT i FROM generate_series(4, 4002, 2) i) s) AS in_order,
       count(*)
  FROM queue.peek('mv to', 10000);
SELECT queue.move('mv to', 'mv from'), queue.move('mv from', 'mv to', 10000);
SELECT ready, total FROM queue.stats WHERE queue = 'mv to';

-- Large values.
SELECT queue.purge('mv to'), queue.purge('mv from');
SELECT queue.enqueue('mv from', payload => decode(repeat('ab', 100000), 'hex')) > 0 AS ok;
SELECT queue.enqueue('mv from', jsonb_build_object('s', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i))) > 0 AS ok;
SELECT queue.move('mv from', 'mv to');
SELECT length(payload), md5(body->>'s') = md5((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i)) AS same
  FROM queue.dequeue('mv to', 10);

SELECT queue.drop('mv from', force => true), queue.drop('mv to', force => true);
