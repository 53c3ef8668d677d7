-- The demo's queue, and the table that its consumers fill. The table has no
-- unique key on purpose: were a file processed twice, it would be there twice.
CREATE EXTENSION queue;

SELECT queue.create('files', visibility_timeout => '3 s',
                    comment => 'files whose SHA-256 is wanted');

CREATE TABLE digest (
    path text NOT NULL,
    sha256 text NOT NULL,
    consumer text NOT NULL,
    deliveries int NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
