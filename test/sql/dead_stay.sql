--
-- Dead letters that their dead-letter queue cannot take: they stay where they
-- are, dead, and the others go.
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

-- drop_oldest passes over what its dead-letter queue cannot take.
SELECT queue.purge('ds_line');
SELECT queue.create('ds_full', dead_letter => 'ds_line', max_messages => 2, overflow => 'drop_oldest');
SELECT queue.enqueue('ds_full', '1', key => repeat('k', 1025)) > 0 AS ok;
SELECT queue.enqueue('ds_full', '2') > 0 AS ok;
SELECT queue.enqueue('ds_full', '3', key => repeat('k', 1025)) > 0 AS ok;
SELECT dead_in('ds_full'), dead_in('ds_line');
SELECT error_of($$SELECT queue.enqueue('ds_full', '4')$$);

DROP FUNCTION dead_in;
SELECT queue.drop(queue, force => true) FROM queue.queues WHERE queue LIKE 'ds\_%' ORDER BY queue;
