--
-- A table of a queue that was changed by ordinary DDL is refused with 55000 and
-- a hint that names it; undone, the queue works as before.  What does not matter
-- for the queue is allowed.
--
SELECT queue.create('ddl');
SELECT count(queue.enqueue('ddl', to_jsonb(i))) FROM generate_series(1, 100) i;
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'ddl' AND s.chain = 'm' \gset

-- Applies a change, calls everything, undoes the change, and calls again.
-- After a rewrite enqueue waits some seconds for the worker to make a segment,
-- in vain in the same transaction: "sends" is false for that.
CREATE FUNCTION after(change text, undo text, sends boolean = true) RETURNS TABLE (what text, result text)
LANGUAGE plpgsql AS $$
DECLARE
    r bigint;
    call text;
    failed text := '';
    problem text;
BEGIN
    SELECT receipt INTO r FROM queue.dequeue('ddl', visibility => '1 h');
    EXECUTE change;
    FOREACH call IN ARRAY ARRAY['queue.enqueue(''ddl'', ''1'')',
        'queue.enqueue_batch(''ddl'', ''{1,2}'')', 'queue.dequeue(''ddl'', visibility => ''1 h'')',
        'queue.pop(''ddl'')', 'queue.peek(''ddl'')', 'queue.get(''ddl'', 50)',
        'queue.cancel(''ddl'', -5)', format('queue.extend(''ddl'', %s, ''1 h'')', r),
        format('queue.ack(''ddl'', %s)', r)]
    LOOP
        CONTINUE WHEN call ~ 'enqueue' AND NOT sends;
        result := error_of('SELECT * FROM ' || call);
        IF result <> 'no error' THEN
            failed := failed || ' ' || substring(call FROM '\.(\w+)');
            problem := coalesce(problem, result);
        END IF;
    END LOOP;
    what := 'changed';
    result := CASE WHEN failed = '' THEN 'works'
                   ELSE coalesce(nullif(replace(failed, ' enqueue enqueue_batch', ''), ' dequeue pop peek get cancel extend ack'),
                                 ' all') || E'\n' || problem END;
    result := regexp_replace(result, '"q\d+_s\d+"', '"SEGMENT"', 'g');
    RETURN NEXT;
    IF undo IS NULL THEN
        RETURN;
    END IF;
    EXECUTE undo;
    what := 'undone';
    result := '';
    SELECT receipt INTO r FROM queue.dequeue('ddl', visibility => '1 h');
    FOREACH call IN ARRAY ARRAY['queue.enqueue(''ddl'', ''1'')',
        'queue.peek(''ddl'')', 'queue.pop(''ddl'')', format('queue.ack(''ddl'', %s)', r)]
    LOOP
        IF error_of('SELECT * FROM ' || call) <> 'no error' THEN
            result := result || error_of('SELECT * FROM ' || call);
        END IF;
    END LOOP;
    result := CASE result WHEN '' THEN 'works' ELSE result END;
    RETURN NEXT;
END $$;
SET client_min_messages = error;
\pset tuples_only on
\pset format unaligned

-- Columns.
SELECT * FROM after('ALTER TABLE queue.ddl ADD COLUMN extra int', NULL);
-- A dropped column leaves its place behind: that cannot be undone.
ALTER TABLE queue.ddl DROP COLUMN extra;
SELECT error_of('SELECT * FROM queue.pop(''ddl'')') ~ '^55000' AS refused;
CREATE FUNCTION fresh() RETURNS regclass LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.drop('ddl', true) FROM queue.queues WHERE queue = 'ddl';
    PERFORM queue.create('ddl');
    PERFORM queue.enqueue('ddl', to_jsonb(i)) FROM generate_series(1, 100) i;
    RETURN (SELECT s.relation FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id
             WHERE d.name = 'ddl' AND s.chain = 'm');
END $$;
SELECT NULL FROM fresh();
SELECT * FROM after('ALTER TABLE queue.ddl ALTER visible_at TYPE text, ALTER deliveries TYPE text', NULL, false);
SELECT NULL FROM fresh();
SELECT * FROM after('ALTER TABLE queue.ddl ALTER body TYPE text', NULL, false);
SELECT NULL FROM fresh();
SELECT * FROM after('ALTER TABLE queue.ddl ALTER lease TYPE bigint', NULL, false);
SELECT NULL FROM fresh();
SELECT * FROM after('ALTER TABLE queue.ddl DROP COLUMN priority', NULL);
SELECT NULL FROM fresh();
SELECT * FROM after('ALTER TABLE queue.ddl ALTER id DROP NOT NULL', 'ALTER TABLE queue.ddl ALTER id SET NOT NULL');
SELECT * FROM after('ALTER TABLE queue.ddl ALTER expires_at SET DEFAULT now()', 'ALTER TABLE queue.ddl ALTER expires_at DROP DEFAULT');
SELECT * FROM after('ALTER TABLE queue.ddl ADD CHECK (id > 0)', 'ALTER TABLE queue.ddl DROP CONSTRAINT ddl_id_check');
SELECT * FROM after('ALTER TABLE queue.ddl RENAME body TO corps', 'ALTER TABLE queue.ddl RENAME corps TO body');
SELECT * FROM after('ALTER TABLE queue.ddl ALTER body SET STORAGE EXTERNAL', 'ALTER TABLE queue.ddl ALTER body SET STORAGE EXTENDED');
SELECT * FROM after('ALTER TABLE queue.ddl ALTER id SET STATISTICS 1000', NULL);

