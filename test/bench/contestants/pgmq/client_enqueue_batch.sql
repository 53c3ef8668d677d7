SELECT pgmq.send_batch('bench', $1::jsonb[])
