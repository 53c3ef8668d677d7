SELECT queue.ack_batch('bench', $1::bigint[])
