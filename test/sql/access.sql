--
-- Who may do what with a queue is what its parent table's privileges say; no
-- privilege comes from anywhere else.
--
CREATE ROLE queue_test_owner;
CREATE ROLE queue_test_sender;
CREATE ROLE queue_test_receiver;
CREATE ROLE queue_test_browser;
CREATE ROLE queue_test_manager;
CREATE ROLE queue_test_nobody;
CREATE ROLE queue_test_group;
CREATE ROLE queue_test_member;
GRANT queue_test_group TO queue_test_member;

-- Making a queue needs CREATE on the schema, which PUBLIC has not.
SET ROLE queue_test_owner;
SELECT error_of($$SELECT queue.create('acc')$$);
RESET ROLE;
GRANT CREATE ON SCHEMA queue TO queue_test_owner;
SET ROLE queue_test_owner;
SELECT queue.create('acc');
SELECT queue.create('acc');
RESET ROLE;
SELECT owner, pg_get_userbyid((SELECT relowner FROM pg_class WHERE oid = relation)) AS parent
  FROM queue.queues WHERE queue = 'acc';
SELECT DISTINCT pg_get_userbyid(c.relowner) = current_user AS segments_of_extension_owner
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
 WHERE inhparent = 'queue.acc'::regclass;
SELECT coalesce(relacl::text, 'default') AS acl FROM pg_class
 WHERE oid = 'queue.acc'::regclass;

-- Grants, by the owner.
SET ROLE queue_test_owner;
SELECT queue.grant_access('acc', 'queue_test_sender', 'send');
SELECT queue.grant_access('acc', 'queue_test_receiver', 'receive');
SELECT queue.grant_access(name => 'acc', role => 'queue_test_browser', privilege => 'browse');
SELECT queue.grant_access('acc', 'queue_test_manager', 'manage');
SELECT queue.grant_access('acc', 'queue_test_group', 'send');
RESET ROLE;
SELECT grantee::regrole, string_agg(privilege_type, ', ' ORDER BY privilege_type) AS privileges
  FROM pg_class, aclexplode(relacl)
 WHERE oid = 'queue.acc'::regclass AND privilege_type <> 'MAINTAIN' -- new in 17
 GROUP BY grantee ORDER BY grantee::regrole::text;

-- Each function with each role.  The receipt and the id fit nothing, so a
-- function that is permitted changes nothing.
CREATE FUNCTION attempts() RETURNS TABLE (call text, result text)
LANGUAGE plpgsql AS $$
BEGIN
    FOREACH call IN ARRAY ARRAY[
        $q$queue.enqueue('acc')$q$,
        $q$queue.enqueue_batch('acc', '{}')$q$,
        $q$queue.dequeue('acc')$q$,
        $q$queue.dequeue_any('{acc}')$q$,
        $q$queue.pop('acc')$q$,
        $q$queue.ack('acc', 0)$q$,
        $q$queue.ack_batch('acc', '{}')$q$,
        $q$queue.nack('acc', 0)$q$,
        $q$queue.nack_batch('acc', '{}')$q$,
        $q$queue.release('acc', 0)$q$,
        $q$queue.release_batch('acc', '{}')$q$,
        $q$queue.reject('acc', 0)$q$,
        $q$queue.reject_batch('acc', '{}')$q$,
        $q$queue.extend('acc', 0, '1 s')$q$,
        $q$queue.extend_batch('acc', '{}', '1 s')$q$,
        $q$queue.cancel('acc', 0)$q$,
        $q$queue.peek('acc')$q$,
        $q$queue.get('acc', 0)$q$,
        $q$queue.alter('acc')$q$,
        $q$queue.pause('acc', dequeue => false)$q$,
        $q$queue.resume('acc')$q$,
        $q$queue.purge('acc')$q$,
        $q$queue.create('acc')$q$,
        $q$queue.grant_access('acc', 'queue_test_nobody', 'send')$q$,
        $q$queue.revoke_access('acc', 'queue_test_nobody', 'send')$q$,
        $q$queue.drop('acc', true)$q$]
    LOOP
        result := error_of('SELECT * FROM ' || call);
        -- the details are shown once, below
        result := regexp_replace(result, '\n.*', '');
        IF result = 'no error' THEN
            result := 'permitted';
        END IF;
        RETURN NEXT;
    END LOOP;
    call := $q$queue.receive('acc')$q$;
    result := regexp_replace(error_of('CALL ' || call), '\n.*', '');
    IF result = 'no error' THEN
        result := 'permitted';
    END IF;
    RETURN NEXT;
