--
-- A queue with single_active serves one session at a time: the first that asks
-- for messages, until it ends or steps down.  More in iso_single_active.
--
SELECT queue.create('sin', single_active => true);
SELECT single_active FROM queue.queues WHERE queue = 'sin';
SELECT queue.enqueue_batch('sin', '{1,2,3,4,5,6,7}') IS NOT NULL AS ok;

-- Nobody, as long as nobody asks; looking is not asking.
SELECT count(*) FROM queue.peek('sin');
SELECT count(*) FROM queue.consumers WHERE queue = 'sin';
SELECT queue.step_down('sin');

-- dequeue, pop, receive and dequeue_any make a session the active one.
SELECT body FROM queue.dequeue('sin');
SELECT state, single_active, pid = pg_backend_pid() AS me
  FROM queue.consumers WHERE queue = 'sin';
SELECT queue.step_down('sin');
SELECT queue.step_down('sin');
SELECT single_active FROM queue.consumers WHERE queue = 'sin';
SELECT body FROM queue.pop('sin');
SELECT queue.step_down('sin');
SELECT body FROM queue.dequeue_any('{sin}');
SELECT queue.step_down('sin');
DO $$
DECLARE
    m queue.message[];
BEGIN
    CALL queue.receive('sin', messages => m);
    RAISE NOTICE '%', m[1].body;
END $$;
SELECT queue.step_down('sin');

-- Also when there is nothing for it, and whatever becomes of the transaction.
SELECT queue.purge('sin') > 0 AS ok;
BEGIN;
SELECT count(*) FROM queue.dequeue('sin');
ROLLBACK;
SELECT state, single_active FROM queue.consumers WHERE queue = 'sin';

-- The end of the session is the end of that.
SELECT pg_backend_pid() AS old \gset
\c -
SELECT queue.enqueue('sin', '8') > 0 AS ok;
SELECT body FROM queue.dequeue('sin', wait => '10 s');
SELECT single_active, pid <> :old AS another
  FROM queue.consumers WHERE queue = 'sin';

-- Changed to an ordinary queue and back.
SELECT queue.alter('sin', single_active => false);
SELECT count(*) FROM queue.dequeue('sin');
SELECT queue.step_down('sin');
SELECT single_active FROM queue.consumers WHERE queue = 'sin';
SELECT queue.alter('sin', single_active => true);
SELECT count(*) FROM queue.dequeue('sin');
SELECT queue.step_down('sin');

-- An ordinary queue has no active session.
SELECT queue.create('ord');
SELECT count(*) FROM queue.dequeue('ord');
SELECT queue.step_down('ord');
SELECT error_of($$SELECT queue.step_down('nowhere')$$);
SELECT error_of($$SELECT queue.step_down(NULL)$$);

SELECT queue.drop(queue, force => true) FROM queue.queues;
