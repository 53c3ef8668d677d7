--
-- A search_path with functions, operators, types and tables of others does not
-- change what the extension does.
--
CREATE SCHEMA hostile;
CREATE TABLE hostile.called (what text);
CREATE FUNCTION hostile.trap(text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO hostile.called VALUES ($1);
END $$;
DO $$
DECLARE
    t text;
BEGIN
    -- operators that answer the opposite
    FOREACH t IN ARRAY '{int4,int8,text,oid,"pg_catalog.\"char\"",bool,interval,timestamptz}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION hostile.bad_eq(%1$s, %1$s) RETURNS bool LANGUAGE sql AS
            $f$ SELECT hostile.trap(''operator'') IS NOT NULL AND false $f$', t);
        EXECUTE format('CREATE OPERATOR hostile.= (FUNCTION = hostile.bad_eq, LEFTARG = %1$s, RIGHTARG = %1$s)', t);
        EXECUTE format('CREATE OPERATOR hostile.<> (FUNCTION = hostile.bad_eq, LEFTARG = %1$s, RIGHTARG = %1$s)', t);
        EXECUTE format('CREATE OPERATOR hostile.< (FUNCTION = hostile.bad_eq, LEFTARG = %1$s, RIGHTARG = %1$s)', t);
        EXECUTE format('CREATE OPERATOR hostile.<= (FUNCTION = hostile.bad_eq, LEFTARG = %1$s, RIGHTARG = %1$s)', t);
    END LOOP;
END $$;
CREATE FUNCTION hostile.now() RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT hostile.trap('now'); SELECT '1970-01-01'::timestamptz $$;
CREATE FUNCTION hostile.count(anyelement) RETURNS bigint LANGUAGE sql AS
    $$ SELECT hostile.trap('count'); SELECT 0::bigint $$;
CREATE FUNCTION hostile.nextval(regclass) RETURNS bigint LANGUAGE sql AS
    $$ SELECT hostile.trap('nextval'); SELECT 1::bigint $$;
CREATE FUNCTION hostile.obj_description(oid, name) RETURNS text LANGUAGE sql AS
    $$ SELECT hostile.trap('obj_description'); SELECT 'x' $$;
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN hostile.jsonb AS pg_catalog.jsonb CHECK (false);
CREATE DOMAIN hostile.int4 AS pg_catalog.int4 CHECK (false);
CREATE TABLE hostile.queue_def (LIKE queue.queue_def);
CREATE TABLE hostile.segment_def (LIKE queue.segment_def);
CREATE TABLE hostile.pg_class (oid oid);
CREATE TABLE hostile.hostile (a int);

SET search_path = hostile, pg_temp, pg_catalog;
SELECT queue.create('path', visibility_timeout => '1 min', comment => 'c');
SELECT queue.create('path', visibility_timeout => '1 min', comment => 'c');
SELECT queue.enqueue('path', '1', 'p', '{"a": 1}', 'k', delay => '0'), queue.enqueue('path', '2');
SELECT queue.enqueue_batch('path', '{3,4}');
SELECT id, body, payload, headers, key FROM queue.dequeue('path') \gset
SELECT :id AS id, :'body' AS body, :'payload' AS payload, :'headers' AS headers, :'key' AS key;
SELECT body, queue.ack('path', receipt) FROM queue.dequeue('path');
SELECT body, queue.nack('path', receipt, '0') FROM queue.dequeue('path');
SELECT body FROM queue.pop('path');
SELECT body, state FROM queue.peek('path', filter => '{"a": 1}');
SELECT body FROM queue.get('path', 1);
SELECT queue.cancel('path', 4);
SELECT queue.alter('path', delay => '1 s'), queue.pause('path'), queue.resume('path');
SELECT queue.grant_access('path', 'pg_monitor', 'send');
SELECT queue.revoke_access('path', 'pg_monitor', 'send');
SELECT queue, state, kind, delay, segments, comment FROM queue.queues;
SELECT queue, enqueued, acked, leased FROM queue.stats;
SELECT queue, id, deliveries FROM queue.in_flight;
SELECT DISTINCT queue FROM queue.segments;
SELECT queue.enqueue('pat', '1');
SELECT queue.purge('path');
SELECT queue.drop('path');
SELECT what FROM hostile.called;
RESET search_path;

-- None at all, and one with the extension's schema first.
SET search_path = '';
SELECT queue.create('path');
SELECT queue.enqueue('path', '1');
SELECT body, queue.ack('path', receipt) FROM queue.dequeue('path');
SELECT queue.drop('path');
SET search_path = queue;
SELECT "create"('path');
SELECT enqueue('path', '1');
SELECT body, ack('path', receipt) FROM dequeue('path');
SELECT drop('path');
RESET search_path;

-- A temporary table with the name of a catalog table.
CREATE TEMP TABLE queue_def (name text);
CREATE TEMP TABLE segment_def (name text);
SELECT queue.create('path');
SELECT queue.enqueue('path', '1');
SELECT body FROM queue.dequeue('path');
SELECT queue.drop('path', true);
DROP TABLE pg_temp.queue_def, pg_temp.segment_def;
SET client_min_messages = warning;
DROP SCHEMA hostile CASCADE;
