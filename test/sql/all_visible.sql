--
-- Pages that VACUUM found to be all-visible are not so any more when something
-- on them was deleted, by whatever function.
--
CREATE EXTENSION pg_visibility;
SELECT queue.create('av_other');
SELECT queue.create('av', dead_letter => 'av_other', visibility_timeout => '1 h');
SELECT count(queue.enqueue('av', to_jsonb(i))) FROM generate_series(1, 400) i;
SELECT receipt AS r FROM queue.dequeue('av') \gset
SELECT s.relation AS tab FROM queue.segment_def s JOIN queue.queue_def d ON d.id = s.queue_id
 WHERE d.name = 'av' AND s.chain = 'm' \gset
-- Pages that are called all-visible, and are not.
CREATE FUNCTION wrong(regclass) RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(*) FROM pg_check_visible($1) $$;

VACUUM :tab;
SELECT relallvisible > 1 AS visible FROM pg_class WHERE oid = :'tab'::regclass;
SELECT queue.ack('av', :r);
SELECT wrong(:'tab');
VACUUM :tab;
SELECT body FROM queue.pop('av', 2);
SELECT wrong(:'tab');
VACUUM :tab;
SELECT queue.cancel('av', id) FROM queue.peek('av', 1);
SELECT wrong(:'tab');
VACUUM :tab;
SELECT queue.move('av', 'av_other', 3);
SELECT wrong(:'tab');
VACUUM :tab;
SELECT queue.reject('av', receipt) FROM queue.dequeue('av', 2);
SELECT wait_until($$(SELECT total = 5 FROM queue.stats WHERE queue = 'av_other')$$);
SELECT wrong(:'tab');
VACUUM :tab;
SELECT relallvisible > 1 AS visible FROM pg_class WHERE oid = :'tab'::regclass;
BEGIN;
SELECT queue.purge('av');
ROLLBACK;
SELECT wrong(:'tab');

-- What a message was, it is: nothing is lost or doubled by it.
SELECT count(*), count(DISTINCT body) FROM queue.peek('av', 1000);
SELECT count(*), count(DISTINCT body) FROM queue.peek('av_other', 1000);
SELECT queue.purge('av');

DROP FUNCTION wrong(regclass);
DROP EXTENSION pg_visibility;
SELECT queue.drop('av', true), queue.drop('av_other', true);
