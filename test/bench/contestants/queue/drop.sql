SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS queue;
SELECT queue.drop(queue, force => true) FROM queue.queues;
