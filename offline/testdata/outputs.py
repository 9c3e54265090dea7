"""python outputs.py FILE... fails unless pyarrow, DuckDB and Polars read every Parquet file, and all as the first one."""

import sys

import duckdb, polars as pl, pyarrow as pa, pyarrow.parquet as pq

want = None
for path in sys.argv[1:]:
    arrow = pq.ParquetFile(path, page_checksum_verification=True).read()
    want = want if want is not None else arrow
    assert arrow.equals(want), path
    file = duckdb.connect().sql(f"SELECT * FROM '{path}'").to_arrow_table()
    assert file.cast(arrow.schema).equals(arrow), path
    assert pl.read_parquet(path).to_arrow().cast(arrow.schema).equals(arrow), path
