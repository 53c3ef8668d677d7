DELETE FROM bench_table WHERE id = ANY ($1::bigint[])
