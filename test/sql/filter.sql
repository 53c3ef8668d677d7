--
-- filter: a message is offered when its headers contain the filter; the
-- others stay as they are.
--
SELECT queue.create('filt', retry_delay => '0', retry_backoff => 'none');
CREATE FUNCTION bodies(filter jsonb, max int = 100) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(body #>> '{}', ' ') FROM queue.dequeue('filt', max, filter => filter);
$$;
CREATE FUNCTION fill(n int) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(queue.enqueue('filt', to_jsonb(i), headers => CASE WHEN i % 10 <> 0 THEN
               jsonb_build_object('n', i % 10, 'kind', jsonb_build_object('a', i % 3)) END))
      FROM generate_series(1, n) i;
$$;

-- As @> says: one field, two, a part of a field; those without headers only
-- without a filter.
SELECT fill(30);
SELECT bodies('{"n": 4}');
SELECT bodies('{"n": 4}');
SELECT bodies('{"n": 5, "kind": {"a": 0}}');
SELECT bodies('{"kind": {"a": 2}}', 3);
SELECT bodies('{"nothing": 1}');
SELECT bodies('{}', 3);
SELECT body, deliveries, state FROM queue.peek('filt', 100, state => 'ready') ORDER BY id;
SELECT bodies(NULL);
SELECT queue.purge('filt') > 0 AS ok;

-- What comes back, comes later, or comes in another way is found, although
-- the page was looked at before.
SELECT fill(20);
SELECT bodies('{"x": 1}');
SELECT queue.enqueue('filt', '"sent"', headers => '{"x": 1}') > 0 AS ok;
SELECT body, receipt AS r FROM queue.dequeue('filt', filter => '{"x": 1}') \gset
SELECT bodies('{"x": 1}');
SELECT queue.release('filt', :r);
SELECT body, receipt AS r FROM queue.dequeue('filt', filter => '{"x": 1}') \gset
SELECT bodies('{"x": 1}');
SELECT queue.nack('filt', :r, '1 s');
SELECT bodies('{"x": 1}');
SELECT wait_until($$'sent' = bodies('{"x": 1}')$$);
SELECT bodies('{"x": 1}');
SELECT queue.enqueue('filt', '"late"', headers => '{"x": 1}', delay => '1 s') > 0 AS ok;
SELECT bodies('{"x": 1}');
SELECT wait_until($$'late' = bodies('{"x": 1}')$$);
-- ... also when its lease ended.
SELECT queue.enqueue('filt', '"again"', headers => '{"x": 2}') > 0 AS ok;
SELECT body FROM queue.dequeue('filt', filter => '{"x": 2}', visibility => '1 s');
SELECT bodies('{"x": 2}');
SELECT wait_until($$'again' = bodies('{"x": 2}')$$);

-- Its own transaction's, and what a savepoint took back.
BEGIN;
SELECT bodies('{"x": 3}');
SELECT queue.enqueue('filt', '"own"', headers => '{"x": 3}') > 0 AS ok;
SAVEPOINT s;
SELECT body FROM queue.pop('filt', filter => '{"x": 3}');
SELECT bodies('{"x": 3}');
ROLLBACK TO s;
SELECT body FROM queue.pop('filt', filter => '{"x": 3}');
SELECT queue.enqueue('filt', '"undone"', headers => '{"x": 3}') > 0 AS ok;
ROLLBACK;
SELECT bodies('{"x": 3}');
BEGIN;
SELECT queue.enqueue('filt', '"own"', headers => '{"x": 3}') > 0 AS ok;
COMMIT;
BEGIN;
SELECT body FROM queue.pop('filt', filter => '{"x": 3}');
ROLLBACK;
SELECT body FROM queue.pop('filt', 9, filter => '{"x": 3}');
SELECT queue.purge('filt') > 0 AS ok;

-- With priorities the higher ones that fit come first.
SELECT count(queue.enqueue('filt', to_jsonb(i), priority => i % 10,
                           headers => jsonb_build_object('odd', i / 10 % 2)))
  FROM generate_series(1, 40) i;
SELECT bodies('{"odd": 1}', 5);
SELECT bodies('{"odd": 0}', 5);
SELECT bodies('{"odd": 1}');
SELECT queue.purge('filt') > 0 AS ok;

-- Never fewer than max while more can be claimed: one in a hundred, on many
-- pages, and more filters than a session remembers.
SELECT count(queue.enqueue('filt', to_jsonb(i), payload => repeat('x', 500)::bytea,
                           headers => jsonb_build_object('n', i % 100)))
  FROM generate_series(1, 3000) i;
SELECT n, count(*) FROM generate_series(1, 30) n,
       LATERAL queue.dequeue('filt', 20, filter => jsonb_build_object('n', n)) m
 GROUP BY n HAVING count(*) <> 20;
SELECT n, count(*) FROM generate_series(1, 30) n,
       LATERAL queue.dequeue('filt', 20, filter => jsonb_build_object('n', n)) m
 GROUP BY n HAVING count(*) <> 10;
SELECT count(*) FROM queue.pop('filt', 10000, filter => '{"n": 0}');
SELECT count(*) FROM queue.dequeue('filt', 10000);
SELECT queue.purge('filt') > 0 AS ok;

-- Headers out of line.
SELECT queue.enqueue('filt', '"long"', headers => jsonb_build_object('to', 'x', 'long',
       (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 2000) i))) > 0 AS ok;