-- The same on a segment alone.
SELECT fresh() AS segment \gset
SELECT * FROM after(format('CREATE INDEX ddl_index ON %s (id)', :'segment'), 'DROP INDEX queue.ddl_index');
SELECT * FROM after(format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', :'segment'), format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', :'segment'));
SELECT * FROM after(format('CREATE RULE ddl_rule AS ON UPDATE TO %s DO INSTEAD NOTHING', :'segment'), format('DROP RULE ddl_rule ON %s', :'segment'));
SELECT * FROM after(format('ALTER TABLE %s ADD CHECK (id > 0)', :'segment'), NULL);
SELECT fresh() AS segment \gset
SELECT * FROM after(format('ALTER TABLE %s ADD COLUMN g int GENERATED ALWAYS AS (lease) STORED', :'segment'), NULL, false);
SELECT fresh() AS segment \gset
SELECT * FROM after(format('ALTER TABLE %s ALTER body SET DEFAULT ''1''', :'segment'), format('ALTER TABLE %s ALTER body DROP DEFAULT', :'segment'));

-- On the parent, which holds no message.
SELECT * FROM after('CREATE INDEX ddl_index ON queue.ddl (id)', 'DROP INDEX queue.ddl_index');
SELECT * FROM after('ALTER TABLE queue.ddl ENABLE ROW LEVEL SECURITY', 'ALTER TABLE queue.ddl DISABLE ROW LEVEL SECURITY');
SELECT * FROM after('ALTER TABLE queue.ddl SET (fillfactor = 50)', 'ALTER TABLE queue.ddl RESET (fillfactor)');
SELECT * FROM after('COMMENT ON TABLE queue.ddl IS ''x''', NULL);
SELECT * FROM after('ANALYZE queue.ddl', NULL);
SELECT * FROM after('CREATE PUBLICATION ddl_publication FOR TABLE queue.ddl', 'DROP PUBLICATION ddl_publication');

-- Rewrites and maintenance: nothing is lost, see below too.
SELECT fresh() AS segment \gset
SELECT * FROM after(format('ALTER TABLE %s SET (fillfactor = 50, autovacuum_enabled = on)', :'segment'), NULL);
SELECT * FROM after(format('ALTER TABLE %s DISABLE TRIGGER ALL', :'segment'), NULL);
SELECT fresh() AS segment \gset
SELECT * FROM after(format('ALTER TABLE %s NO INHERIT queue.ddl', :'segment'), format('ALTER TABLE %s INHERIT queue.ddl', :'segment'));
-- Another access method, even one that is heap under another name; a queue is
-- made on heap tables whatever the default is.
CREATE ACCESS METHOD heap_too TYPE TABLE HANDLER heap_tableam_handler;
SELECT * FROM after(format('ALTER TABLE %s SET ACCESS METHOD heap_too', :'segment'), NULL, false);
SET default_table_access_method = heap_too;
SELECT fresh() AS segment \gset
SELECT DISTINCT amname FROM pg_inherits i JOIN pg_class c ON c.oid IN (inhrelid, inhparent)
  JOIN pg_am a ON a.oid = c.relam WHERE inhparent = 'queue.ddl'::regclass;
SELECT * FROM after('SELECT', NULL);
RESET default_table_access_method;
DROP ACCESS METHOD heap_too;

