SET client_min_messages = warning;
DROP TABLE IF EXISTS bench_vt;
