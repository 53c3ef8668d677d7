SET client_min_messages = warning;
\set ON_ERROR_STOP 0
CREATE SCHEMA IF NOT EXISTS pgmq;
\i :pgmq_file
\set ON_ERROR_STOP 1
SELECT pgmq.create('bench');
