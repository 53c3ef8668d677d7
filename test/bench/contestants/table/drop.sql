SET client_min_messages = warning;
DROP TABLE IF EXISTS bench_table;
DROP SCHEMA IF EXISTS bench_many CASCADE;
