SELECT pgmq.send('bench', bench.body(0, 98), 3600);
