SELECT count(*) FILTER (WHERE visible_at <= clock_timestamp()) || '|' || count(*) FROM queue.bench;