-- Row triggers and foreign keys of the owner are passed by: the functions are
-- no SQL statements on the table.
CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'a row trigger was called';
END $$;
SELECT * FROM after('CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON queue.ddl
                     FOR EACH ROW EXECUTE FUNCTION complain()', 'DROP TRIGGER t ON queue.ddl');
DROP FUNCTION complain;
\pset format aligned
\pset tuples_only off
RESET client_min_messages;
DROP FUNCTION after;

-- VACUUM FULL, CLUSTER's rewrite and VACUUM (TRUNCATE) between enqueue and
-- dequeue: all messages are there, once, and enqueue works.
CREATE FUNCTION fill() RETURNS bigint LANGUAGE sql AS $$
    SELECT queue.purge('ddl');
    SELECT cardinality(queue.enqueue_batch('ddl', array_agg(to_jsonb(i)))) FROM generate_series(1, 10000) i;
    -- all are taken, since one that is asked for half may take any half
    WITH m AS MATERIALIZED (SELECT body::int AS i, receipt FROM queue.dequeue('ddl', 20000)),
         r AS MATERIALIZED (SELECT queue.release_batch('ddl', array_agg(receipt)) FROM m WHERE i > 5000)
    SELECT queue.ack_batch('ddl', array_agg(receipt)) FROM m WHERE i <= 5000 AND EXISTS (SELECT FROM r)
$$;
CREATE FUNCTION rest() RETURNS TABLE (messages bigint, different bigint, lowest int, highest int)
LANGUAGE sql AS $$
    SELECT count(*), count(DISTINCT id), min(body::int), max(body::int)
      FROM (SELECT queue.enqueue('ddl', '10001')) s (new),
           LATERAL (SELECT * FROM queue.dequeue('ddl', 20000, wait => '20 s') WHERE new > 0) m
$$;
SELECT fresh() AS segment \gset
SELECT fill();
VACUUM FULL :segment;
SELECT * FROM rest();
SELECT fill();
VACUUM (FULL, FREEZE) queue.ddl;
SELECT queue.enqueue('ddl', '10001') > 0 AS ok;
SELECT count(*), min(body::int), max(body::int) FROM queue.dequeue('ddl', 20000, wait => '20 s');
SELECT fill();
VACUUM (TRUNCATE, INDEX_CLEANUP, FREEZE) :segment;
SELECT queue.enqueue('ddl', '10001') > 0 AS ok;
SELECT count(*), min(body::int), max(body::int) FROM queue.dequeue('ddl', 20000, wait => '20 s');

-- A rewrite that leaves no segment to write to: the worker makes one.
SELECT fill();
ALTER TABLE :segment SET UNLOGGED;
ALTER TABLE :segment SET LOGGED;
SELECT wait_until($$error_of('SELECT queue.enqueue(''ddl'', ''10001'')') = 'no error'$$);
SELECT count(*), min(body::int), max(body::int) FROM queue.dequeue('ddl', 20000, wait => '20 s');
SELECT fresh() AS segment \gset

-- What one owner did to a queue hides nothing of the others in the views.
SELECT queue.create('ddl broken'), queue.enqueue('ddl', '1') > 0 AS ok;
SELECT relation AS broken FROM queue.queues WHERE queue = 'ddl broken' \gset
SELECT body FROM queue.dequeue('ddl', 1, '1 h');
ALTER TABLE :broken ALTER visible_at TYPE text, ALTER body TYPE bytea USING NULL;
SELECT queue FROM queue.queues ORDER BY queue;
SELECT queue FROM queue.stats ORDER BY queue;
SELECT leased FROM queue.stats WHERE queue = 'ddl';
SELECT DISTINCT queue FROM queue.segments ORDER BY queue;
SELECT queue FROM queue.in_flight;
SELECT queue FROM queue.consumers;
SELECT error_of($$SELECT queue.drop('ddl broken')$$) AS drop;
SELECT queue.purge('ddl') > 0 AS ok;

-- All acked, then vacuumed with truncation of the file: it starts again.
VACUUM (TRUNCATE) :segment;
SELECT queue.enqueue('ddl', '1') > 0 AS ok;
SELECT body FROM queue.dequeue('ddl');

-- REINDEX, REFRESH of statistics, LOCK in the same transaction.
REINDEX TABLE queue.ddl;
REINDEX TABLE :segment;
BEGIN;
LOCK TABLE queue.ddl;
SELECT queue.enqueue('ddl', '2') > 0 AS ok;
SELECT body FROM queue.dequeue('ddl');
COMMIT;

-- The extension's own tables are no playground either, but a superuser's wrong
-- hand does not crash the server.
BEGIN;
DELETE FROM queue.segment_def;
SELECT error_of($$SELECT queue.enqueue('ddl', '1')$$) ~ '^no error|^55000' AS ok;
SELECT error_of($$SELECT queue.dequeue('ddl')$$) ~ '^no error|^55000' AS ok;
ROLLBACK;
SELECT queue.enqueue('ddl', '3') > 0 AS ok;
SELECT body FROM queue.dequeue('ddl');

-- The extension's objects are held together.
DROP TABLE queue.queue_def;
DROP FUNCTION queue.ack(text, bigint);
DROP VIEW queue.stats;
DROP SCHEMA queue;
DROP TYPE queue.message;

SELECT queue.drop('ddl', true);
DROP FUNCTION fresh, fill, rest;
