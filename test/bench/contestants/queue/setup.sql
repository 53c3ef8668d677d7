SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS queue;
SELECT queue.create('bench', visibility_timeout => '10 min');
