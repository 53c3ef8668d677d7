SET synchronous_commit = off;
CALL bench_pgq.load(:count, :batch);
