--
-- Each kind of error has the SQLSTATE that is documented for it, also outside
-- of a subtransaction, ends its transaction as errors do, and leaves every
-- message as it was.
--
SELECT queue.create('err', max_message_bytes => 1000, comment => 'here');
SELECT queue.enqueue('err', to_jsonb(i)) FROM generate_series(1, 3) i;
SELECT queue.reject('err', receipt) FROM queue.dequeue('err');
SELECT receipt AS r FROM queue.dequeue('err', visibility => '1 h') \gset
CREATE VIEW looks AS
SELECT string_agg(concat_ws('|', id, visible_at, lease, deliveries, failures, body), ',' ORDER BY id) AS look
  FROM queue.err;
SELECT look AS before FROM looks \gset
CREATE ROLE queue_test_stranger;

-- no such queue
SELECT queue.enqueue('er', '1');
\echo :LAST_ERROR_SQLSTATE
-- exists with other properties
SELECT queue.create('err');
\echo :LAST_ERROR_SQLSTATE
-- bad values
SELECT queue.dequeue('err', 0);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('err', '1', delay => '-1 s');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.create('');
\echo :LAST_ERROR_SQLSTATE
-- NULL
SELECT queue.ack(NULL, :r);
\echo :LAST_ERROR_SQLSTATE
-- not yet
SELECT queue.create('err stream', kind => 'stream');
\echo :LAST_ERROR_SQLSTATE
-- no privilege
SET ROLE queue_test_stranger;
SELECT queue.ack('err', :r);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.nack('err', :r, '0');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.purge('err');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
-- paused
SELECT queue.pause('err');
SELECT queue.pop('err');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.resume('err');
-- too long
SELECT queue.enqueue('err', payload => repeat('x', 1001)::bytea);
\echo :LAST_ERROR_SQLSTATE
-- not empty
SELECT queue.drop('err');
\echo :LAST_ERROR_SQLSTATE
-- read only
BEGIN READ ONLY;
SELECT queue.pop('err');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- wait in a fixed snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT queue.dequeue('err', wait => '1 s');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
-- plain SQL
DELETE FROM queue.err;
\echo :LAST_ERROR_SQLSTATE
-- wrong types and arguments
SELECT queue.enqueue('err', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('err', '{');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.ack('err', 'x');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.dequeue('err', no_such => 1);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue();
\echo :LAST_ERROR_SQLSTATE

SELECT look = :'before' AS unchanged FROM looks;

-- An error in the middle of a transaction.
BEGIN;
SELECT queue.ack('err', :r);
SELECT queue.enqueue('err', '9') > 0 AS ok;
SELECT queue.enqueue('er', '9');
SELECT queue.ack('err', :r);
\echo :LAST_ERROR_SQLSTATE
COMMIT;
SELECT look = :'before' AS unchanged FROM looks;
SELECT queue.ack('err', :r);

DROP VIEW looks;
DROP ROLE queue_test_stranger;
SELECT queue.drop('err', true);
