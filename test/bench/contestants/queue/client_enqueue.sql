SELECT queue.enqueue('bench', $1::jsonb)
