--
-- Plain SQL does not write to a queue's tables, by whatever way, and says what
-- does.
--
SELECT queue.create('ref');
SELECT queue.enqueue('ref', '1') > 0 AS ok;
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'ref' AND s.chain = 'm' \gset

INSERT INTO queue.ref (id) VALUES (1);
\echo :LAST_ERROR_SQLSTATE
UPDATE queue.ref SET lease = 5;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM queue.ref;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE queue.ref;
\echo :LAST_ERROR_SQLSTATE
DELETE FROM ONLY queue.ref;
UPDATE queue.ref SET lease = 5 WHERE false;
INSERT INTO queue.ref SELECT * FROM queue.ref;
INSERT INTO queue.ref (id) VALUES (1) ON CONFLICT DO NOTHING;
COPY queue.ref (id) FROM stdin;
1
\.
MERGE INTO queue.ref r USING (VALUES (1)) v (id) ON r.id = v.id WHEN MATCHED THEN DELETE;
WITH gone AS (DELETE FROM queue.ref RETURNING id) SELECT * FROM gone;

-- The segments too, whose names are the extension's affair.
CREATE FUNCTION refused(statement text) RETURNS text LANGUAGE sql AS $$
    SELECT regexp_replace(error_of(statement), '"q\d+_s\d+"', '"SEGMENT"')
$$;
SELECT refused(format(s, :'segment'))
  FROM unnest(ARRAY['INSERT INTO %s (id) VALUES (1)', 'UPDATE %s SET lease = 5',
                    'DELETE FROM %s', 'TRUNCATE %s',
                    'TRUNCATE queue.queue_def, %s']) s;

-- As a replica of logical replication would, too.
SET session_replication_role = replica;
SELECT refused(format(s, :'segment'))
  FROM unnest(ARRAY['INSERT INTO %s (id) VALUES (1)', 'DELETE FROM queue.ref', 'TRUNCATE %s']) s;
SET session_replication_role = local;
SELECT refused('DELETE FROM queue.ref') ~ '^55000' AS refused;
RESET session_replication_role;

-- Reading is allowed, to who has the privilege; so are row locks, and the
-- message is delivered when they are gone.
SELECT id, body FROM queue.ref;
BEGIN;
SELECT id FROM queue.ref FOR UPDATE;
COMMIT;
SELECT body FROM queue.dequeue('ref', 1, '1 us', wait => '20 s');
BEGIN;
SELECT id FROM queue.ref FOR KEY SHARE;
SAVEPOINT s;
SELECT id FROM queue.ref FOR NO KEY UPDATE;
ROLLBACK TO s;
SELECT id FROM queue.ref FOR SHARE;
ROLLBACK;
SELECT body FROM queue.dequeue('ref', wait => '20 s');
COPY (SELECT id, body FROM queue.ref) TO stdout;

-- The trigger function refuses to be called, and to serve another table as
-- anything but a guard.
SELECT queue._refuse_write();
CREATE TEMP TABLE mine (a int);
CREATE TRIGGER guard BEFORE INSERT ON mine EXECUTE FUNCTION queue._refuse_write();
INSERT INTO mine VALUES (1);
DROP TABLE mine;

SELECT body FROM queue.peek('ref');
DROP FUNCTION refused;
SELECT queue.drop('ref', true);
