--
-- Dead letters that their dead-letter queue cannot take, or that would go
-- round: they stay where they are, dead, and the others go.
--
CREATE FUNCTION dead_in(name text) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(body::text || ' ' || state, ', ' ORDER BY body) FROM queue.peek(name, 100) $$;

-- A key that is too long for a fifo queue: by one byte, or for any row.
SELECT queue.create('ds_line', kind => 'fifo');
SELECT queue.create('ds_work', dead_letter => 'ds_line', visibility_timeout => '1 h', retry_delay => '0');
SELECT queue.enqueue_batch('ds_work', '{1,2,3,4,5}', keys => ARRAY[repeat('k', 1024), repeat('k', 1025),
    'k', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 400) i), NULL]) IS NULL AS n;
SELECT queue.reject_batch('ds_work', array_agg(receipt)) FROM queue.dequeue('ds_work', 10);
SELECT wait_until($$dead_in('ds_line') = '1 ready, 3 ready, 5 ready'$$);
SELECT dead_in('ds_line'), dead_in('ds_work');
-- Those that die later do not wait behind them, for long.
SELECT queue.enqueue('ds_work', '6', key => 'k') > 0 AS ok;
SELECT queue.reject('ds_work', receipt) FROM queue.dequeue('ds_work');
SELECT wait_until($$dead_in('ds_work') = '2 dead, 4 dead'$$);
SELECT dead_in('ds_line');
-- Nor can they be brought there by hand, and nothing is lost of a call.
SELECT error_of($$SELECT queue.move('ds_work', 'ds_line')$$);
SELECT error_of($$SELECT queue.redrive('ds_work', 'ds_line')$$);
SELECT dead_in('ds_work');
-- Into a queue of kind work they go.
SELECT queue.create('ds_other');
SELECT queue.alter('ds_work', dead_letter => 'ds_other');
SELECT wait_until($$dead_in('ds_other') = '2 ready, 4 ready'$$);
SELECT dead_in('ds_work');

-- A message of a fifo queue that goes to its dead-letter queue lets its key go
-- on, at once.
SELECT queue.create('ds_key', kind => 'fifo', dead_letter => 'ds_other', visibility_timeout => '1 h');
SELECT queue.purge('ds_other');
SELECT queue.enqueue_batch('ds_key', '{1,2}', keys => '{k,k}') IS NULL AS n;
SELECT body, receipt FROM queue.dequeue('ds_key') \gset
SELECT count(*) FROM queue.dequeue('ds_key', 10);
SELECT queue.reject('ds_key', :receipt);
SELECT body FROM queue.dequeue('ds_key', 10);
SELECT wait_until($$dead_in('ds_other') = '1 ready'$$);
SELECT dead_in('ds_key');

-- drop_oldest passes over what its dead-letter queue cannot take.
SELECT queue.purge('ds_line');
SELECT queue.create('ds_full', dead_letter => 'ds_line', max_messages => 2, overflow => 'drop_oldest');
SELECT queue.enqueue('ds_full', '1', key => repeat('k', 1025)) > 0 AS ok;
SELECT queue.enqueue('ds_full', '2') > 0 AS ok;
SELECT queue.enqueue('ds_full', '3', key => repeat('k', 1025)) > 0 AS ok;
SELECT dead_in('ds_full'), dead_in('ds_line');
SELECT error_of($$SELECT queue.enqueue('ds_full', '4')$$);

-- Two queues that are each other's, and consumers that only fail: it stays
-- where it would have gone round, dead; after a rejection it goes on.
SELECT queue.create('ds_a', max_attempts => 1, visibility_timeout => '1 h');
SELECT queue.create('ds_b', max_attempts => 1, visibility_timeout => '1 h', dead_letter => 'ds_a');
SELECT queue.alter('ds_a', dead_letter => 'ds_b');
SELECT queue.enqueue_batch('ds_a', '{1,2,3}', headers => ARRAY['{"x": 1}', NULL, '{}']::jsonb[]) IS NULL AS n;
SELECT queue.nack_batch('ds_a', array_agg(receipt)) FROM queue.dequeue('ds_a', 10);
SELECT wait_until($$dead_in('ds_b') = '1 ready, 2 ready, 3 ready'$$);
SELECT queue.nack('ds_b', receipt) FROM queue.dequeue('ds_b');
SELECT receipt IS NOT NULL AS leased FROM queue.dequeue('ds_b', visibility => '10 ms');
SELECT queue.reject('ds_b', receipt) FROM queue.dequeue('ds_b');
SELECT wait_until($$dead_in('ds_b') = '1 dead, 2 dead'$$), wait_until($$dead_in('ds_a') = '3 ready'$$);
SELECT queue.nack('ds_a', receipt) FROM queue.dequeue('ds_a');
SELECT wait_until($$dead_in('ds_b') = '1 dead, 2 dead, 3 ready'$$);
SELECT queue.nack('ds_b', receipt) FROM queue.dequeue('ds_b');
SELECT wait_until($$dead_in('ds_b') = '1 dead, 2 dead, 3 dead'$$);
-- ... also of large headers, beside others on the page that may go
SELECT queue.enqueue_batch('ds_a', '{4,5}', headers => ARRAY[jsonb_build_object('s',
    (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i)), '{"x": 1}']) IS NULL AS n;
SELECT queue.nack_batch('ds_a', array_agg(receipt)) FROM queue.dequeue('ds_a', 10);
SELECT wait_until($$dead_in('ds_b') = '1 dead, 2 dead, 3 dead, 4 ready, 5 ready'$$);
SELECT queue.enqueue('ds_b', '6', headers => '{"x": 1}') > 0 AS ok;
SELECT queue.nack_batch('ds_b', array_agg(receipt)) FROM queue.dequeue('ds_b', 10);
SELECT wait_until($$dead_in('ds_a') = '6 ready'$$);
SELECT dead_in('ds_b');
SELECT queue, enqueued, dead_lettered, dropped FROM queue.stats WHERE queue IN ('ds_a', 'ds_b') ORDER BY 1;
-- They are dead there until somebody sees to them.
SELECT queue.redrive('ds_b', filter => '{"x": 1}');
SELECT dead_in('ds_b');
SELECT queue.create('ds_last');
SELECT queue.alter('ds_b', dead_letter => 'ds_last');
SELECT wait_until($$dead_in('ds_last') = '2 ready, 3 ready, 4 ready'$$);
SELECT dead_in('ds_b');

-- A chain of three.
SELECT queue.create('ds_3', max_attempts => 1, visibility_timeout => '1 h');
SELECT queue.create('ds_2', max_attempts => 1, visibility_timeout => '1 h', dead_letter => 'ds_3');
SELECT queue.create('ds_1', max_attempts => 1, visibility_timeout => '1 h', dead_letter => 'ds_2');
SELECT queue.alter('ds_3', dead_letter => 'ds_1');
SELECT queue.enqueue('ds_1', '1') > 0 AS ok;
SELECT queue.nack('ds_1', receipt) FROM queue.dequeue('ds_1');
SELECT queue.nack('ds_2', receipt) FROM queue.dequeue('ds_2', wait => '10 s');
SELECT queue.nack('ds_3', receipt) FROM queue.dequeue('ds_3', wait => '10 s');
SELECT count(*) FROM queue.dequeue('ds_1', wait => '500 ms');
SELECT dead_in('ds_1'), dead_in('ds_2'), dead_in('ds_3');

DROP FUNCTION dead_in;
SELECT queue.drop(queue, force => true) FROM queue.queues WHERE queue LIKE 'ds\_%' ORDER BY queue;
