--
-- redrive() gives dead messages another chance.
--
SELECT queue.create('rd dead', visibility_timeout => '1 h', retry_delay => '0');
SELECT queue.create('rd a', dead_letter => 'rd dead', max_attempts => 1, ttl => '1 h');
SELECT queue.create('rd b', dead_letter => 'rd dead', max_attempts => 1);

\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.redrive('rd deed')$$);
SELECT error_of($$SELECT queue.redrive('rd dead', 'rd c')$$);
SELECT error_of($$SELECT queue.redrive('rd dead', 'rd dead')$$);
SELECT error_of($$SELECT queue.redrive('rd dead', max => -1)$$);
SELECT error_of($$SELECT queue.redrive(NULL)$$);
\pset tuples_only off
\pset format aligned
SELECT queue.redrive('rd dead');

-- Each goes where it came from, ready, and keeps its history.
SELECT queue.enqueue('rd a', '"a"', headers => '{"x": 1}') > 0 AS ok;
SELECT queue.enqueue('rd b', '"b"') > 0 AS ok;
SELECT queue.reject('rd a', receipt) FROM queue.dequeue('rd a');
SELECT queue.nack('rd b', receipt) FROM queue.dequeue('rd b');
SELECT wait_until($$(SELECT count(*) = 2 FROM queue.peek('rd dead'))$$);
SELECT queue.enqueue('rd dead', '"stranger"') > 0 AS ok;
BEGIN;
SELECT queue.redrive('rd dead');
ROLLBACK;
SELECT count(*) FROM queue.peek('rd dead');
SELECT queue.redrive('rd dead');
SELECT body, state, failures, headers - 'x-death' AS headers, headers->'x-death'->0->>'reason' AS reason,
       expires_at > now() + interval '50 min' AS expires
  FROM (SELECT * FROM queue.peek('rd a') UNION ALL SELECT * FROM queue.peek('rd b')) s ORDER BY 1;
SELECT body FROM queue.peek('rd dead');

-- The second death counts on.
SELECT queue.reject('rd a', receipt) FROM queue.dequeue('rd a');
SELECT wait_until($$(SELECT count(*) = 2 FROM queue.peek('rd dead'))$$);
SELECT x->>'queue' AS queue, x->>'reason' AS reason, x->'count' AS count,
       (x->>'first')::timestamptz < (x->>'last')::timestamptz AS later
  FROM queue.peek('rd dead') p, jsonb_array_elements(p.headers->'x-death') x;

-- A target takes all, also those without a history; max; filter.
SELECT queue.redrive('rd dead', 'rd b', 1);
SELECT queue.redrive('rd dead', 'rd b', filter => '{"x": 1}') +
       queue.redrive('rd dead', 'rd b', filter => '{"x": 1}') AS filtered;
SELECT queue.redrive('rd dead', 'rd b');
SELECT queue.redrive('rd dead', 'rd b');
SELECT count(*) FROM queue.peek('rd b');
SELECT queue.purge('rd b');

-- A queue that is gone: its messages stay.  Paused: an error.
SELECT queue.create('rd gone', dead_letter => 'rd dead');
SELECT queue.enqueue('rd gone', '"gone"') > 0 AS ok;
SELECT queue.enqueue('rd b', '"b"') > 0 AS ok;
SELECT queue.reject('rd gone', receipt) FROM queue.dequeue('rd gone');
SELECT queue.reject('rd b', receipt) FROM queue.dequeue('rd b');
SELECT wait_until($$(SELECT count(*) = 2 FROM queue.peek('rd dead'))$$);
SELECT queue.drop('rd gone');
SELECT queue.pause('rd b');
SELECT error_of($$SELECT queue.redrive('rd dead')$$);
SELECT queue.resume('rd b');
SELECT queue.redrive('rd dead');
SELECT body FROM queue.peek('rd dead');
SELECT queue.purge('rd dead'), queue.purge('rd b');

-- Privileges: on the queue, and on each target.
CREATE ROLE rd_user;
SELECT queue.enqueue('rd b', '"b"') > 0 AS ok;
SELECT queue.reject('rd b', receipt) FROM queue.dequeue('rd b');
SELECT wait_until($$(SELECT count(*) = 1 FROM queue.peek('rd dead'))$$);
SET ROLE rd_user;
SELECT error_of($$SELECT queue.redrive('rd dead')$$);
RESET ROLE;
SELECT queue.grant_access('rd dead', 'rd_user', 'receive');
SET ROLE rd_user;
SELECT error_of($$SELECT queue.redrive('rd dead')$$);
RESET ROLE;
SELECT queue.grant_access('rd b', 'rd_user', 'send');
SET ROLE rd_user;
SELECT queue.redrive('rd dead');
RESET ROLE;
DROP OWNED BY rd_user;
DROP ROLE rd_user;

-- Without a dead-letter queue: back into the queue itself; other messages
-- stay as they are.
SELECT queue.create('rd own', max_attempts => 1, visibility_timeout => '1 h');
SELECT cardinality(queue.enqueue_batch('rd own', (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 3000) i))) AS n;
SELECT queue.reject_batch('rd own', array_agg(receipt)) FROM queue.dequeue('rd own', 2500);
SELECT queue.enqueue('rd own', '"delayed"', delay => '1 h') > 0 AS ok;
SELECT ready, delayed, dead FROM queue.stats WHERE queue = 'rd own';
SELECT queue.redrive('rd own', max => 100);
SELECT queue.redrive('rd own', filter => '{"a": 1}');
SELECT queue.redrive('rd own');
SELECT queue.redrive('rd own');
SELECT ready, delayed, dead FROM queue.stats WHERE queue = 'rd own';
SELECT count(*), count(DISTINCT body), max(failures), max(deliveries), count(headers), count(DISTINCT id)
  FROM queue.dequeue('rd own', 5000);
SELECT body, state FROM queue.peek('rd own', state => 'delayed');

SELECT queue.drop(queue, force => true) FROM queue.queues WHERE queue LIKE 'rd %' ORDER BY queue;
