--
-- DROP EXTENSION takes the queues with it, in whatever state they are, and
-- leaves nothing behind; a second CREATE EXTENSION starts afresh.
--
SELECT queue.create('left');
SELECT queue.create('behind "it"');
SELECT queue.enqueue('left', to_jsonb(i)) FROM generate_series(1, 3) i;
SELECT body FROM queue.dequeue('left');

-- Rolled back, everything is as it was.
BEGIN;
DROP EXTENSION queue;
SELECT nspname FROM pg_namespace WHERE nspname = 'queue';
ROLLBACK;
SELECT body FROM queue.dequeue('left');

-- PostgreSQL does not count the schema among an extension's objects; nothing
-- is left in it.
DROP EXTENSION queue;
DROP SCHEMA queue;
SELECT relname FROM pg_class
 WHERE relname ~ '^(q[0-9]+_s|queue_|forwarding|segment_def|left)';
SELECT count(*) FROM pg_depend d
 WHERE d.refclassid = 'pg_extension'::regclass
   AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.oid = d.refobjid);
SELECT * FROM queue.dequeue('left');

-- The functions are gone while the library stays loaded.
CREATE EXTENSION queue;
SELECT * FROM queue.queues;
SELECT * FROM queue.dequeue('left');
SELECT queue.create('left');
SELECT * FROM queue.dequeue('left');
SELECT queue.enqueue('left', '"new"');
SELECT id, body, deliveries FROM queue.dequeue('left');

DROP EXTENSION queue;
DROP SCHEMA queue;
DROP FUNCTION public.error_of, public.wait_until;