END $$;
SET ROLE queue_test_sender;
SELECT * FROM attempts();
SET ROLE queue_test_receiver;
SELECT * FROM attempts();
SET ROLE queue_test_browser;
SELECT * FROM attempts();
SET ROLE queue_test_manager;
SELECT * FROM attempts() WHERE result <> 'permitted';
SET ROLE queue_test_nobody;
SELECT * FROM attempts();
SET ROLE queue_test_member;
SELECT * FROM attempts() WHERE result = 'permitted';
RESET ROLE;

-- The message names the privilege that is missing.
SET ROLE queue_test_nobody;
\pset tuples_only on
\pset format unaligned
SELECT error_of($$SELECT queue.enqueue('acc')$$);
SELECT error_of($$SELECT queue.dequeue('acc')$$);
SELECT error_of($$SELECT queue.pop('acc')$$);
SELECT error_of($$SELECT queue.ack('acc', 1)$$);
SELECT error_of($$SELECT queue.peek('acc')$$);
SELECT error_of($$SELECT queue.cancel('acc', 1)$$);
SELECT error_of($$SELECT queue.purge('acc')$$);
SELECT error_of($$SELECT queue.alter('acc', delay => '1 s')$$);
SELECT error_of($$SELECT queue.pause('acc')$$);
SELECT error_of($$SELECT queue.drop('acc')$$);
SELECT error_of($$SELECT queue.grant_access('acc', 'queue_test_nobody', 'manage')$$);
SELECT error_of($$SELECT queue.dequeue_any('{acc}')$$);

-- Views, internal functions and catalog tables are nobody's business; plain
-- SQL on the queue's tables is refused for want of privileges.
SELECT error_of($$SELECT FROM queue.$$ || r)
  FROM unnest('{queues,stats,in_flight,segments,workers,consumers,queue_def,segment_def,forwarding}'::text[]) r;
SELECT error_of($$SELECT queue.$$ || f || '()')
  FROM unnest('{_stats,_in_flight,_segments,_workers,_consumers,_start_worker,_refuse_write}'::text[]) f;
SELECT error_of($$SELECT nextval('queue.queue_id_seq')$$);
SELECT error_of($$SELECT * FROM queue.acc$$);
SELECT error_of($$SELECT nextval('queue.queue_$$ || :'USER' || $$_ids')$$) ~ '^42' AS refused;
\pset format aligned
\pset tuples_only off
RESET ROLE;

-- pg_monitor reads the views.
GRANT pg_monitor TO queue_test_nobody;
SET ROLE queue_test_nobody;
SELECT queue FROM queue.queues;
SELECT queue, total FROM queue.stats;
SELECT count(*) FROM queue.in_flight;
SELECT count(*) > 0 AS ok FROM queue.segments;
SELECT count(*) > 0 AS ok FROM queue.workers;
SELECT count(*) FROM queue.consumers;
RESET ROLE;
REVOKE pg_monitor FROM queue_test_nobody;

-- Messages can be taken by who may not read the table, and sent by who may not
-- take them back.
SET ROLE queue_test_sender;
SELECT queue.enqueue('acc', '"secret"', payload => repeat('x', 5000)::bytea) > 0 AS ok;
SELECT error_of($$SELECT * FROM queue.acc$$);
SET ROLE queue_test_receiver;
SELECT error_of($$SELECT * FROM queue.acc$$);
SELECT body, length(payload), queue.ack('acc', receipt) FROM queue.dequeue('acc');
SET ROLE queue_test_browser;
SELECT count(*) FROM queue.acc;
RESET ROLE;

