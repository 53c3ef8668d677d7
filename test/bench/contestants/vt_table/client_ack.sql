DELETE FROM bench_vt WHERE id = ANY ($1::bigint[])
