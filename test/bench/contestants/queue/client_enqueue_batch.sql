SELECT queue.enqueue_batch('bench', $1::jsonb[])