-- A browser and receiver may lock rows, which is their right, but not write.
SET ROLE queue_test_owner;
SELECT queue.grant_access('acc', 'queue_test_browser', 'receive');
SET ROLE queue_test_browser;
SELECT error_of($$SELECT id FROM queue.acc FOR UPDATE$$);
SELECT error_of($$UPDATE queue.acc SET lease = 0$$);
SELECT error_of($$DELETE FROM queue.acc$$);
RESET ROLE;

-- Column privileges, and privileges on a segment, count for nothing.
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'acc' AND s.chain = 'm' \gset
GRANT ALL ON :segment TO queue_test_nobody;
GRANT INSERT (body), UPDATE (lease), SELECT (id) ON queue.acc TO queue_test_nobody;
SET ROLE queue_test_nobody;
SELECT * FROM attempts() WHERE result = 'permitted';
SELECT error_of($$INSERT INTO $$ || :'segment' || $$ DEFAULT VALUES$$) ~ '^55000' AS refused;
SELECT error_of($$DELETE FROM $$ || :'segment') ~ '^55000' AS refused;
SELECT error_of($$TRUNCATE $$ || :'segment') ~ '^55000' AS refused;
RESET ROLE;
REVOKE ALL (id, body, lease) ON queue.acc FROM queue_test_nobody;

-- A change of privileges counts from the next call on, also in a session that
-- has the queue open, and inside a security definer function.
SET ROLE queue_test_sender;
SELECT queue.enqueue('acc') > 0 AS ok;
RESET ROLE;
CREATE FUNCTION send_for_others() RETURNS bigint LANGUAGE sql SECURITY DEFINER
    AS $$SELECT queue.enqueue('acc')$$;
ALTER FUNCTION send_for_others OWNER TO queue_test_sender;
SET ROLE queue_test_nobody;
SELECT send_for_others() > 0 AS ok;
SELECT error_of($$SELECT queue.enqueue('acc')$$) ~ '^42501' AS refused;
RESET ROLE;
SET ROLE queue_test_owner;
SELECT queue.revoke_access('acc', 'queue_test_sender', 'send');
SELECT queue.revoke_access('acc', 'queue_test_sender', 'send');
SET ROLE queue_test_sender;
SELECT error_of($$SELECT queue.enqueue('acc')$$) ~ '^42501' AS refused;
SET ROLE queue_test_nobody;
SELECT error_of($$SELECT send_for_others()$$) ~ '^42501' AS refused;
RESET ROLE;
DROP FUNCTION send_for_others;

-- Revoked, with all it brought.
SET ROLE queue_test_owner;
SELECT queue.revoke_access('acc', 'queue_test_manager', 'manage');
SELECT queue.revoke_access('acc', 'queue_test_receiver', 'receive');
SELECT queue.revoke_access('acc', 'queue_test_browser', 'browse');
SELECT queue.revoke_access('acc', 'queue_test_browser', 'receive');
SELECT queue.revoke_access('acc', 'queue_test_group', 'send');
RESET ROLE;
SELECT grantee::regrole, string_agg(privilege_type, ', ' ORDER BY privilege_type) AS privileges
  FROM pg_class, aclexplode(relacl)
 WHERE oid = 'queue.acc'::regclass AND privilege_type <> 'MAINTAIN' -- new in 17
 GROUP BY grantee ORDER BY grantee::regrole::text;

-- Plain GRANT does the same; with grant option it can be passed on.
GRANT INSERT ON queue.acc TO queue_test_sender WITH GRANT OPTION;
SET ROLE queue_test_sender;
SELECT queue.grant_access('acc', 'queue_test_nobody', 'send');
SELECT error_of($$SELECT queue.grant_access('acc', 'queue_test_nobody', 'receive')$$);
SET ROLE queue_test_nobody;
SELECT queue.enqueue('acc') > 0 AS ok;
RESET ROLE;
GRANT UPDATE ON queue.acc TO queue_test_receiver;
SET ROLE queue_test_receiver;
SELECT count(*) FROM queue.dequeue('acc');
SELECT error_of($$SELECT queue.pop('acc')$$);
RESET ROLE;

