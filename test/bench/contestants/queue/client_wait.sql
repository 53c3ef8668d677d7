SELECT receipt, body FROM queue.dequeue('bench', {{batch}}, wait => '500 ms')
