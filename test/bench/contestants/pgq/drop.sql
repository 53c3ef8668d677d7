SET client_min_messages = warning;
DROP EXTENSION IF EXISTS pgq CASCADE;
DROP SCHEMA IF EXISTS bench_pgq CASCADE;
