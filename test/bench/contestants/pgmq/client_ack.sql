SELECT pgmq.delete('bench', $1::bigint[])
