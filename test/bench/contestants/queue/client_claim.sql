SELECT receipt, body FROM queue.dequeue('bench', {{batch}})
