--
-- Time to live: of a queue and of a message, the lower wins.  It counts from
-- enqueue.  What has expired is never delivered, and dropped where there is no
-- dead-letter queue.
--
SELECT queue.create('ttl', ttl => '1 h', visibility_timeout => '1 h');
SELECT queue.create('nottl', visibility_timeout => '1 h', retry_delay => '0');

-- expires_at, in minutes from enqueue.
SELECT queue.enqueue('ttl', '"queue"') > 0 AS ok;
SELECT queue.enqueue('ttl', '"lower"', ttl => '10 min') > 0 AS ok;
SELECT queue.enqueue('ttl', '"higher"', ttl => '2 h') > 0 AS ok;
SELECT queue.enqueue('ttl', '"delayed"', ttl => '20 min', delay => '15 min') > 0 AS ok;
SELECT queue.enqueue('nottl', '"none"') > 0 AS ok;
SELECT queue.enqueue('nottl', '"own"', ttl => '5 min') > 0 AS ok;
SELECT cardinality(queue.enqueue_batch('nottl', '{1,2}', ttl => '1 day')) AS ok;
SELECT body, state, extract(epoch FROM expires_at - enqueued_at) / 60 AS minutes
  FROM queue.peek('ttl') ORDER BY id;
SELECT body, extract(epoch FROM expires_at - enqueued_at)::int / 60 AS minutes
  FROM queue.dequeue('nottl', max => 10) ORDER BY id;

-- Changed later: messages already sent keep what they have.
SELECT queue.alter('ttl', ttl => '1 min');
SELECT queue.enqueue('ttl', '"now"') > 0 AS ok;
SELECT body, extract(epoch FROM expires_at - enqueued_at) / 60 AS minutes
  FROM queue.peek('ttl') ORDER BY id DESC LIMIT 2;

-- Values that cannot be.
\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.enqueue('ttl', ttl => '0')$$);
SELECT error_of($$SELECT queue.enqueue('ttl', ttl => '-1 s')$$);
SELECT error_of($$SELECT queue.enqueue_batch('ttl', '{1}', ttl => '1 month -31 days')$$);
SELECT error_of($$SELECT queue.create('b', ttl => '0')$$);
SELECT error_of($$SELECT queue.alter('ttl', ttl => '-1 s')$$);
\pset tuples_only off
\pset format aligned

-- One too short to be delivered, whoever comes first, the worker or the
-- consumer; and the next one is offered.
SELECT queue.purge('nottl');
SELECT queue.enqueue('nottl', '"gone"', ttl => '1 us') > 0 AS ok;
SELECT queue.enqueue('nottl', '"here"') > 0 AS ok;
SELECT body FROM queue.dequeue('nottl', max => 10);
SELECT queue.enqueue('nottl', '"gone"', ttl => '1 us') > 0 AS ok;
SELECT body FROM queue.pop('nottl', max => 10);
BEGIN;
SELECT queue.enqueue('nottl', '"gone"', ttl => '1 us') > 0 AS ok;
SELECT body FROM queue.pop('nottl', max => 10);
COMMIT;
SELECT count(*) FROM queue.peek('nottl', state => 'ready');

-- A delayed message expires before its time.
SELECT queue.enqueue('nottl', '"late"', delay => '0.5 s', ttl => '0.1 s') > 0 AS ok;
SELECT body FROM queue.dequeue('nottl', wait => '1 s');

-- A lease protects; given back, it is too late; and a lease may end after it.
SELECT cardinality(queue.enqueue_batch('nottl', '{1,2,3,4}', ttl => '2 s')) AS ok;
SELECT receipt AS r1 FROM queue.dequeue('nottl') \gset
SELECT receipt AS r2 FROM queue.dequeue('nottl') \gset
SELECT receipt AS r3 FROM queue.dequeue('nottl') \gset
SELECT receipt AS r4 FROM queue.dequeue('nottl', visibility => '2.1 s') \gset
SELECT pg_sleep(2.05);
SELECT queue.extend('nottl', :r1, '1 h');
SELECT count(*) FROM queue.peek('nottl', state => 'leased') WHERE body IN ('1', '2', '3');
SELECT queue.release('nottl', :r1);
SELECT queue.ack('nottl', :r2);
SELECT queue.nack('nottl', :r3, '0'), queue.nack('nottl', :r3);
SELECT body FROM queue.dequeue('nottl');
SELECT body FROM queue.dequeue('nottl', wait => '0.3 s');
SELECT queue.ack('nottl', :r4);

SELECT queue.drop('ttl', force => true), queue.drop('nottl', force => true);
