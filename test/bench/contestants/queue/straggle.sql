SELECT queue.enqueue('bench', bench.body(0, 98));
SELECT id FROM queue.dequeue('bench', visibility => '1 hour');