SELECT queue.enqueue('filt', '"short"', headers => '{"to": "y"}') > 0 AS ok;
SELECT bodies('{"to": "y"}'), bodies('{"to": "x"}');

-- A wait is for what fits, and ends in time when only other messages come.
SELECT queue.enqueue('filt', '"other"', headers => '{"a": 2}') > 0 AS ok;
SELECT body FROM queue.dequeue('filt', wait => '100 ms', filter => '{"a": 1}');
SELECT body FROM queue.pop('filt', wait => '100 ms', filter => '{"a": 1}');
SELECT body FROM queue.pop('filt', wait => '10 s', filter => '{"a": 2}');

-- Errors.
SELECT error_of(format('SELECT queue.dequeue(%L, filter => %L)', 'filt', f)),
       error_of(format('SELECT queue.pop(%L, filter => %L)', 'filt', f))
  FROM unnest('{1,null,"[]","\"a\"",true}'::text[]) f;

-- ... nor do those that look and move match nothing in silence.
SELECT queue.create('filt2');
SELECT error_of(format('SELECT queue.%s', f))
  FROM unnest(ARRAY[$$peek('filt', filter => '[]')$$, $$move('filt', 'filt2', filter => '1')$$,
                    $$redrive('filt', 'filt2', filter => 'null')$$]) f;
SELECT queue.drop('filt2');

-- A fifo queue: the first of each key, if it fits; what does not fit holds back
-- those behind it.
SELECT queue.create('filt_line', kind => 'fifo', visibility_timeout => '1 h');
SELECT queue.enqueue_batch('filt_line', '{1,2,3,4,5,6}',
    headers => ARRAY['{"a": 1}', '{"a": 2}', '{"a": 1}', NULL, '{"a": 1}', '{"a": 1}']::jsonb[],
    keys => '{k,k,k,l,l,NULL}') IS NULL AS n;
SELECT body, queue.ack('filt_line', receipt) FROM queue.dequeue('filt_line', 10, filter => '{"a": 1}') ORDER BY body;
SELECT body FROM queue.dequeue('filt_line', 10, filter => '{"a": 1}');
SELECT body, queue.ack('filt_line', receipt) FROM queue.dequeue('filt_line', 10, filter => '{"a": 2}');
SELECT body FROM queue.pop('filt_line', 10, filter => '{"a": 1}');
SELECT body FROM queue.pop('filt_line', 10);
SELECT body FROM queue.pop('filt_line', 10, filter => '{"a": 1}');
SELECT queue.drop('filt_line', true);

DROP FUNCTION bodies(jsonb, int), fill(int);
SELECT queue.drop('filt', true);
