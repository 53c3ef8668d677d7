/* sql/queue--1.0.sql */

-- complain if the script is sourced in psql rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION queue" to load this file. \quit

-- The script runs with the schema "queue" as search path; what it names it
-- qualifies.  Order: catalog tables, type, functions, views, privileges.
--
-- Rules of every function, not repeated below: NULL for an optional parameter
-- means its default (in alter: unchanged), NULL for another one is 22004, a
-- bad value 22023, an unknown queue 42704, a missing privilege 42501.  What
-- changes something is refused in a read-only transaction and on a standby
-- (25006), and without the library in shared_preload_libraries (55000).


-- The schema is no member of the extension, and stays when that is dropped.
COMMENT ON SCHEMA queue IS
    'message queues: the extension queue, and the tables of each queue';


-- ---------------------------------------------------------------------------
-- Catalog tables.  C code reads them by attribute number.
-- ---------------------------------------------------------------------------

CREATE SEQUENCE queue.queue_id_seq AS pg_catalog.int4;
COMMENT ON SEQUENCE queue.queue_id_seq IS
    'hands out queue_def.id';

CREATE TABLE queue.queue_def (
    id int NOT NULL
        DEFAULT pg_catalog.nextval('queue.queue_id_seq'::pg_catalog.regclass)
        CONSTRAINT queue_def_pkey PRIMARY KEY,
    name pg_catalog.text COLLATE pg_catalog."C" NOT NULL
        CONSTRAINT queue_def_name_key UNIQUE,
    relation pg_catalog.regclass NOT NULL
        CONSTRAINT queue_def_relation_key UNIQUE,
    ids pg_catalog.regclass NOT NULL,
    kind pg_catalog.text NOT NULL,
    visibility_timeout interval NOT NULL,
    max_attempts int,
    dead_letter pg_catalog.text,
    retry_delay interval NOT NULL,
    retry_backoff pg_catalog.text NOT NULL,
    retry_max_delay interval NOT NULL,
    delay interval NOT NULL,
    ttl interval,
    max_messages bigint,
    max_bytes bigint,
    overflow pg_catalog.text NOT NULL,
    max_in_flight int,
    max_message_bytes int,
    dedup_window interval,
    persistence pg_catalog.text NOT NULL,
    single_active boolean NOT NULL,
    fair boolean NOT NULL,
    archive interval,
    partitions int NOT NULL,
    retention interval,
    retention_bytes bigint,
    compact boolean NOT NULL,
    enqueue_paused boolean NOT NULL DEFAULT false,
    dequeue_paused boolean NOT NULL DEFAULT false,
    next_life int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    priorities boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE queue.queue_def IS
    'one row for each queue; see the view queue.queues';
COMMENT ON COLUMN queue.queue_def.id IS
    'number of the queue; part of the names of its tables';
COMMENT ON COLUMN queue.queue_def.name IS
    'name of the queue';
COMMENT ON COLUMN queue.queue_def.relation IS
    'the parent table, which carries the queue''s privileges';
COMMENT ON COLUMN queue.queue_def.ids IS
    'sequence that reserves message ids, 4096 at a time';
COMMENT ON COLUMN queue.queue_def.kind IS
    'work or fifo';
COMMENT ON COLUMN queue.queue_def.visibility_timeout IS
    'length of a lease where the call says nothing';
COMMENT ON COLUMN queue.queue_def.max_attempts IS
    'failures with which a message is dead; NULL = no limit';
COMMENT ON COLUMN queue.queue_def.dead_letter IS
    'the queue to which dead messages go; NULL = none';
COMMENT ON COLUMN queue.queue_def.retry_delay IS
    'how long a message waits after its first failure';
COMMENT ON COLUMN queue.queue_def.retry_backoff IS
    'how that wait grows: none, linear or exponential';
COMMENT ON COLUMN queue.queue_def.retry_max_delay IS
    'the longest wait after a failure';
COMMENT ON COLUMN queue.queue_def.delay IS
    'delay of messages that are sent without one';
COMMENT ON COLUMN queue.queue_def.ttl IS
    'time to live of each message; NULL = no limit';
COMMENT ON COLUMN queue.queue_def.max_messages IS
    'most messages in the queue; NULL = no limit';
COMMENT ON COLUMN queue.queue_def.max_bytes IS
    'most bytes in the queue, counted as by max_message_bytes; NULL = no '
    'limit';
COMMENT ON COLUMN queue.queue_def.overflow IS
    'what a send does when the queue is full: reject, block or '
    'drop_oldest';
COMMENT ON COLUMN queue.queue_def.max_in_flight IS
    'most messages leased at a time, over all sessions; NULL = no limit';
COMMENT ON COLUMN queue.queue_def.max_message_bytes IS
    'most bytes of body, payload, headers and key of a message; NULL = no '
    'limit';
COMMENT ON COLUMN queue.queue_def.dedup_window IS
    'how long a dedup_id counts; NULL = 5 minutes';
COMMENT ON COLUMN queue.queue_def.persistence IS
    'logged, or unlogged: empty after a crash';
COMMENT ON COLUMN queue.queue_def.single_active IS
    'one session at a time is served';
COMMENT ON COLUMN queue.queue_def.fair IS
    'keys are tenants; those with few messages in flight come first';
COMMENT ON COLUMN queue.queue_def.archive IS
    'how long acked messages are kept; NULL = not at all';
COMMENT ON COLUMN queue.queue_def.partitions IS
    'always 1 in this version';
COMMENT ON COLUMN queue.queue_def.retention IS
    'always NULL in this version';
COMMENT ON COLUMN queue.queue_def.retention_bytes IS
    'always NULL in this version';
COMMENT ON COLUMN queue.queue_def.compact IS
    'always false in this version';
COMMENT ON COLUMN queue.queue_def.enqueue_paused IS
    'sends are refused';
COMMENT ON COLUMN queue.queue_def.dequeue_paused IS
    'claims and pops are refused';
COMMENT ON COLUMN queue.queue_def.next_life IS
    'life number of the next segment; never goes back';
COMMENT ON COLUMN queue.queue_def.created_at IS
    'when the queue was made';
COMMENT ON COLUMN queue.queue_def.priorities IS
    'the queue has had messages with a priority: noted by the worker, so '
    'that after a start they are looked for first';

CREATE TABLE queue.segment_def (
    queue_id int NOT NULL,
    life int NOT NULL,
    relation pg_catalog.regclass NOT NULL
        CONSTRAINT segment_def_relation_key UNIQUE,
    chain "char" NOT NULL,
    state "char" NOT NULL,
    layout int NOT NULL,
    relfilenode pg_catalog.oid NOT NULL,
    database pg_catalog.oid NOT NULL,
    system_identifier bigint NOT NULL,
    sealed_at timestamptz,
    CONSTRAINT segment_def_pkey PRIMARY KEY (queue_id, life)
);
COMMENT ON TABLE queue.segment_def IS
    'one row for each table that holds messages; see the view queue.segments';
COMMENT ON COLUMN queue.segment_def.queue_id IS
    'number of the queue';
COMMENT ON COLUMN queue.segment_def.life IS
    'number of this use of the table; part of every receipt';
COMMENT ON COLUMN queue.segment_def.relation IS
    'the table';
COMMENT ON COLUMN queue.segment_def.chain IS
    'm = main, p = parking (stragglers, dead and far-delayed messages), a '
    '= archive (acked messages)';
COMMENT ON COLUMN queue.segment_def.state IS
    'o = open, s = sealed: no insert ever again, f = free: truncated, a '
    'spare';
COMMENT ON COLUMN queue.segment_def.layout IS
    'version of the layout of its rows';
COMMENT ON COLUMN queue.segment_def.relfilenode IS
    'with database and system_identifier: the file the row was written '
    'for; another one after a restore or a rewrite of the table';
COMMENT ON COLUMN queue.segment_def.database IS
    'see relfilenode';
COMMENT ON COLUMN queue.segment_def.system_identifier IS
    'see relfilenode';
COMMENT ON COLUMN queue.segment_def.sealed_at IS
    'since when nothing is inserted; for how long what is in it is '
    'archived';

CREATE TABLE queue.forwarding (
    queue_id int NOT NULL,
    receipt bigint NOT NULL,
    moved_to bigint NOT NULL,
    CONSTRAINT forwarding_pkey PRIMARY KEY (queue_id, receipt)
);
COMMENT ON TABLE queue.forwarding IS
    'where leased messages went that were moved to the parking chain: '
    'the receipt their consumer holds, and the one that fits now';
COMMENT ON COLUMN queue.forwarding.queue_id IS
    'number of the queue';
COMMENT ON COLUMN queue.forwarding.receipt IS
    'the receipt that the consumer holds';
COMMENT ON COLUMN queue.forwarding.moved_to IS
    'the receipt that fits now';

-- Entries of dedup_ids.  Two tables for each class of windows: up to 5 minutes
-- (the default), an hour, a day, and longer.  The worker empties them in turn.
CREATE TABLE queue.dedup_def (
    class int NOT NULL CONSTRAINT dedup_def_pkey PRIMARY KEY,
    current int NOT NULL,
    since timestamptz NOT NULL
);
COMMENT ON TABLE queue.dedup_def IS
    'for each class of dedup windows, which of its tables takes new entries';
COMMENT ON COLUMN queue.dedup_def.class IS
    '0 = up to 5 minutes, 1 = an hour, 2 = a day, 3 = longer';
COMMENT ON COLUMN queue.dedup_def.current IS
    '0 = its table a takes new entries, 1 = its table b';
COMMENT ON COLUMN queue.dedup_def.since IS
    'all entries in the other table are older';

CREATE TABLE queue.dedup_minutes_a (
    queue_id int NOT NULL,
    hash1 bigint NOT NULL,
    hash2 bigint NOT NULL,
    message_id bigint NOT NULL,
    entered_at timestamptz NOT NULL,
    CONSTRAINT dedup_minutes_a_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_minutes_a IS
    'dedup_ids of queues with a dedup_window of at most 5 minutes';
COMMENT ON COLUMN queue.dedup_minutes_a.queue_id IS
    'number of the queue';
COMMENT ON COLUMN queue.dedup_minutes_a.hash1 IS
    'hash of the dedup_id, first 64 bits';
COMMENT ON COLUMN queue.dedup_minutes_a.hash2 IS
    'hash of the dedup_id, last 64 bits';
COMMENT ON COLUMN queue.dedup_minutes_a.message_id IS
    'id of the message that was stored';
COMMENT ON COLUMN queue.dedup_minutes_a.entered_at IS
    'when that was';

CREATE TABLE queue.dedup_minutes_b (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_minutes_b_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_minutes_b IS
    'dedup_ids of queues with a dedup_window of at most 5 minutes';

CREATE TABLE queue.dedup_hour_a (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_hour_a_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_hour_a IS
    'dedup_ids of queues with a dedup_window of at most an hour';

CREATE TABLE queue.dedup_hour_b (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_hour_b_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_hour_b IS
    'dedup_ids of queues with a dedup_window of at most an hour';

CREATE TABLE queue.dedup_day_a (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_day_a_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_day_a IS
    'dedup_ids of queues with a dedup_window of at most a day';

CREATE TABLE queue.dedup_day_b (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_day_b_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_day_b IS
    'dedup_ids of queues with a dedup_window of at most a day';

CREATE TABLE queue.dedup_long_a (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_long_a_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_long_a IS
    'dedup_ids of queues with a dedup_window of more than a day';

CREATE TABLE queue.dedup_long_b (
    LIKE queue.dedup_minutes_a INCLUDING COMMENTS,
    CONSTRAINT dedup_long_b_pkey PRIMARY KEY (queue_id, hash1, hash2)
) USING heap WITH (autovacuum_enabled = off);
COMMENT ON TABLE queue.dedup_long_b IS
    'dedup_ids of queues with a dedup_window of more than a day';

SELECT pg_catalog.pg_extension_config_dump('queue.queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.queue_def', '');
SELECT pg_catalog.pg_extension_config_dump('queue.segment_def', '');
SELECT pg_catalog.pg_extension_config_dump('queue.forwarding', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_def', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_minutes_a', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_minutes_b', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_hour_a', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_hour_b', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_day_a', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_day_b', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_long_a', '');
SELECT pg_catalog.pg_extension_config_dump('queue.dedup_long_b', '');


-- ---------------------------------------------------------------------------
-- A message as consumers get it
-- ---------------------------------------------------------------------------

CREATE TYPE queue.message AS (
    id bigint,
    receipt bigint,
    body pg_catalog.jsonb,
    payload pg_catalog.bytea,
    headers pg_catalog.jsonb,
    key pg_catalog.text,
    priority int,
    deliveries int,
    failures int,
    enqueued_at timestamptz,
    visible_at timestamptz,
    expires_at timestamptz
);
COMMENT ON TYPE queue.message IS
    'a message as it is delivered';
COMMENT ON COLUMN queue.message.id IS
    'number of the message, ascending per queue';
COMMENT ON COLUMN queue.message.receipt IS
    'proof of this delivery, for ack, nack, release, reject and extend; '
    'NULL where the message is not leased by this call';
COMMENT ON COLUMN queue.message.body IS
    'what was sent as body';
COMMENT ON COLUMN queue.message.payload IS
    'what was sent as payload';
COMMENT ON COLUMN queue.message.headers IS
    'a JSON object, as sent; x-death and x-replay are added when the '
    'message is dead-lettered or replayed';
COMMENT ON COLUMN queue.message.key IS
    'as sent: the group of a fifo queue, the tenant of a fair one';
COMMENT ON COLUMN queue.message.priority IS
    '0 to 9, higher first';
COMMENT ON COLUMN queue.message.deliveries IS
    'how often the message was delivered, this time included';
COMMENT ON COLUMN queue.message.failures IS
    'how many deliveries failed: nack, expired lease, aborted transaction';
COMMENT ON COLUMN queue.message.enqueued_at IS
    'when enqueue was called';
COMMENT ON COLUMN queue.message.visible_at IS
    'when the message becomes claimable: end of the lease or of the '
    'delay; infinity = dead';
COMMENT ON COLUMN queue.message.expires_at IS
    'end of the time to live; NULL = no limit';


-- ---------------------------------------------------------------------------
-- Queues
-- ---------------------------------------------------------------------------

-- create: makes a queue; the same call again does nothing.
--   name                1 to 255 bytes
--   kind                work, fifo (stream: not yet)
--   visibility_timeout  how long a delivered message stays leased; > 0
--   max_attempts        failures after which a message is dead; >= 1,
--                       NULL = no limit, or 10 with dead_letter
--   dead_letter         queue, of kind work or fifo, to which dead messages go
--                       within a second, with their history in header
--                       x-death; NULL = they stay in state dead, but expired
--                       ones are dropped
--   retry_delay         before a failed message is claimable again; >= 0
--   retry_backoff       how that grows with failures: none | linear |
--                       exponential, each with a jitter of 15 %
--   retry_max_delay     what it grows to at most, jitter included
--   delay               of every message that says nothing else; >= 0
--   ttl                 of every message, > 0: not claimed by then, it dies
--   max_messages        of the queue, >= 1; NULL = no limit
--   max_bytes           the same, counted as by max_message_bytes
--   overflow            what a send does when that is reached: reject (53400)
--                       | block | drop_oldest
--   max_in_flight       messages leased at a time, over all sessions; >= 1
--   max_message_bytes   of body, payload, headers and key together; >= 1
--   dedup_window        how long a dedup_id counts; > 0, NULL = 5 minutes
--   persistence         logged | unlogged: faster, empty after a crash
--   single_active       one session at a time is served, see step_down
--   fair                keys are tenants; those with few messages in flight
--                       come first
--   archive             how long acked messages are kept, see replay; > 0,
--                       NULL = not at all
--   comment             the parent table's comment
--   The others have only their default until they work, else 0A000.
--   Durations count in microseconds as extract(epoch) does (a month has 30
--   days, a year 365.25) and go up to 100 years.
-- Returns nothing.  Needs CREATE on schema queue and INSERT (send) on the
-- dead-letter queue; the caller owns the queue.
-- Errors: 42710 when the queue exists with other properties, each in DETAIL;
-- 42704 when there is no such dead-letter queue.
-- Rollback undoes it.
CREATE FUNCTION queue.create(
    name text,
    kind text DEFAULT 'work',
    visibility_timeout interval DEFAULT '30 s',
    max_attempts int DEFAULT NULL,
    dead_letter text DEFAULT NULL,
    retry_delay interval DEFAULT '1 s',
    retry_backoff text DEFAULT 'exponential',
    retry_max_delay interval DEFAULT '15 min',
    delay interval DEFAULT '0',
    ttl interval DEFAULT NULL,
    max_messages bigint DEFAULT NULL,
    max_bytes bigint DEFAULT NULL,
    overflow text DEFAULT 'reject',
    max_in_flight int DEFAULT NULL,
    max_message_bytes int DEFAULT NULL,
    dedup_window interval DEFAULT NULL,
    persistence text DEFAULT 'logged',
    single_active boolean DEFAULT false,
    fair boolean DEFAULT false,
    archive interval DEFAULT NULL,
    partitions int DEFAULT 1,
    retention interval DEFAULT NULL,
    retention_bytes bigint DEFAULT NULL,
    compact boolean DEFAULT false,
    comment text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.create IS
    'make a queue; again with the same properties: nothing happens';

-- alter: changes properties of a queue, effective at commit.
--   Parameters as create's; NULL leaves one as it is.  comment => '' removes
--   the comment, dead_letter => '' the dead-letter queue, ttl => '0' and
--   dedup_window => '0' what was set there, archive => '0' the archive with
--   all that is in it, max_messages => 0 and the like the limit.  kind and
--   persistence stay what they are: another value is 0A000.
-- Returns nothing.  Needs ownership of the queue or "manage".
-- Rollback undoes it.
CREATE FUNCTION queue.alter(
    name text,
    kind text DEFAULT NULL,
    visibility_timeout interval DEFAULT NULL,
    max_attempts int DEFAULT NULL,
    dead_letter text DEFAULT NULL,
    retry_delay interval DEFAULT NULL,
    retry_backoff text DEFAULT NULL,
    retry_max_delay interval DEFAULT NULL,
    delay interval DEFAULT NULL,
    ttl interval DEFAULT NULL,
    max_messages bigint DEFAULT NULL,
    max_bytes bigint DEFAULT NULL,
    overflow text DEFAULT NULL,
    max_in_flight int DEFAULT NULL,
    max_message_bytes int DEFAULT NULL,
    dedup_window interval DEFAULT NULL,
    persistence text DEFAULT NULL,
    single_active boolean DEFAULT NULL,
    fair boolean DEFAULT NULL,
    archive interval DEFAULT NULL,
    partitions int DEFAULT NULL,
    retention interval DEFAULT NULL,
    retention_bytes bigint DEFAULT NULL,
    compact boolean DEFAULT NULL,
    comment text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_alter'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.alter IS
    'change properties of a queue; NULL leaves one unchanged; 0, or an empty '
    'text, takes one away that need not be there';

-- drop: drops a queue and its tables.
--   force  also when there are messages in it, in whatever state, and when it
--          is another's dead-letter queue: dead messages then stay there
-- What is in its archive does not count, and is dropped with it.
-- Returns nothing.  Needs ownership of the queue.
-- Errors: 2BP01 while the queue is not empty, is another's dead-letter queue,
-- or a view depends on its table.
-- Waits for transactions that use the queue, then looks whether it is empty.
-- Rollback undoes it.
CREATE FUNCTION queue.drop(
    name text,
    force boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.drop IS
    'drop a queue; one that is not empty only with force';

-- purge: deletes all messages of a queue, leased ones included, but for those
-- that other running transactions are sending, deleting or have locked.
-- Returns how many.  Needs ownership of the queue or "manage".
-- Their receipts are stale afterwards.  Rollback brings the messages back.
CREATE FUNCTION queue.purge(name text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'queue_purge'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.purge IS
    'delete all messages of a queue and return their number';

-- pause: makes enqueue, dequeue or both fail with 55000 until resume.
--   enqueue, dequeue  which; false leaves that one as it is
-- Returns nothing.  Needs ownership of the queue or "manage".
-- Leases go on, ack and the like work.  Effective at commit.
CREATE FUNCTION queue.pause(
    name text,
    enqueue boolean DEFAULT true,
    dequeue boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_pause'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.pause IS
    'refuse enqueue and dequeue on a queue until it is resumed';

-- resume: ends pause for enqueue, dequeue or both.
--   enqueue, dequeue  which; false leaves that one as it is
-- Returns nothing.  Needs ownership of the queue or "manage".
-- Effective at commit.
CREATE FUNCTION queue.resume(
    name text,
    enqueue boolean DEFAULT true,
    dequeue boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_resume'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.resume IS
    'end the pause of a queue';

-- grant_access, revoke_access: GRANT and REVOKE on the queue's parent table.
--   privilege  send    = INSERT            enqueue
--              receive = UPDATE, DELETE    dequeue, ack, …, pop
--              browse  = SELECT            peek, get
--              manage  = ALL PRIVILEGES    all of these, and by TRUNCATE
--                                          alter, purge, pause, resume
-- Returns nothing.  Needs ownership of the queue or the grant options, as
-- GRANT does.  Only the owner can drop the queue.  Rollback undoes it.
CREATE FUNCTION queue.grant_access(
    name text,
    role regrole,
    privilege text)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_grant_access'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.grant_access IS
    'let a role send to, receive from, browse or manage a queue';

CREATE FUNCTION queue.revoke_access(
    name text,
    role regrole,
    privilege text)
RETURNS void
AS 'MODULE_PATHNAME', 'queue_revoke_access'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.revoke_access IS
    'take back what queue.grant_access() gave';


-- ---------------------------------------------------------------------------
-- Send
-- ---------------------------------------------------------------------------

-- enqueue: puts a message into a queue.
--   body, payload  what to deliver; both may be given, or none
--   headers        a JSON object, by which messages can be filtered
--   key            any text: the group whose order counts in a fifo queue, the
--                  tenant in a fair one; elsewhere only delivered
--   priority       0 to 9, higher first (else 22023)
--   delay          from now until it can be claimed; NULL = the queue's
--   deliver_at     the same as an instant; not together with delay
--   ttl            from now, > 0: a message not claimed by then never is, and
--                  dies; the queue's ttl holds when that is lower
--   dedup_id       any text: a message whose dedup_id was sent to this queue
--                  within dedup_window is accepted and not stored
-- Returns the message's id, ascending per queue, or the id of the first
-- message with the same dedup_id.  Needs INSERT (send).
-- Errors: 54000 above max_message_bytes, 55000 while paused, 53400 when the
-- queue is full, 42809 for a priority in a fifo queue.
-- Waits for another transaction that sends the same dedup_id, and with
-- overflow block for room, within lock_timeout (55P03) and statement_timeout.
-- Consumers see the message after commit, never after rollback; the id of a
-- message rolled back is not used again.
CREATE FUNCTION queue.enqueue(
    queue text,
    body jsonb DEFAULT NULL,
    payload bytea DEFAULT NULL,
    headers jsonb DEFAULT NULL,
    key text DEFAULT NULL,
    priority int DEFAULT 0,
    delay interval DEFAULT NULL,
    deliver_at timestamptz DEFAULT NULL,
    ttl interval DEFAULT NULL,
    dedup_id text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'queue_enqueue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.enqueue IS
    'put a message into a queue and return its id';

-- enqueue_batch: puts many messages into a queue, all or nothing.
--   bodies, payloads, headers, keys, dedup_ids  one element for each message;
--                       the arrays that are given have the same length; a
--                       null dedup_id is none
--   the others          as in enqueue, for all of them
-- Returns the ids in the order of the arrays.  Needs INSERT (send).
-- Errors and rollback: as enqueue.
CREATE FUNCTION queue.enqueue_batch(
    queue text,
    bodies jsonb[] DEFAULT NULL,
    payloads bytea[] DEFAULT NULL,
    headers jsonb[] DEFAULT NULL,
    keys text[] DEFAULT NULL,
    priority int DEFAULT 0,
    delay interval DEFAULT NULL,
    deliver_at timestamptz DEFAULT NULL,
    ttl interval DEFAULT NULL,
    dedup_ids text[] DEFAULT NULL)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'queue_enqueue_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.enqueue_batch IS
    'put many messages into a queue, all or nothing, and return their ids';


-- ---------------------------------------------------------------------------
-- Receive
-- ---------------------------------------------------------------------------

-- dequeue: leases the next messages of a queue.
--   max         how many at most, >= 1; fewer only when no more are claimable,
--               or while a large queue is looked through after a start
--   visibility  length of the lease, > 0; NULL = the queue's
--   wait        for the first message, at most; 0 = do not wait
--   filter      a JSON object: only messages whose headers @> filter
-- Returns the messages, each with the receipt of this lease.  Needs UPDATE
-- (receive).
-- Errors: 55000 while paused, 25001 for a wait in REPEATABLE READ or
-- SERIALIZABLE.
-- After waiting it claims with a fresh snapshot: a join in the same statement
-- may not see what was committed with the message.
-- The lease counts at once and is no part of the transaction.  When the
-- transaction aborts, the messages it took and did not settle come back after
-- the queue's backoff, with one failure more; after PREPARE TRANSACTION the
-- leases run until their end.
CREATE FUNCTION queue.dequeue(
    queue text,
    max int DEFAULT 1,
    visibility interval DEFAULT NULL,
    wait interval DEFAULT '0',
    filter jsonb DEFAULT NULL)
RETURNS SETOF queue.message
AS 'MODULE_PATHNAME', 'queue_dequeue'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.dequeue IS
    'lease the next messages of a queue';

-- dequeue_any: dequeue from several queues, one after the other, up to max.
--   queues  looked at in this order; needs UPDATE (receive) on each
--   the others, errors and rollback: as dequeue
-- Returns the messages with the name of their queue.
CREATE FUNCTION queue.dequeue_any(
    queues text[],
    max int DEFAULT 1,
    visibility interval DEFAULT NULL,
    wait interval DEFAULT '0')
RETURNS TABLE (
    queue text,
    id bigint,
    receipt bigint,
    body jsonb,
    payload bytea,
    headers jsonb,
    key text,
    priority int,
    deliveries int,
    failures int,
    enqueued_at timestamptz,
    visible_at timestamptz,
    expires_at timestamptz)
AS 'MODULE_PATHNAME', 'queue_dequeue_any'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.dequeue_any IS
    'lease the next messages of several queues';

-- receive: dequeue as a procedure, which holds no snapshot while it waits.
--   Parameters, errors and rollback: as dequeue.  A top-level CALL under READ
--   COMMITTED waits without a snapshot, also inside a transaction block; a
--   CALL from a function waits as dequeue does.
-- Returns the messages in messages, an empty array when there are none.
CREATE PROCEDURE queue.receive(
    queue text,
    max int DEFAULT 1,
    visibility interval DEFAULT NULL,
    wait interval DEFAULT '0',
    INOUT messages queue.message[] DEFAULT NULL)
AS 'MODULE_PATHNAME', 'queue_receive'
LANGUAGE C;
COMMENT ON PROCEDURE queue.receive IS
    'lease the next messages of a queue; waits without holding a snapshot';

-- pop: takes the next messages out of a queue with the caller's commit.
--   max, filter  as dequeue
--   wait         for something to take, at most; when there is something that
--                this statement's snapshot cannot see, returns no row at once
--                and the next call takes it
-- Returns the messages; receipt is NULL.  Needs DELETE (receive).
-- Errors: as dequeue.
-- What it returns is gone at commit, whether the client fetches it or not:
-- no LIMIT, no WHERE on the result.  On rollback the messages are back at
-- once, with one failure more.
CREATE FUNCTION queue.pop(
    queue text,
    max int DEFAULT 1,
    wait interval DEFAULT '0',
    filter jsonb DEFAULT NULL)
RETURNS SETOF queue.message
AS 'MODULE_PATHNAME', 'queue_pop'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.pop IS
    'take the next messages out of a queue; all rows returned are gone at '
    'commit';

-- step_down: in a queue with single_active, lets another session become the
-- active one without ending this one: the one that waits longest, else the
-- next that asks.  This session may become it again.  Leases stay.
-- Returns whether this session was the active one.  Needs UPDATE (receive).
-- At once, not undone by a rollback.
CREATE FUNCTION queue.step_down(queue text)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_step_down'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.step_down IS
    'give up being the active consumer of a queue with single_active';


-- ---------------------------------------------------------------------------
-- Settle.  A receipt that is stale, of another queue or malformed is no error:
-- the call returns false, or counts less.  All need UPDATE (receive).
-- ---------------------------------------------------------------------------

-- ack: done, the message is removed.
-- Returns true when the lease was still the caller's.
-- Commits with the caller: after rollback the lease goes on as before.
CREATE FUNCTION queue.ack(queue text, receipt bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_ack'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.ack IS
    'remove a message that was processed';

CREATE FUNCTION queue.ack_batch(queue text, receipts bigint[])
RETURNS int
AS 'MODULE_PATHNAME', 'queue_ack_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.ack_batch IS
    'remove messages that were processed and return how many';

-- nack: failed, try again later.
--   delay   until it can be claimed again, >= 0; NULL = the queue's backoff
--   reason  for people: if the message is dead now, field "detail" of its
--           header x-death in the dead-letter queue; the first 120 bytes
-- Returns true when the lease was still the caller's.  Counts as a failure;
-- with the max_attempts-th the message is dead.  At once, not undone by
-- rollback.
CREATE FUNCTION queue.nack(
    queue text,
    receipt bigint,
    delay interval DEFAULT NULL,
    reason text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_nack'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.nack IS
    'give a message back that could not be processed; counts as a failure';

CREATE FUNCTION queue.nack_batch(
    queue text,
    receipts bigint[],
    delay interval DEFAULT NULL,
    reason text DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'queue_nack_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.nack_batch IS
    'give messages back that could not be processed and return how many';

-- release: not processed, somebody else may take it.
--   delay  until it can be claimed again, >= 0; NULL = at once
-- Returns true when the lease was still the caller's.  No failure is counted.
-- At once, not undone by rollback.
CREATE FUNCTION queue.release(
    queue text,
    receipt bigint,
    delay interval DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_release'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.release IS
    'give a message back; does not count as a failure';

CREATE FUNCTION queue.release_batch(
    queue text,
    receipts bigint[],
    delay interval DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'queue_release_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.release_batch IS
    'give messages back without counting a failure and return how many';

-- reject: will never work, the message is dead now.
--   reason  for people, as in nack
-- Returns true when the lease was still the caller's.  The message goes to the
-- queue's dead-letter queue; without one it stays in state dead.  At once, not
-- undone by rollback.
CREATE FUNCTION queue.reject(
    queue text,
    receipt bigint,
    reason text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_reject'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.reject IS
    'declare a message dead';

CREATE FUNCTION queue.reject_batch(
    queue text,
    receipts bigint[],
    reason text DEFAULT NULL)
RETURNS int
AS 'MODULE_PATHNAME', 'queue_reject_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.reject_batch IS
    'declare messages dead and return how many';

-- extend: more time for a lease.
--   visibility  from now, > 0
-- Returns true when the lease was still the caller's; the receipt stays good.
-- At once, not undone by rollback.
CREATE FUNCTION queue.extend(
    queue text,
    receipt bigint,
    visibility interval)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_extend'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.extend IS
    'set the time that is left of a lease';

CREATE FUNCTION queue.extend_batch(
    queue text,
    receipts bigint[],
    visibility interval)
RETURNS int
AS 'MODULE_PATHNAME', 'queue_extend_batch'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.extend_batch IS
    'set the time that is left of leases and return how many';


-- ---------------------------------------------------------------------------
-- Look and repair
-- ---------------------------------------------------------------------------

-- peek: looks at messages without taking them.
--   max     how many at most, >= 1
--   state   ready | delayed | leased | dead; NULL = any
--   filter  only messages whose headers @> filter
-- Returns the messages in no promised order, receipt NULL, with their state
-- at this moment.  Needs SELECT (browse).  Reads the queue from its head.
CREATE FUNCTION queue.peek(
    queue text,
    max int DEFAULT 10,
    state text DEFAULT NULL,
    filter jsonb DEFAULT NULL)
RETURNS TABLE (
    id bigint,
    receipt bigint,
    body jsonb,
    payload bytea,
    headers jsonb,
    key text,
    priority int,
    deliveries int,
    failures int,
    enqueued_at timestamptz,
    visible_at timestamptz,
    expires_at timestamptz,
    state text)
AS 'MODULE_PATHNAME', 'queue_peek'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue.peek IS
    'look at messages without taking them';

-- get: looks at one message by its id.
-- Returns one row as peek's, or none.  Needs SELECT (browse).
-- Reads the few pages that may have it, by the ranges of ids in the ready map;
-- on a standby, and just after a start, the queue.
CREATE FUNCTION queue.get(queue text, id bigint)
RETURNS TABLE (
    id bigint,
    receipt bigint,
    body jsonb,
    payload bytea,
    headers jsonb,
    key text,
    priority int,
    deliveries int,
    failures int,
    enqueued_at timestamptz,
    visible_at timestamptz,
    expires_at timestamptz,
    state text)
AS 'MODULE_PATHNAME', 'queue_get'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION queue.get IS
    'look at one message';

-- cancel: removes a message that nobody has leased.
-- Returns true when it was there and is removed, false when there is none of
-- this id or it is leased.  Needs DELETE (receive).  Commits with the caller.
-- Finds it as get does.
CREATE FUNCTION queue.cancel(queue text, id bigint)
RETURNS boolean
AS 'MODULE_PATHNAME', 'queue_cancel'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.cancel IS
    'remove a message by its id unless it is leased';

-- archived: looks at acked messages that a queue with an archive has kept.
--   since, until  time of the ack: not before since, before until; NULL = any
--   max           how many at most, >= 1; the oldest acks
-- Returns the messages in the order of their acks, receipt and visible_at
-- NULL.  Needs SELECT (browse).  Reads the archive.
-- Errors: 55000 when the queue has no archive, 22023 for since > until.
CREATE FUNCTION queue.archived(
    queue text,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    max int DEFAULT 100)
RETURNS TABLE (
    id bigint,
    receipt bigint,
    body jsonb,
    payload bytea,
    headers jsonb,
    key text,
    priority int,
    deliveries int,
    failures int,
    enqueued_at timestamptz,
    visible_at timestamptz,
    expires_at timestamptz,
    archived_at timestamptz)
AS 'MODULE_PATHNAME', 'queue_archived'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue.archived IS
    'look at acked messages that a queue has kept';

-- replay: sends acked messages again, from the queue's archive.
--   since, until  time of the ack: not before since, before until; until NULL
--                 = to the end
--   target        the queue that gets the copies; NULL = the same
-- Returns how many.  The copies are new messages, sent in the order of the
-- acks: new ids, no deliveries, the target's delay and time to live.  Their
-- headers->'x-replay' names queue, id and acked_at of the first.  The archive
-- stays as it is.  Needs SELECT (browse) on the queue, INSERT (send) on the
-- target.  Commits with the caller.
-- Errors: 55000 when the queue has no archive or the target is paused, 22023
-- for since > until, 54000 for a message that the target does not take.
CREATE FUNCTION queue.replay(
    queue text,
    since timestamptz,
    until timestamptz DEFAULT NULL,
    target text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'queue_replay'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.replay IS
    'send acked messages again, from a queue''s archive';

-- move: moves messages of one queue to another.
--   max     how many at most, >= 1; NULL = all
--   filter  only messages whose headers @> filter
-- Returns how many.  Needs DELETE (receive) on the source and INSERT (send) on
-- the target; 55000 while that is paused; 54000 for a message that it does not
-- take; when it is full the same as enqueue, 53400 as a rule, and nothing is
-- moved.
-- Takes what is ready, delayed or dead, in order, and passes over what is
-- leased, expired, or locked by another transaction.  A message keeps what was
-- sent with it, its delay and its time to live; it gets a new id, and its
-- deliveries and failures count from 0.  A dead one is ready in the target.
-- Commits with the caller.
CREATE FUNCTION queue.move(
    source text,
    target text,
    max bigint DEFAULT NULL,
    filter jsonb DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'queue_move'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.move IS
    'move messages of one queue to another and return their number';

-- redrive: gives dead messages another chance.
--   target       NULL = each goes to the queue where it died last, by the
--                first entry of its header x-death; those that are dead in
--                this queue itself become ready in it again
--   max, filter  as move
-- Returns how many.  Needs DELETE (receive) on the queue and INSERT (send) on
-- each target; 55000 while one is paused; when one is full the same as
-- enqueue, 53400 as a rule, and nothing is moved.
-- Messages without a history, and those whose queue is gone, stay where they
-- are unless a target is given.  A message keeps what was sent with it and its
-- x-death; its time to live is the target's.  The rest as move.
CREATE FUNCTION queue.redrive(
    dead_letter_queue text,
    target text DEFAULT NULL,
    max bigint DEFAULT NULL,
    filter jsonb DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'queue_redrive'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue.redrive IS
    'move dead messages back to where they came from and return their number';


-- ---------------------------------------------------------------------------
-- Internal functions
-- ---------------------------------------------------------------------------

-- The trigger on each table of a queue: raises 55000.
CREATE FUNCTION queue._refuse_write()
RETURNS trigger
AS 'MODULE_PATHNAME', 'queue__refuse_write'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue._refuse_write IS
    'trigger function that refuses plain SQL on a queue''s tables';

-- Tells the launcher at commit that this database wants a worker; 55000 with
-- a HINT when the library is not preloaded.
CREATE FUNCTION queue._start_worker()
RETURNS void
AS 'MODULE_PATHNAME', 'queue__start_worker'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION queue._start_worker IS
    'have a background worker started for this database';

-- What the views show, from shared memory and the catalog tables.  _stats also
-- reads pages that changed since they were last looked at, up to a limit;
-- _in_flight and _consumers read the pages with leases.

-- One row for each queue; counters since the server started, rates per second
-- over the last interval measured.  NULL where nothing is known yet.
CREATE FUNCTION queue._stats()
RETURNS TABLE (
    queue text,
    ready bigint,
    delayed bigint,
    leased bigint,
    dead bigint,
    total bigint,
    bytes bigint,
    oldest_ready_age interval,
    enqueued bigint,
    delivered bigint,
    acked bigint,
    nacked bigint,
    expired bigint,
    dead_lettered bigint,
    dropped bigint,
    redelivered bigint,
    stale_receipts bigint,
    enqueue_rate float8,
    delivery_rate float8,
    ack_rate float8,
    wait_p50 interval,
    wait_p99 interval,
    processing_p50 interval,
    processing_p99 interval)
AS 'MODULE_PATHNAME', 'queue__stats'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue._stats IS
    'rows of the view queue.stats';

-- One row for each lease that is running.
CREATE FUNCTION queue._in_flight()
RETURNS TABLE (
    queue text,
    id bigint,
    holder int,
    since timestamptz,
    until timestamptz,
    deliveries int,
    failures int)
AS 'MODULE_PATHNAME', 'queue__in_flight'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue._in_flight IS
    'rows of the view queue.in_flight';

-- One row for each segment, free ones included.
CREATE FUNCTION queue._segments()
RETURNS TABLE (
    queue text,
    segment int,
    relation regclass,
    chain text,
    state text,
    pages bigint,
    bytes bigint,
    live bigint,
    dead_pages bigint,
    ready_pages bigint,
    pending_pages bigint,
    next_due timestamptz)
AS 'MODULE_PATHNAME', 'queue__segments'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue._segments IS
    'rows of the view queue.segments';

-- One row for each database with a worker, or that should have one.
CREATE FUNCTION queue._workers()
RETURNS TABLE (
    database name,
    pid int,
    state text,
    started_at timestamptz,
    last_activity timestamptz,
    next_wakeup timestamptz,
    loops bigint)
AS 'MODULE_PATHNAME', 'queue__workers'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION queue._workers IS
    'rows of the view queue.workers';

-- One row for each queue and session that waits for messages of it (waiting)
-- or holds leases of it (active).
CREATE FUNCTION queue._consumers()
RETURNS TABLE (
    queue text,
    pid int,
    state text,
    since timestamptz,
    single_active boolean)
AS 'MODULE_PATHNAME', 'queue__consumers'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION queue._consumers IS
    'rows of the view queue.consumers';


-- ---------------------------------------------------------------------------
-- Views.  A view's functions run with the privileges of whoever reads it: who
-- is to read one without being a member of pg_monitor needs SELECT on the
-- view and EXECUTE on the function behind it.
-- ---------------------------------------------------------------------------

-- The name's collation is made the database's, so that the views can be
-- joined with each other.
CREATE VIEW queue.queues AS
SELECT d.name COLLATE pg_catalog."default" AS queue,
       d.id,
       d.relation,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner,
       CASE WHEN c.oid IS NULL THEN 'broken'
            WHEN d.enqueue_paused AND d.dequeue_paused THEN 'paused'
            WHEN d.enqueue_paused THEN 'enqueue paused'
            WHEN d.dequeue_paused THEN 'dequeue paused'
            ELSE 'active' END AS state,
       d.kind,
       d.visibility_timeout,
       d.max_attempts,
       d.dead_letter,
       d.retry_delay,
       d.retry_backoff,
       d.retry_max_delay,
       d.delay,
       d.ttl,
       d.max_messages,
       d.max_bytes,
       d.overflow,
       d.max_in_flight,
       d.max_message_bytes,
       d.dedup_window,
       d.persistence,
       d.single_active,
       d.fair,
       d.archive,
       d.partitions,
       d.retention,
       d.retention_bytes,
       d.compact,
       d.enqueue_paused,
       d.dequeue_paused,
       (SELECT pg_catalog.count(*)
          FROM queue.segment_def s
         WHERE s.queue_id OPERATOR(pg_catalog.=) d.id
           AND s.state OPERATOR(pg_catalog.<>) 'f'::"char") AS segments,
       d.created_at,
       pg_catalog.obj_description(d.relation::pg_catalog.oid,
                                  'pg_class'::pg_catalog.name) AS comment
  FROM queue.queue_def d
  LEFT JOIN pg_catalog.pg_class c
    ON c.oid OPERATOR(pg_catalog.=) d.relation::pg_catalog.oid;
COMMENT ON VIEW queue.queues IS
    'properties and state of each queue';
COMMENT ON COLUMN queue.queues.queue IS
    'name of the queue';
COMMENT ON COLUMN queue.queues.id IS
    'number of the queue';
COMMENT ON COLUMN queue.queues.relation IS
    'the parent table: privileges on it are privileges on the queue';
COMMENT ON COLUMN queue.queues.owner IS
    'role that owns the queue';
COMMENT ON COLUMN queue.queues.state IS
    'active, paused, enqueue paused, dequeue paused, or broken: the '
    'parent table was dropped by hand';
COMMENT ON COLUMN queue.queues.kind IS
    'work or fifo';
COMMENT ON COLUMN queue.queues.visibility_timeout IS
    'length of a lease where the call says nothing';
COMMENT ON COLUMN queue.queues.max_attempts IS
    'failures with which a message is dead; NULL = no limit';
COMMENT ON COLUMN queue.queues.dead_letter IS
    'the queue to which dead messages go; NULL = none';
COMMENT ON COLUMN queue.queues.retry_delay IS
    'how long a message waits after its first failure';
COMMENT ON COLUMN queue.queues.retry_backoff IS
    'how that wait grows: none, linear or exponential';
COMMENT ON COLUMN queue.queues.retry_max_delay IS
    'the longest wait after a failure';
COMMENT ON COLUMN queue.queues.delay IS
    'delay of messages that are sent without one';
COMMENT ON COLUMN queue.queues.ttl IS
    'time to live of each message; NULL = no limit';
COMMENT ON COLUMN queue.queues.max_messages IS
    'most messages in the queue; NULL = no limit';
COMMENT ON COLUMN queue.queues.max_bytes IS
    'most bytes in the queue, counted as by max_message_bytes; NULL = no '
    'limit';
COMMENT ON COLUMN queue.queues.overflow IS
    'what a send does when the queue is full: reject, block or '
    'drop_oldest';
COMMENT ON COLUMN queue.queues.max_in_flight IS
    'most messages leased at a time, over all sessions; NULL = no limit';
COMMENT ON COLUMN queue.queues.max_message_bytes IS
    'most bytes of body, payload, headers and key of a message; NULL = no '
    'limit';
COMMENT ON COLUMN queue.queues.dedup_window IS
    'how long a dedup_id counts; NULL = 5 minutes';
COMMENT ON COLUMN queue.queues.persistence IS
    'logged, or unlogged: empty after a crash';
COMMENT ON COLUMN queue.queues.single_active IS
    'one session at a time is served';
COMMENT ON COLUMN queue.queues.fair IS
    'keys are tenants; those with few messages in flight come first';
COMMENT ON COLUMN queue.queues.archive IS
    'how long acked messages are kept; NULL = not at all';
COMMENT ON COLUMN queue.queues.partitions IS
    'always 1 in this version';
COMMENT ON COLUMN queue.queues.retention IS
    'always NULL in this version';
COMMENT ON COLUMN queue.queues.retention_bytes IS
    'always NULL in this version';
COMMENT ON COLUMN queue.queues.compact IS
    'always false in this version';
COMMENT ON COLUMN queue.queues.enqueue_paused IS
    'sends are refused';
COMMENT ON COLUMN queue.queues.dequeue_paused IS
    'claims and pops are refused';
COMMENT ON COLUMN queue.queues.segments IS
    'tables that hold or take messages';
COMMENT ON COLUMN queue.queues.created_at IS
    'when the queue was made';
COMMENT ON COLUMN queue.queues.comment IS
    'comment of the parent table';

CREATE VIEW queue.stats AS
SELECT s.queue, s.ready, s.delayed, s.leased, s.dead, s.total, s.bytes,
       s.oldest_ready_age, s.enqueued, s.delivered, s.acked, s.nacked,
       s.expired, s.dead_lettered, s.dropped, s.redelivered,
       s.stale_receipts, s.enqueue_rate, s.delivery_rate, s.ack_rate,
       s.wait_p50, s.wait_p99, s.processing_p50, s.processing_p99
  FROM queue._stats() s;
COMMENT ON VIEW queue.stats IS
    'messages, counters, rates and times of each queue; never scans one';
COMMENT ON COLUMN queue.stats.queue IS
    'name of the queue';
COMMENT ON COLUMN queue.stats.ready IS
    'messages that can be claimed now';
COMMENT ON COLUMN queue.stats.delayed IS
    'messages that wait for their time: sent with a delay, or given back '
    'with one';
COMMENT ON COLUMN queue.stats.leased IS
    'messages that a consumer holds';
COMMENT ON COLUMN queue.stats.dead IS
    'messages that are never delivered again';
COMMENT ON COLUMN queue.stats.total IS
    'messages in whatever state; this and the four before: those of '
    'committed transactions';
COMMENT ON COLUMN queue.stats.bytes IS
    'bytes that the messages take in the queue''s pages; values stored '
    'out of line are not counted';
COMMENT ON COLUMN queue.stats.oldest_ready_age IS
    'how long the oldest claimable message has been waiting';
COMMENT ON COLUMN queue.stats.enqueued IS
    'messages sent and committed; this and the following counters: since '
    'the server started';
COMMENT ON COLUMN queue.stats.delivered IS
    'messages leased and popped, redeliveries included';
COMMENT ON COLUMN queue.stats.acked IS
    'messages acked and popped, committed';
COMMENT ON COLUMN queue.stats.nacked IS
    'nacks, claims rolled back, and leases given back at the end of their '
    'session';
COMMENT ON COLUMN queue.stats.expired IS
    'leases that ended';
COMMENT ON COLUMN queue.stats.dead_lettered IS
    'messages that died, whatever became of them';
COMMENT ON COLUMN queue.stats.dropped IS
    'of those the ones that went: expired or had to make room, and there '
    'was no dead-letter queue, or they had been there';
COMMENT ON COLUMN queue.stats.redelivered IS
    'deliveries that were not the first';
COMMENT ON COLUMN queue.stats.stale_receipts IS
    'receipts that fitted nothing';
COMMENT ON COLUMN queue.stats.enqueue_rate IS
    'enqueued; this and the following rates: per second, over the last '
    'interval';
COMMENT ON COLUMN queue.stats.delivery_rate IS
    'delivered';
COMMENT ON COLUMN queue.stats.ack_rate IS
    'acked';
COMMENT ON COLUMN queue.stats.wait_p50 IS
    'from enqueue to first delivery: median';
COMMENT ON COLUMN queue.stats.wait_p99 IS
    'from enqueue to first delivery: 99 % took no longer';
COMMENT ON COLUMN queue.stats.processing_p50 IS
    'from delivery to ack: median';
COMMENT ON COLUMN queue.stats.processing_p99 IS
    'from delivery to ack: 99 % took no longer';

-- A process id is used again some day: a session that began after the lease
-- is not its holder.
CREATE VIEW queue.in_flight AS
SELECT f.queue, f.id, f.holder, a.application_name, a.client_addr, f.since,
       f.until, f.deliveries, f.failures
  FROM queue._in_flight() f
  LEFT JOIN pg_catalog.pg_stat_activity a
    ON a.pid OPERATOR(pg_catalog.=) f.holder
   AND a.backend_start OPERATOR(pg_catalog.<=)
       COALESCE(f.since, f.until);
COMMENT ON VIEW queue.in_flight IS
    'messages that are leased, and by whom';
COMMENT ON COLUMN queue.in_flight.queue IS
    'name of the queue';
COMMENT ON COLUMN queue.in_flight.id IS
    'number of the message';
COMMENT ON COLUMN queue.in_flight.holder IS
    'process id of the session that took the lease';
COMMENT ON COLUMN queue.in_flight.application_name IS
    'of that session, if it is still there';
COMMENT ON COLUMN queue.in_flight.client_addr IS
    'of that session, if it is still there';
COMMENT ON COLUMN queue.in_flight.since IS
    'when the lease was taken; NULL when that is not known';
COMMENT ON COLUMN queue.in_flight.until IS
    'when the lease ends';
COMMENT ON COLUMN queue.in_flight.deliveries IS
    'how often the message was delivered, this time included';
COMMENT ON COLUMN queue.in_flight.failures IS
    'how many deliveries failed before';

CREATE VIEW queue.segments AS
SELECT s.queue, s.segment, s.relation, s.chain, s.state, s.pages, s.bytes,
       s.live, s.dead_pages, s.ready_pages, s.pending_pages, s.next_due
  FROM queue._segments() s;
COMMENT ON VIEW queue.segments IS
    'the tables that hold messages, and what the ready map says about them';
COMMENT ON COLUMN queue.segments.queue IS
    'name of the queue';
COMMENT ON COLUMN queue.segments.segment IS
    'life number, ascending per queue';
COMMENT ON COLUMN queue.segments.relation IS
    'the table';
COMMENT ON COLUMN queue.segments.chain IS
    'main, parking for stragglers, dead and far-delayed messages, or '
    'archive';
COMMENT ON COLUMN queue.segments.state IS
    'open, sealed (no insert any more) or free (truncated, a spare)';
COMMENT ON COLUMN queue.segments.pages IS
    'size of the table in pages';
COMMENT ON COLUMN queue.segments.bytes IS
    'size with what is stored out of line';
COMMENT ON COLUMN queue.segments.live IS
    'messages known in it; this and the following are NULL where the '
    'ready map has no place for it';
COMMENT ON COLUMN queue.segments.dead_pages IS
    'pages without a message';
COMMENT ON COLUMN queue.segments.ready_pages IS
    'pages that may have something to claim';
COMMENT ON COLUMN queue.segments.pending_pages IS
    'pages where a running transaction decides';
COMMENT ON COLUMN queue.segments.next_due IS
    'no lease or delay in it ends earlier';

CREATE VIEW queue.workers AS
SELECT w.database, w.pid, w.state, w.started_at, w.last_activity,
       w.next_wakeup, w.loops
  FROM queue._workers() w;
COMMENT ON VIEW queue.workers IS
    'the background workers of all databases';
COMMENT ON COLUMN queue.workers.database IS
    'name of the database';
COMMENT ON COLUMN queue.workers.pid IS
    'process id of the worker';
COMMENT ON COLUMN queue.workers.state IS
    'running, starting, or wanted: the launcher will start it, or cannot';
COMMENT ON COLUMN queue.workers.started_at IS
    'when it started';
COMMENT ON COLUMN queue.workers.last_activity IS
    'when it last began a turn';
COMMENT ON COLUMN queue.workers.next_wakeup IS
    'when it wakes at the latest; NULL while it works';
COMMENT ON COLUMN queue.workers.loops IS
    'its turns since the server started';

CREATE VIEW queue.consumers AS
SELECT c.queue, c.pid, c.state, c.since, c.single_active, a.usename,
       a.application_name, a.client_addr
  FROM queue._consumers() c
  LEFT JOIN pg_catalog.pg_stat_activity a
    ON a.pid OPERATOR(pg_catalog.=) c.pid;
COMMENT ON VIEW queue.consumers IS
    'sessions that wait for messages or hold leases, or are the active one';
COMMENT ON COLUMN queue.consumers.queue IS
    'name of the queue';
COMMENT ON COLUMN queue.consumers.pid IS
    'process id of the session';
COMMENT ON COLUMN queue.consumers.state IS
    'waiting for messages, or active: holds a lease, or is the one that '
    'is served';
COMMENT ON COLUMN queue.consumers.since IS
    'start of the wait; NULL when it does not wait';
COMMENT ON COLUMN queue.consumers.single_active IS
    'the one session that a queue with single_active serves';
COMMENT ON COLUMN queue.consumers.usename IS
    'role of the session';
COMMENT ON COLUMN queue.consumers.application_name IS
    'as the session has set it';
COMMENT ON COLUMN queue.consumers.client_addr IS
    'address of its client; NULL = a local socket';


-- ---------------------------------------------------------------------------
-- Privileges.  The functions check for themselves what the caller may do with
-- a queue; tables, views and internal functions are nobody's business.
-- ---------------------------------------------------------------------------

GRANT USAGE ON SCHEMA queue TO PUBLIC;
GRANT USAGE ON TYPE queue.message TO PUBLIC;

GRANT EXECUTE ON FUNCTION
    queue.create, queue.alter, queue.drop, queue.purge, queue.pause,
    queue.resume, queue.grant_access, queue.revoke_access,
    queue.enqueue, queue.enqueue_batch,
    queue.dequeue, queue.dequeue_any, queue.pop, queue.step_down,
    queue.ack, queue.ack_batch, queue.nack, queue.nack_batch,
    queue.release, queue.release_batch, queue.reject, queue.reject_batch,
    queue.extend, queue.extend_batch,
    queue.peek, queue.get, queue.cancel, queue.move, queue.redrive,
    queue.archived, queue.replay
    TO PUBLIC;
GRANT EXECUTE ON PROCEDURE queue.receive TO PUBLIC;

REVOKE ALL ON TABLE
    queue.queue_def, queue.segment_def, queue.forwarding, queue.dedup_def,
    queue.dedup_minutes_a, queue.dedup_minutes_b,
    queue.dedup_hour_a, queue.dedup_hour_b,
    queue.dedup_day_a, queue.dedup_day_b,
    queue.dedup_long_a, queue.dedup_long_b,
    queue.queues, queue.stats, queue.in_flight, queue.segments,
    queue.workers, queue.consumers
    FROM PUBLIC;
REVOKE ALL ON SEQUENCE queue.queue_id_seq FROM PUBLIC;
REVOKE ALL ON FUNCTION
    queue._refuse_write, queue._start_worker, queue._stats,
    queue._in_flight, queue._segments, queue._workers, queue._consumers
    FROM PUBLIC;

GRANT SELECT ON TABLE
    queue.queues, queue.stats, queue.in_flight, queue.segments,
    queue.workers, queue.consumers
    TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    queue._stats, queue._in_flight, queue._segments, queue._workers,
    queue._consumers
    TO pg_monitor;


SELECT queue._start_worker();