-- To PUBLIC by GRANT only; a role that is quoted.
GRANT INSERT ON queue.acc TO PUBLIC;
SET ROLE queue_test_browser;
SELECT queue.enqueue('acc') > 0 AS ok;
RESET ROLE;
CREATE ROLE "queue test "" odd";
SELECT queue.grant_access('acc', '"queue test "" odd"', 'browse');
SELECT queue.revoke_access('acc', '"queue test "" odd"', 'browse');
DROP ROLE "queue test "" odd";

-- A grant is rolled back with its transaction.
BEGIN;
SELECT queue.grant_access('acc', 'queue_test_nobody', 'manage');
ROLLBACK;
SELECT has_table_privilege('queue_test_nobody', 'queue.acc', 'DELETE') AS kept;

-- The owner can be changed; the old one has no right left.
ALTER TABLE queue.acc OWNER TO queue_test_manager;
SET ROLE queue_test_owner;
SELECT error_of($$SELECT queue.dequeue('acc')$$) ~ '^42501' AS refused;
SELECT error_of($$SELECT queue.drop('acc', true)$$) ~ '^42501' AS refused;
SET ROLE queue_test_manager;
SELECT count(*) FROM queue.dequeue('acc', 1);
SELECT queue.alter('acc', comment => 'mine now');
SELECT queue.drop('acc', true);
RESET ROLE;

-- An owner without any privilege of his own on it.
SET ROLE queue_test_owner;
SELECT queue.create('acc');
REVOKE ALL ON queue.acc FROM queue_test_owner;
SELECT * FROM attempts() WHERE result = 'permitted';
SELECT queue FROM unnest('{acc}'::text[]) queue WHERE to_regclass('queue.acc') IS NULL;
RESET ROLE;

\pset tuples_only on
\pset format unaligned
SELECT queue.create('acc');
SELECT error_of($$SELECT queue.grant_access(NULL, 'queue_test_nobody', 'send')$$);
SELECT error_of($$SELECT queue.grant_access('acc', NULL, 'send')$$);
SELECT error_of($$SELECT queue.grant_access('acc', 'queue_test_nobody', NULL)$$);
SELECT error_of($$SELECT queue.grant_access('acc', 'queue_test_nobody', 'INSERT')$$);
SELECT error_of($$SELECT queue.grant_access('acc', 'queue_test_nobody', '')$$);
SELECT error_of($$SELECT queue.grant_access('acc', 'no_such_role', 'send')$$);
SELECT error_of($$SELECT queue.grant_access('acc', 4294967295::oid::regrole, 'send')$$);
SELECT error_of($$SELECT queue.grant_access('acc', 0::oid::regrole, 'send')$$);
SELECT error_of($$SELECT queue.grant_access('nowhere', 'queue_test_nobody', 'send')$$);
SELECT error_of($$SELECT queue.revoke_access(NULL, 'queue_test_nobody', 'send')$$);
SELECT error_of($$SELECT queue.revoke_access('acc', NULL, 'send')$$);
SELECT error_of($$SELECT queue.revoke_access('acc', 'queue_test_nobody', 'all')$$);
SELECT error_of($$SELECT queue.revoke_access('nowhere', 'queue_test_nobody', 'send')$$);
\pset format aligned
\pset tuples_only off
SELECT queue.drop('acc', true);
DROP FUNCTION attempts;
REVOKE CREATE ON SCHEMA queue FROM queue_test_owner;
DROP ROLE queue_test_owner, queue_test_sender, queue_test_receiver,
    queue_test_browser, queue_test_manager, queue_test_nobody,
    queue_test_group, queue_test_member;
