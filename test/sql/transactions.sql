--
-- Savepoints, and several calls in one command: what a rollback takes back and
-- what it does not.
--
SELECT queue.create('txn', retry_delay => '1 h');
CREATE VIEW left_over AS SELECT body, state, deliveries, failures FROM queue.peek('txn', 1000);

-- enqueue in a savepoint that is rolled back, released, or both in turn.
BEGIN;
SELECT queue.enqueue('txn', '1') > 0 AS ok;
SAVEPOINT a;
SELECT queue.enqueue('txn', '2') > 0 AS ok;
SAVEPOINT b;
SELECT queue.enqueue('txn', '3') > 0 AS ok;
RELEASE b;
ROLLBACK TO a;
SELECT queue.enqueue('txn', '4') > 0 AS ok;
SAVEPOINT c;
SELECT queue.enqueue('txn', '5') > 0 AS ok;
RELEASE c;
SELECT * FROM left_over ORDER BY body;
COMMIT;
SELECT * FROM left_over ORDER BY body;
SELECT body, queue.ack('txn', receipt) FROM queue.dequeue('txn', 10);

-- dequeue in a savepoint: the lease stays, and the receipt is good after
-- ROLLBACK TO.
SELECT count(queue.enqueue('txn', to_jsonb(i))) FROM generate_series(1, 3) i;
BEGIN;
SAVEPOINT a;
SELECT body, receipt AS r FROM queue.dequeue('txn', visibility => '1 h') \gset
ROLLBACK TO a;
SELECT body FROM queue.dequeue('txn');
SELECT queue.ack('txn', :r);
COMMIT;
SELECT * FROM left_over ORDER BY body;

