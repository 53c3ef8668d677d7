--
-- A queue can have any name of 1 to 255 bytes; no two names meet.
--
CREATE TEMP TABLE odd (name text);
INSERT INTO odd VALUES
    ('a'), ('A'), (' '), ('a '), (' a'), ('''quoted'''), ('"double"'), ('back\slash'),
    ('semi; DROP TABLE odd; --'), ('%s%n'), ('$1'), (E'tab\tnew\nline'), ('käse'),
    ('KÄSE'), ('日本語'), (E'\U0001F600'), (E'cafe\u0301'), (E'caf\u00e9'), ('select'),
    ('user'), ('queue'), ('queues'), ('stats'), ('message'), ('queue_def'), ('queue_1'),
    ('_stats'), ('q1_s1'), ('q9'), ('queue_id_seq'), ('pg_class'), ('public.x'),
    ('1'), ('0'), ('null'), ('NULL'), ('{a,b}'), ('/etc/passwd'), (repeat('n', 62)),
    (repeat('n', 63)), (repeat('n', 64)), (repeat('n', 65)), (repeat('n', 254)),
    (repeat('n', 255)), (repeat('ä', 31)), (repeat('ä', 32)), (repeat('ä', 127));
SELECT count(*), count(DISTINCT name), max(octet_length(name)) FROM odd;
SELECT count(queue.create(name)) FROM odd;
SELECT count(*) AS again FROM (SELECT queue.create(name) FROM odd) s;

-- Which of them give their name to the parent table.
SELECT left(queue, 20) AS queue, octet_length(queue) AS bytes,
       relation::text = 'queue.' || quote_ident(queue) AS table_has_its_name,
       relation::text ~ '^queue\.queue_[0-9]+$' AS numbered
  FROM queue.queues
 ORDER BY queue COLLATE "C", bytes;

-- Each message comes out of the queue it was put into.
SELECT count(queue.enqueue(name, to_jsonb(name), key => name)) FROM odd;
SELECT count(*) FILTER (WHERE m.body = to_jsonb(name) AND m.key = name) AS right,
       count(*) FILTER (WHERE queue.ack(name, m.receipt)) AS acked
  FROM odd, queue.dequeue(name, 10) m;
SELECT sum(total) FROM queue.stats;
SELECT count(*) FROM queue.stats s JOIN odd ON s.queue = odd.name;
SELECT count(queue.enqueue(name, '1')) FROM odd;
SELECT count(*), count(DISTINCT queue) FROM queue.dequeue_any((SELECT array_agg(name) FROM odd), 1000);
SELECT count(queue.grant_access(name, 'pg_monitor', 'send')),
       count(queue.pause(name)), count(queue.resume(name)),
       count(queue.alter(name, comment => name)), sum(queue.purge(name))
  FROM odd;
SELECT count(*) FROM queue.queues WHERE comment = queue;

-- Names are case and space sensitive, compared byte by byte; the hint names
-- the nearest one.
SELECT error_of($$SELECT queue.enqueue('B')$$);
SELECT error_of($$SELECT queue.enqueue('Select')$$);
SELECT error_of($$SELECT queue.enqueue('käs')$$);
SELECT error_of($$SELECT queue.enqueue('quees')$$);
SELECT error_of($$SELECT queue.enqueue('something else altogether')$$);
SELECT left(error_of($$SELECT queue.enqueue(repeat('n', 253))$$), 100);
SELECT error_of($$SELECT queue.enqueue(E'tab\tnew\n')$$);
SELECT error_of($$SELECT queue.enqueue(repeat('x', 256))$$);
SELECT error_of($$SELECT queue.enqueue(repeat('ä', 128))$$);
SELECT error_of($$SELECT queue.peek(repeat('x', 1000000))$$) ~ '1000000\.$' AS refused;
SELECT error_of($$SELECT queue.ack('', 1)$$);
SELECT count(queue.drop(name)) FROM odd;

-- A parent table's name that is taken is not touched; a table of this name in
-- another schema does not matter.
CREATE TABLE queue.taken (a int);
CREATE TABLE public.free (a int);
SELECT queue.create('taken'), queue.create('free');
SELECT queue, relation::text ~ '^queue\.queue_[0-9]+$' AS numbered
  FROM queue.queues ORDER BY queue;
SELECT queue.enqueue('taken', '1'), queue.enqueue('free', '1');
SELECT count(*) FROM queue.taken;
SELECT count(*) FROM public.free;
SELECT queue.drop('taken', true), queue.drop('free', true);
DROP TABLE queue.taken, public.free;

-- The table can be renamed, or moved to another schema: the queue keeps its
-- name and works.
SELECT queue.create('moved');
SELECT queue.enqueue('moved', '1') > 0 AS ok;
ALTER TABLE queue.moved RENAME TO elsewhere;
ALTER TABLE queue.elsewhere SET SCHEMA public;
SELECT queue, relation, state FROM queue.queues;
SELECT queue.enqueue('moved', '2') > 0 AS ok;
SELECT body FROM queue.dequeue('moved', 10);
SELECT error_of($$SELECT queue.enqueue('elsewhere')$$);
SELECT queue.create('moved');
SELECT queue.drop('moved', true);
SELECT to_regclass('public.elsewhere');
