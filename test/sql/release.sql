--
-- release(), reject() and extend() change a lease at once; what does not fit is
-- false, not an error.
--
SELECT queue.create('rel', max_attempts => 2);
SELECT count(queue.enqueue('rel', to_jsonb(i))) FROM generate_series(1, 3) i;

-- release: claimable again at once, no failure, also over max_attempts.
SELECT queue.release('rel', receipt) FROM queue.dequeue('rel');
SELECT queue.release('rel', receipt, '0') FROM queue.dequeue('rel');
SELECT queue.release('rel', receipt, NULL) FROM queue.dequeue('rel');
SELECT body, deliveries, failures, receipt AS r FROM queue.dequeue('rel') \gset
SELECT :'body' AS body, :deliveries AS deliveries, :failures AS failures;

-- With a delay; then the receipt is worth nothing.
SELECT queue.release('rel', :r, '1 h');
SELECT queue.release('rel', :r), queue.ack('rel', :r), queue.nack('rel', :r),
       queue.reject('rel', :r), queue.extend('rel', :r, '1 s');
SELECT body, state, failures, visible_at > clock_timestamp() + '59 min' AS later
  FROM queue.peek('rel', state => 'delayed');

-- Not undone by rollback.
SELECT receipt AS r FROM queue.dequeue('rel') \gset
BEGIN;
SELECT queue.release('rel', :r);
ROLLBACK;
SELECT queue.ack('rel', :r);
BEGIN;
SELECT receipt AS r FROM queue.dequeue('rel') \gset
SELECT queue.release('rel', :r);
ROLLBACK;
SELECT body, deliveries, failures FROM queue.dequeue('rel');

-- release_batch.
SELECT queue.purge('rel');
SELECT count(queue.enqueue('rel', to_jsonb(i))) FROM generate_series(1, 500) i;
SELECT array_agg(receipt) AS rs FROM queue.dequeue('rel', 500) \gset
SELECT queue.release_batch('rel', :'rs');
SELECT queue.release_batch('rel', :'rs', '1 h');
SELECT count(*), max(failures) FROM queue.dequeue('rel', 500);
SELECT queue.release_batch('rel', NULL), queue.release_batch('rel', '{}'),
       queue.release_batch('rel', '{NULL,0,-1}');

-- extend: the lease ends that much from now, longer or shorter; the receipt
-- stays good.
SELECT queue.create('ext');
SELECT queue.enqueue('ext', '"x"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('ext') \gset
SELECT queue.extend('ext', :r, '1 h');
SELECT state, visible_at BETWEEN clock_timestamp() + '59 min' AND clock_timestamp() + '1 h' AS extended
  FROM queue.peek('ext');
SELECT queue.extend('ext', :r, '178000000 years');
SELECT state, visible_at > '3000-01-01' AS far FROM queue.peek('ext');
BEGIN;
SELECT queue.extend('ext', :r, '1 min');
ROLLBACK;
SELECT state, visible_at < clock_timestamp() + '1 h' AS short FROM queue.peek('ext');
SELECT queue.extend_batch('ext', ARRAY[:r, NULL, 0, :r], '2 h');
SELECT queue.extend('ext', :r, '1 us');
SELECT deliveries, failures FROM queue.dequeue('ext', wait => '20 s');
SELECT queue.extend('ext', :r, '1 h'), queue.ack('ext', :r);
SELECT queue.extend_batch('ext', NULL, '1 s'), queue.extend_batch('ext', '{}', '1 s');
SELECT state, count(*) FROM queue.peek('ext') GROUP BY state;

-- A lease that is over but not taken by anybody can be extended again.
SELECT queue.purge('ext');
SELECT queue.enqueue('ext', '"y"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('ext', visibility => '1 us') \gset
SELECT queue.extend('ext', :r, '1 h');
SELECT * FROM queue.dequeue('ext');
SELECT queue.ack('ext', :r);

-- reject: dead at once, whatever max_attempts; kept, not delivered.
SELECT queue.create('rej');
SELECT count(queue.enqueue('rej', to_jsonb(i))) FROM generate_series(1, 4) i;
SELECT receipt AS r FROM queue.dequeue('rej') \gset
BEGIN;
SELECT queue.reject('rej', :r, 'bad input');
ROLLBACK;
SELECT queue.reject('rej', :r), queue.ack('rej', :r);
SELECT body, state, deliveries, failures, visible_at FROM queue.peek('rej', state => 'dead');
SELECT queue.reject_batch('rej', array_agg(receipt) || 0::bigint, 'all bad')
  FROM queue.dequeue('rej', 2);
SELECT queue.reject_batch('rej', NULL), queue.reject_batch('rej', '{}', NULL);
SELECT body FROM queue.dequeue('rej', 10);
SELECT dead, leased, ready, dead_lettered FROM queue.stats WHERE queue = 'rej';
SELECT queue.cancel('rej', 1);
SELECT count(*) FROM queue.peek('rej', state => 'dead');

-- A reason of any length.
SELECT queue.enqueue('rej', '5') > 0 AS ok;
SELECT queue.reject('rej', receipt, repeat('long ', 100000)) FROM queue.dequeue('rej');
SELECT queue.enqueue('rej', '6') > 0 AS ok;
SELECT queue.nack('rej', receipt, '0', E'\u20ac\n') FROM queue.dequeue('rej');

\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.release('rel', 1, '-1 s')$$);
SELECT error_of($$SELECT queue.release_batch('rel', '{1}', '-1 s')$$);
SELECT error_of($$SELECT queue.release(NULL, 1)$$);
SELECT error_of($$SELECT queue.release('nowhere', 1)$$);
SELECT error_of($$SELECT queue.release_batch('nowhere', NULL)$$);
SELECT error_of($$SELECT queue.extend('ext', 1, NULL)$$);
SELECT error_of($$SELECT queue.extend('ext', 1, '0')$$);
SELECT error_of($$SELECT queue.extend('ext', 1, '-1 s')$$);
SELECT error_of($$SELECT queue.extend(NULL, 1, '1 s')$$);
SELECT error_of($$SELECT queue.extend('nowhere', 1, '1 s')$$);
SELECT error_of($$SELECT queue.extend_batch('ext', '{1}', NULL)$$);
SELECT error_of($$SELECT queue.extend_batch('nowhere', NULL, '1 s')$$);
SELECT error_of($$SELECT queue.reject(NULL, 1)$$);
SELECT error_of($$SELECT queue.reject('nowhere', 1)$$);
SELECT error_of($$SELECT queue.reject_batch('nowhere', '{}')$$);
\pset format aligned
\pset tuples_only off

SELECT queue.drop(name, true) FROM unnest('{rel,ext,rej}'::text[]) name;
