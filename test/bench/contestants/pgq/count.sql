SELECT n || '|' || n
  FROM (SELECT sum(pgq.seq_getval(queue_event_seq) - tick_event_seq) AS n
          FROM pgq.subscription
          JOIN pgq.queue ON queue_id = sub_queue
          JOIN pgq.tick ON tick_queue = sub_queue AND tick_id = sub_last_tick) s;
