SELECT msg_id, message FROM pgmq.read('bench', 600, {{batch}})
