SELECT format('CREATE TABLE bench_many.t%s (LIKE bench_table INCLUDING ALL)', i)
  FROM generate_series(1, :count) i \gexec
