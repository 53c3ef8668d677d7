SELECT pgmq.send('bench', $1::jsonb)
