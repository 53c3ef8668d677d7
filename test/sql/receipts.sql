--
-- A receipt that is forged, foreign, of another time or malformed has no
-- effect, raises no error and is counted.
--
SELECT queue.create('forge');
SELECT queue.create('forge other');
SELECT count(queue.enqueue('forge', to_jsonb(i))) FROM generate_series(1, 2000) i;
SELECT count(queue.enqueue('forge other', to_jsonb(i))) FROM generate_series(1, 2000) i;
SELECT array_agg(receipt ORDER BY id) AS mine FROM queue.dequeue('forge', 2000, '1 h') \gset
SELECT array_agg(receipt ORDER BY id) AS other FROM queue.dequeue('forge other', 2000, '1 h') \gset
SELECT count(DISTINCT r) FROM unnest(:'mine'::bigint[]) r;

-- What the queue looks like must not change.
CREATE VIEW looks AS
SELECT md5(string_agg(concat_ws('|', id, visible_at, lease, deliveries, failures, holder, body), ',' ORDER BY id))
  FROM queue.forge;
SELECT * FROM looks \gset before_

-- Numbers at random, by the hundred thousand.
SELECT setseed(0.5);
CREATE TEMP TABLE forged AS
SELECT array_agg((random() * 2 ^ 32)::bigint << 32 | (random() * 2 ^ 31)::bigint) AS receipts
  FROM generate_series(1, 100000);
SELECT queue.ack_batch('forge', receipts), queue.nack_batch('forge', receipts),
       queue.release_batch('forge', receipts, '0'), queue.reject_batch('forge', receipts),
       queue.extend_batch('forge', receipts, '1 us')
  FROM forged;

-- Real ones with other tokens: the lowest 25 bits changed.
UPDATE forged SET receipts = (
    SELECT array_agg(r # (1 + random() * (2 ^ 25 - 2))::bigint)
      FROM unnest(:'mine'::bigint[]) r, generate_series(1, 20));
SELECT queue.ack_batch('forge', receipts), queue.nack_batch('forge', receipts),
       queue.release_batch('forge', receipts), queue.reject_batch('forge', receipts),
       queue.extend_batch('forge', receipts, '1 us')
  FROM forged;

-- Every single bit changed, except where that gives another of the receipts:
-- the leases of one call have the same token.  Then the token 0, which no lease
-- has.
CREATE TEMP TABLE mine AS SELECT unnest(:'mine'::bigint[]) AS receipt;
UPDATE forged SET receipts = (
    SELECT array_agg(r # (1::bigint << bit))
      FROM unnest((:'mine'::bigint[])[1:500]) r, generate_series(0, 63) bit
     WHERE NOT EXISTS (SELECT FROM mine WHERE receipt = r # (1::bigint << bit)));
SELECT queue.ack_batch('forge', receipts) + queue.extend_batch('forge', receipts, '1 us') AS done
  FROM forged;
UPDATE forged SET receipts = (
    SELECT array_agg(r >> 25 << 25) FROM unnest(:'mine'::bigint[]) r);
SELECT queue.ack_batch('forge', receipts) + queue.extend_batch('forge', receipts, '1 us') AS done
  FROM forged;

-- A good token with addresses all over the segment, beyond its end too.
UPDATE forged SET receipts = (
    SELECT array_agg(forgery)
      FROM unnest((:'mine'::bigint[])[7:7]) r, generate_series(0, (1 << 27) - 1, 1009) n,
           LATERAL (SELECT (r & ~(((1::bigint << 27) - 1) << 25)) | (n::bigint << 25)) s (forgery)
     WHERE NOT EXISTS (SELECT FROM mine WHERE receipt = forgery));
SELECT queue.ack_batch('forge', receipts) + queue.nack_batch('forge', receipts) AS done
  FROM forged;

-- Those of another queue, of all life numbers, and the ends of the range.
SELECT queue.ack_batch('forge', :'other'), queue.extend_batch('forge', :'other', '1 us');
UPDATE forged SET receipts = (
    SELECT array_agg((r & ((1::bigint << 52) - 1)) | (life << 52))
      FROM unnest((:'mine'::bigint[])[1:50]) r, generate_series(0, 4095) life
     WHERE life <> (r >> 52 & 4095));
SELECT queue.ack_batch('forge', receipts) + queue.nack_batch('forge', receipts) AS done
  FROM forged;
SELECT r, queue.ack('forge', r), queue.nack('forge', r), queue.release('forge', r),
       queue.reject('forge', r), queue.extend('forge', r, '1 us')
  FROM unnest('{NULL,0,1,-1,9223372036854775807,-9223372036854775808,
                4503599627370496,4294967296,-4294967296}'::bigint[]) r;

SELECT * FROM looks \gset after_
SELECT :'before_md5' = :'after_md5' AS unchanged;
SELECT stale_receipts > 800000 AS counted, acked, nacked FROM queue.stats WHERE queue = 'forge';

-- The real ones still work, also hidden among forged ones.
UPDATE forged SET receipts = receipts || :'mine'::bigint[];
SELECT queue.ack_batch('forge', receipts) FROM forged;
SELECT queue.ack_batch('forge other', :'other');
SELECT count(*) FROM queue.peek('forge');

-- Receipts of messages that are gone, whose pages were pruned and filled anew.
SELECT s.relation AS segment FROM queue.segment_def s JOIN queue.queue_def d
    ON d.id = s.queue_id WHERE d.name = 'forge' AND s.chain = 'm' \gset
VACUUM :segment;
SELECT queue.ack_batch('forge', :'mine') AS vacuumed;
SELECT count(queue.enqueue('forge', to_jsonb(i))) FROM generate_series(1, 2000) i;
SELECT queue.ack_batch('forge', :'mine') AS ready;
SELECT count(*) FROM queue.dequeue('forge', 2000);
SELECT queue.ack_batch('forge', :'mine') AS leased;
SELECT count(*) FROM queue.peek('forge', 3000);

-- A rewritten segment: the address of each message may be another one, and no
-- receipt of before may hit a stranger.
SELECT queue.purge('forge');
SELECT count(queue.enqueue('forge', to_jsonb(i))) FROM generate_series(1, 1000) i;
SELECT array_agg(receipt ORDER BY id) AS odd FROM queue.dequeue('forge', 1000, '1 h') WHERE id % 2 = 1 \gset
SELECT queue.ack_batch('forge', (:'odd'::bigint[])[1:250]);
VACUUM FULL :segment;
SELECT queue.ack_batch('forge', :'odd') <= 250 AS at_most;
SELECT count(*) FROM queue.forge WHERE id % 2 = 0;
SELECT queue.purge('forge') BETWEEN 500 AND 750 AS ok;

DROP VIEW looks;
SELECT queue.drop('forge', true), queue.drop('forge other', true);
