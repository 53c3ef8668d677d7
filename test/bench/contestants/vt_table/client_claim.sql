UPDATE bench_vt
   SET deliveries = deliveries + 1,
       vt = clock_timestamp() + interval '10 min'
 WHERE id = ANY (ARRAY(SELECT id FROM bench_vt WHERE vt <= now()
                        ORDER BY vt LIMIT {{batch}}
                          FOR UPDATE SKIP LOCKED))
RETURNING id, body