-- In PL/pgSQL: take, fail, and give back in the handler.
CREATE FUNCTION work(fail boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    m queue.message;
BEGIN
    BEGIN
        SELECT * INTO m FROM queue.dequeue('txn', visibility => '1 h');
        PERFORM 1 / CASE WHEN fail THEN 0 ELSE 1 END;
        PERFORM queue.ack('txn', m.receipt);
    EXCEPTION WHEN division_by_zero THEN
        RETURN 'failed: ' || queue.nack('txn', m.receipt, '0');
    END;
    RETURN 'done: ' || m.body::text;
END $$;
SELECT work(true);
SELECT work(false);
SELECT * FROM left_over ORDER BY body;
DROP FUNCTION work;

-- Rolled back at the top, after a rollback to a savepoint: one failure for each
-- message, whatever happened below.
SELECT queue.purge('txn');
SELECT count(queue.enqueue('txn', to_jsonb(i))) FROM generate_series(1, 4) i;
BEGIN;
SELECT body FROM queue.dequeue('txn');
SAVEPOINT a;
SELECT body, receipt AS r FROM queue.dequeue('txn') \gset
ROLLBACK TO a;
SAVEPOINT b;
SELECT receipt AS r2 FROM queue.dequeue('txn') \gset
RELEASE b;
SELECT queue.ack('txn', :r);
SELECT queue.release('txn', :r2);
ROLLBACK;
SELECT wait_until($$NOT EXISTS (SELECT FROM left_over WHERE state = 'leased')$$);
SELECT * FROM left_over ORDER BY body;

-- Committed: the leases stay as they are.
SELECT queue.purge('txn');
SELECT queue.enqueue('txn', '1') > 0 AS ok;
BEGIN;
SELECT body FROM queue.dequeue('txn', 1, '1 h');
SAVEPOINT a;
SELECT 1 / 0;
ROLLBACK TO a;
COMMIT;
SELECT * FROM left_over;

-- pop and cancel in savepoints.
SELECT queue.purge('txn');
SELECT count(queue.enqueue('txn', to_jsonb(i))) FROM generate_series(1, 4) i;
BEGIN;
SAVEPOINT a;
SELECT count(*) FROM queue.pop('txn', 2);
SAVEPOINT b;
SELECT count(*) FROM queue.pop('txn', 2);
ROLLBACK TO b;
SELECT count(*) FROM left_over;
SELECT body FROM queue.pop('txn');
ROLLBACK TO a;
SELECT count(*) FROM left_over;
SELECT queue.cancel('txn', (SELECT min(id) FROM queue.peek('txn')));
SAVEPOINT c;
SELECT queue.purge('txn');
ROLLBACK TO c;
COMMIT;
SELECT body, state FROM left_over ORDER BY body;

-- An error in the middle of a command undoes the acks of it, not the claims.
SELECT queue.purge('txn');
SELECT count(queue.enqueue('txn', to_jsonb(i))) FROM generate_series(0, 3) i;
SELECT queue.ack('txn', receipt), 1 / (2 - body::int) FROM queue.dequeue('txn', 4);
SELECT wait_until($$NOT EXISTS (SELECT FROM left_over WHERE state = 'leased')$$);
SELECT * FROM left_over ORDER BY body;

-- Several calls in one command.  What it sends it does not receive itself.
SELECT queue.purge('txn');
SELECT queue.enqueue('txn', '1') > 0 AS sent, (SELECT count(*) FROM queue.dequeue('txn')) AS got;
SELECT queue.enqueue('txn', '2') > 0 AS sent,
       (SELECT count(*) FROM queue.pop('txn', 10)) AS popped;
SELECT queue.purge('txn') >= 0 AS ok;
SELECT queue.enqueue('txn', '3') AS id \gset
SELECT queue.cancel('txn', queue.enqueue('txn', '4'));
SELECT body FROM left_over ORDER BY body;
-- twice the same
SELECT queue.cancel('txn', :id), queue.cancel('txn', :id);
SELECT a.body AS a, b.body AS b FROM queue.dequeue('txn') a FULL JOIN queue.dequeue('txn') b ON true;
SELECT queue.purge('txn') + queue.purge('txn') AS purged;
SELECT queue.enqueue('txn', '5') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('txn') \gset
SELECT queue.nack('txn', :r, '0') AS nack, queue.nack('txn', :r, '0') AS again,
       (SELECT count(*) FROM queue.pop('txn')) AS popped;
-- take, give back and take again
SELECT queue.enqueue('txn', '6') > 0 AS ok;
SELECT n, (SELECT queue.release('txn', receipt) FROM queue.dequeue('txn') WHERE n > 0) AS released
  FROM generate_series(1, 3) n;
SELECT body, deliveries FROM left_over WHERE body = '6';
-- pop, then ack what was popped
SELECT queue.ack('txn', receipt) FROM queue.pop('txn', 10);
SELECT count(*) FROM left_over;

-- Many subtransactions.
DO $$
BEGIN
    FOR i IN 1 .. 300 LOOP
        BEGIN
            PERFORM queue.enqueue('txn', to_jsonb(i));
            IF i % 3 = 0 THEN
                RAISE division_by_zero;
            END IF;
        EXCEPTION WHEN division_by_zero THEN
            NULL;
        END;
    END LOOP;
END $$;
SELECT count(*), count(DISTINCT body), sum(body::int) FROM queue.dequeue('txn', 1000);
DO $$
DECLARE
    r bigint;
BEGIN
    FOR r IN SELECT receipt FROM queue.dequeue('txn') LOOP
        RAISE 'unexpected';
    END LOOP;
END $$;

-- SERIALIZABLE: one session alone meets no conflict.
SELECT queue.purge('txn');
SELECT queue.enqueue('txn', '1') > 0 AS ok;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM queue.txn;
SELECT queue.enqueue('txn', '2') > 0 AS ok;
SELECT queue.ack('txn', receipt) FROM queue.dequeue('txn', 10);
COMMIT;
SELECT count(*) FROM left_over;

-- PREPARE TRANSACTION: sent and acked when it is committed, not before.
SELECT queue.enqueue('txn', '"old"') > 0 AS ok;
SELECT receipt AS r FROM queue.dequeue('txn', visibility => '1 h') \gset
BEGIN;
SELECT queue.enqueue('txn', '"prepared"') > 0 AS ok;
SELECT queue.ack('txn', :r);
PREPARE TRANSACTION 'queue_test';
SELECT body FROM queue.dequeue('txn');
SELECT body, state FROM left_over;
COMMIT PREPARED 'queue_test';
SELECT body FROM queue.dequeue('txn', wait => '20 s');
SELECT body, state FROM left_over;

DROP VIEW left_over;
SELECT queue.drop('txn', true);

-- A message that this transaction alone has locked, by several of its
-- subtransactions, can be claimed and acked by it.
SELECT queue.create('own locks');
SELECT queue.enqueue('own locks', '1') > 0 AS ok;
SELECT relation::text AS own_locks FROM queue.queues
 WHERE queue = 'own locks' \gset
BEGIN;
SELECT count(*) FROM (SELECT FROM :own_locks FOR KEY SHARE) l;
SAVEPOINT s;
SELECT count(*) FROM (SELECT FROM :own_locks FOR UPDATE) l;
SELECT body, queue.ack('own locks', receipt)
  FROM queue.dequeue('own locks');
COMMIT;
SELECT count(*) FROM :own_locks;
SELECT queue.drop('own locks');
