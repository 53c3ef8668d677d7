--
-- enqueue_batch() sends many messages, all or nothing, in the order of its
-- arrays.
--
SELECT queue.create('bat');
SELECT queue.enqueue_batch('bat', ARRAY['1', '"two"', NULL, 'null']::jsonb[]);
SELECT id, body, body IS NULL AS sql_null, payload, headers, key
  FROM queue.dequeue('bat', 10);
SELECT queue.enqueue_batch('bat', '{1,2}', '{a,NULL}', ARRAY['{"h": 1}', NULL]::jsonb[],
                           '{k,NULL}', 0, NULL, NULL, NULL, NULL);
SELECT id, body, payload, headers, key FROM queue.dequeue('bat', 10);
SELECT queue.enqueue_batch(queue => 'bat', payloads => ARRAY['\x00', '', NULL]::bytea[]);
SELECT payload, body FROM queue.dequeue('bat', 10);

-- None, one, and an array whose first element is not number 1.
SELECT queue.enqueue_batch('bat', '{}');
SELECT queue.enqueue_batch('bat', '{}', '{}', '{}', '{}');
SELECT queue.enqueue_batch('bat', '{7}');
SELECT queue.enqueue_batch('bat', '[5:6]={8,9}');
SELECT array_lower(ids, 1), cardinality(ids)
  FROM queue.enqueue_batch('bat', ARRAY[['10', '11'], ['12', '13']]::jsonb[]) ids;
SELECT body FROM queue.dequeue('bat', 10);

-- Many: ids ascend in the order of the array.
SELECT queue.enqueue_batch('bat', array_agg(to_jsonb(i) ORDER BY i)) AS ids
  FROM generate_series(1, 12345) i \gset
SELECT count(*), count(*) FILTER (WHERE id <= lag) AS out_of_order
  FROM (SELECT id, lag(id) OVER (ORDER BY n)
          FROM unnest(:'ids'::bigint[]) WITH ORDINALITY u (id, n)) s;
SELECT count(*), count(*) FILTER (WHERE id <> (:'ids'::bigint[])[body::int]) AS wrong_id
  FROM queue.dequeue('bat', 20000);

-- The rest applies to all of them.
SELECT cardinality(queue.enqueue_batch('bat', '{1,2}', delay => '1 h'));
SELECT cardinality(queue.enqueue_batch('bat', '{3,4}', deliver_at => '2100-01-01 UTC'));
SELECT cardinality(queue.enqueue_batch('bat', '{5,6}', deliver_at => '2000-01-01 UTC'));
SELECT body, state FROM queue.peek('bat', 10, 'delayed') ORDER BY body;
SELECT body FROM queue.dequeue('bat', 10);

-- Large and small bodies mixed.
SELECT queue.purge('bat') > 0 AS ok;
SELECT cardinality(queue.enqueue_batch('bat', payloads => array_agg(
           decode(repeat(lpad(to_hex(i % 256), 2, '0'), i * i * 10), 'hex') ORDER BY i)))
  FROM generate_series(0, 150) i;
SELECT count(*) FILTER (WHERE length(payload) = n * n * 10
                          AND payload = decode(repeat(lpad(to_hex(n % 256), 2, '0'), n * n * 10), 'hex')) AS intact
  FROM (SELECT payload, row_number() OVER (ORDER BY id) - 1 AS n
          FROM queue.dequeue('bat', 1000)) s (payload, n8), LATERAL (SELECT n8::int) t (n);

-- All or nothing: the last one is too long.
SELECT queue.create('bat small', max_message_bytes => 10);
SELECT queue.enqueue_batch('bat small', payloads => array_fill('x'::bytea, '{2000}') || 'twelve bytes'::bytea);
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM queue.dequeue('bat small');
BEGIN;
SELECT cardinality(queue.enqueue_batch('bat', '{1,2,3}'));
ROLLBACK;
SELECT * FROM queue.dequeue('bat');

\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.enqueue_batch('bat')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', keys => '{a}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1,2}', '{a}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1,2}', headers => '{}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1}', keys => '{a,b}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{}', priority => 10)$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1}', delay => '-1 s')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1}', delay => '1 s', deliver_at => now())$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1}', deliver_at => 'infinity')$$);
SELECT error_of($$SELECT queue.enqueue_batch('bat', '{1}', ttl => '-1 s')$$);
SELECT error_of($$SELECT queue.enqueue_batch(NULL, '{1}')$$);
SELECT error_of($$SELECT queue.enqueue_batch('nowhere', '{1}')$$);
\pset format aligned
\pset tuples_only off
SELECT * FROM queue.dequeue('bat');

SELECT queue.drop(name, true) FROM unnest('{bat,bat small}'::text[]) name;
