--
-- Every function that changes anything is refused in a read-only transaction,
-- before it looks at its arguments; those that only look work there.
--
SELECT queue.create('ro');
SELECT queue.enqueue('ro', '1'), queue.enqueue('ro', '2');
SELECT receipt AS r FROM queue.dequeue('ro') \gset
BEGIN READ ONLY;
SELECT call, error_of((CASE WHEN call LIKE 'receive%' THEN 'CALL' ELSE 'SELECT' END)
                      || ' queue.' || call) AS error
  FROM unnest(ARRAY[
        'create(''new'')', 'create(''ro'')', 'alter(''ro'')', 'alter(''ro'', delay => ''1 s'')',
        'drop(''ro'', true)', 'purge(''ro'')', 'pause(''ro'')', 'resume(''ro'')',
        'grant_access(''ro'', ''pg_monitor'', ''send'')',
        'revoke_access(''ro'', ''pg_monitor'', ''send'')',
        'enqueue(''ro'')', 'enqueue_batch(''ro'', ''{}'')', 'dequeue(''ro'')',
        'dequeue(''ro'', wait => ''1 h'')', 'dequeue_any(''{ro}'')', 'receive(''ro'')',
        'pop(''ro'')', 'ack(''ro'', NULL)', 'ack_batch(''ro'', ''{}'')', 'nack(''ro'', 0)',
        'nack_batch(''ro'', ''{}'')', 'release(''ro'', 0)', 'release_batch(''ro'', ''{}'')',
        'reject(''ro'', 0)', 'reject_batch(''ro'', ''{}'')', 'extend(''ro'', 0, ''1 s'')',
        'extend_batch(''ro'', ''{}'', ''1 s'')', 'cancel(''ro'', 0)', 'enqueue(NULL)']) call;
SELECT queue.ack('ro', :r);
ROLLBACK;
BEGIN READ ONLY;
SELECT body, state FROM queue.peek('ro') ORDER BY id;
SELECT body FROM queue.get('ro', 2);
SELECT queue, state FROM queue.queues;
SELECT ready, leased, total FROM queue.stats;
SELECT id, deliveries FROM queue.in_flight;
SELECT DISTINCT queue FROM queue.segments;
SELECT count(*) > 0 AS ok FROM queue.workers;
SELECT state FROM queue.consumers;
COMMIT;

-- A transaction that becomes read-only after it has written.
BEGIN;
SELECT queue.enqueue('ro', '3') > 0 AS ok;
SET TRANSACTION READ ONLY;
SAVEPOINT s;
SELECT queue.enqueue('ro', '4');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK TO s;
COMMIT;
SELECT count(*) FROM queue.peek('ro');

-- As a default of the session.
SET default_transaction_read_only = on;
SELECT queue.dequeue('ro');
\echo :LAST_ERROR_SQLSTATE
RESET default_transaction_read_only;

-- Nothing has happened.
SELECT queue.ack('ro', :r);
SELECT body, deliveries FROM queue.dequeue('ro', 10);

-- No function of the extension runs in a parallel worker.
SELECT count(*) AS not_unsafe FROM pg_proc
 WHERE pronamespace = 'queue'::regnamespace AND proparallel <> 'u';
SELECT queue.drop('ro', true);
