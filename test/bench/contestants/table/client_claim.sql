UPDATE bench_table
   SET state = 1, deliveries = deliveries + 1,
       lease_until = clock_timestamp() + interval '10 min'
 WHERE id = ANY (ARRAY(SELECT id FROM bench_table WHERE state = 0
                        ORDER BY id LIMIT {{batch}}
                          FOR UPDATE SKIP LOCKED))
RETURNING id, body
