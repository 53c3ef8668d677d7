-- A queue for each of :clients consumers, since each consumer of a PgQ queue
-- gets all of its messages. Producers send to the first.
SET client_min_messages = warning;
CREATE EXTENSION pgq;
CREATE SCHEMA bench_pgq;
CREATE SEQUENCE bench_pgq.producer MINVALUE 0;
CREATE SEQUENCE bench_pgq.consumer MINVALUE 0;
CREATE TABLE bench_pgq.queues AS SELECT :clients AS n;

SELECT pgq.create_queue(q), pgq.set_queue_config(q, 'ticker_max_count', '1'),
       pgq.ticker(q), pgq.register_consumer(q, 'c')
  FROM (SELECT 'bench_' || i AS q FROM generate_series(0, :clients - 1) i) s;

-- Ticks after every batch, so that consumers get batches of this size.
CREATE PROCEDURE bench_pgq.load(count int, batch int)
LANGUAGE plpgsql AS $$
DECLARE
    queue text;
    share int;
    done  int;
    n     int;
BEGIN
    FOR i IN 0 .. (SELECT q.n - 1 FROM bench_pgq.queues q) LOOP
        queue := 'bench_' || i;
        share := count / (SELECT q.n FROM bench_pgq.queues q);
        done := 0;
        WHILE done < share LOOP
            n := least(batch, share - done);
            PERFORM pgq.insert_event(queue, 't', bodies[1 + (done + j) % 1000]::text)
               FROM bench.pool, generate_series(0, n - 1) j
              WHERE chunk = (done / 1000) % 20;
            COMMIT;
            PERFORM pgq.ticker(queue);
            COMMIT;
            done := done + n;
        END LOOP;
    END LOOP;
END $$;

-- Which queue this session sends to, or consumes.
CREATE FUNCTION bench_pgq.mine(kind regclass) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    name text := 'bench.' || split_part(kind::text, '.', 2);
BEGIN
    IF coalesce(current_setting(name, true), '') = '' THEN
        PERFORM set_config(name, 'bench_' || nextval(kind) %
                           (SELECT n FROM bench_pgq.queues), false);
    END IF;
    RETURN current_setting(name);
END $$;

CREATE FUNCTION bench_pgq.claim() RETURNS TABLE (batch bigint, body text)
LANGUAGE plpgsql AS $$
DECLARE
    b bigint := pgq.next_batch(bench_pgq.mine('bench_pgq.consumer'), 'c');
BEGIN
    IF b IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT b, ev_data FROM pgq.get_batch_events(b);
    IF NOT FOUND THEN
        PERFORM pgq.finish_batch(b);
    END IF;
END $$;
