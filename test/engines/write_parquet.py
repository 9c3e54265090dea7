"""Writes Parquet files with pyarrow, DuckDB and Polars in a folder, and what each reads back of its own as expected.json.

    python write_parquet.py FOLDER SEED

The form of expected.json, and the tables of pyarrow, are those of offline/parquet/testdata/make.py.
"""

import datetime as dt
import itertools
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "offline", "parquet", "testdata"))

import duckdb
import make
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

make.HERE, seed = sys.argv[1], int(sys.argv[2])
make.ROWS = 127
rnd = random.Random(seed)

ENCODINGS = [
    {"id": "DELTA_BINARY_PACKED", "i32": "BYTE_STREAM_SPLIT", "i64": "BYTE_STREAM_SPLIT", "few": "DELTA_BINARY_PACKED", "word": "DELTA_BYTE_ARRAY",
     "all": "DELTA_LENGTH_BYTE_ARRAY", "raw": "DELTA_BYTE_ARRAY", "fixed": "DELTA_BYTE_ARRAY", "f16": "BYTE_STREAM_SPLIT", "f32": "BYTE_STREAM_SPLIT",
     "f64": "BYTE_STREAM_SPLIT", "us_utc": "DELTA_BINARY_PACKED", "flag": "RLE", "day": "DELTA_BINARY_PACKED", "u32": "DELTA_BINARY_PACKED",
     "ints.list.element": "BYTE_STREAM_SPLIT", "words.list.element": "DELTA_LENGTH_BYTE_ARRAY", "at.lat": "BYTE_STREAM_SPLIT"},
    {"id": "PLAIN", "i8": "DELTA_BINARY_PACKED", "u16": "BYTE_STREAM_SPLIT", "word": "DELTA_LENGTH_BYTE_ARRAY", "all": "DELTA_BYTE_ARRAY", "flag": "PLAIN",
     "times.list.element": "DELTA_BINARY_PACKED", "at.deep.n": "DELTA_BINARY_PACKED", "fixed": "BYTE_STREAM_SPLIT"},
]


def arrow():
    codecs = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
    for codec, version, way in itertools.product(codecs, ["1.0", "2.0"], ["dictionary", "plain", 0, 1]):
        name = f"arrow-{codec}-v{version[0]}-{way}.parquet"
        encodings = {"column_encoding": ENCODINGS[way]} if isinstance(way, int) else {}
        read = make.write(
            name, make.kinds(rnd.randrange(2**32)), compression=codec, data_page_version=version, use_dictionary=way == "dictionary",
            row_group_size=rnd.choice([1 if way == "plain" else 50, 64, 100, 1000]), data_page_size=rnd.choice([1, 64, 1000, 2**20]), write_batch_size=rnd.choice([1, 7, 64, 1024]),
            dictionary_pagesize_limit=rnd.choice([100, 2**20]), write_page_checksum=rnd.random() < 0.5, write_page_index=rnd.random() < 0.5,
            write_statistics=rnd.random() < 0.7, store_schema=rnd.random() < 0.5, sorting_columns=[pq.SortingColumn(0)], **encodings)
        if read.schema.field("f16").type != pa.float16():
            raise SystemExit(f"{name}: {read.schema}")
        make.expect_kinds(name, read)


def duck():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    con.execute(f"""CREATE TABLE t AS SELECT i AS k, CASE WHEN hash(i + {seed}) % 7 = 0 THEN NULL ELSE 'w' || (hash(i) % 5) END AS w,
        CASE i % 9 WHEN 0 THEN 'NaN'::DOUBLE WHEN 1 THEN '-inf'::DOUBLE WHEN 2 THEN -0.0 WHEN 3 THEN NULL ELSE i / 3 END AS f, (i / 7)::FLOAT AS g,
        (i % 100)::UTINYINT AS u8, (i % 100)::USMALLINT AS u16, i::UINTEGER AS u32, (hash(i) >> 1)::UBIGINT AS u64,
        (-(i % 100))::TINYINT AS i8, (-(i % 100))::SMALLINT AS i16, (i - 900)::INTEGER AS i32, (i - 9)::DECIMAL(9, 0) AS d9, (i - 9)::DECIMAL(18, 0) AS d18,
        (i - 9)::DECIMAL(38, 0) AS d38, TIMESTAMP '2001-01-01' + INTERVAL (i) MINUTE AS naive, TIMESTAMPTZ '2001-01-01 00:00:00+00' + INTERVAL (i) SECOND AS zoned,
        make_timestamp_ns(978307200000000000 + i * 1001) AS ns, make_timestamp_ms(i * 1000)::TIMESTAMP_MS AS ms, (i * 10)::TIMESTAMP_S AS s, DATE '2001-01-01' + (i % 4000)::INTEGER AS d,
        CASE WHEN i % 5 = 0 THEN NULL ELSE [x + i for x in range(i % 4)] END AS l, CASE WHEN i % 6 > 0 THEN {{'a': i::INTEGER, 'b': {{'c': CASE WHEN i % 4 > 0 THEN 'x' || i END}}}} END AS st,
        i % 2 = 0 AS odd, CASE WHEN i % 3 > 0 THEN 'ok'::mood END AS e, md5(i::VARCHAR)::UUID AS u, '{{"i": 1}}'::JSON AS j, encode('é' || i) AS b,
        [{{'x': i, 'y': 'a'}}, NULL] AS structs
        FROM (SELECT range::BIGINT AS i FROM range(2100))""".replace("(i * 10)::TIMESTAMP_S", "make_timestamp(i * 10000000)::TIMESTAMP_S"))
    plain = {"k": "int64", "w": "string", "f": "float64", "g": "float64", "u8": "int32", "u16": "int64", "u32": "int64", "u64": "int64", "i8": "int32", "i16": "int64",
             "i32": "int64", "odd": "bool", "b": "bytes"}
    for codec, version in zip(["snappy", "snappy", "zstd", "zstd", "gzip", "brotli", "lz4_raw", "uncompressed"], itertools.cycle(["V1", "V2"])):
        name = f"duckdb-{codec}-{version.lower()}.parquet"
        path = os.path.join(make.HERE, name)
        con.execute(f"COPY t TO '{path}' (FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version}, ROW_GROUP_SIZE {rnd.choice([2048, 4096, 100000])}, "
                    f"DICTIONARY_SIZE_LIMIT {rnd.choice([1, 100, 100000])})")

        def read(what):
            return [row[0] for row in con.execute(f"SELECT {what} FROM read_parquet('{path}', file_row_number = true) ORDER BY file_row_number").fetchall()]

        for column, kind in plain.items():
            make.expect(name, column, kind, read(column))
        for column, kind in [("d9", "int32"), ("d18", "int64"), ("d38", "int64")]:
            make.expect(name, column, kind, [int(v) for v in read(column)])
        for column in ["e", "u", "j"]:
            make.expect(name, column, "string", read(f"{column}::VARCHAR"))
        make.expect(name, "st.a", "int32", read("st.a"))
        make.expect(name, "st.b.c", "string", read("st.b.c"))
        make.expect(name, "l", "int64", read("l"), list=True)
        make.expect(name, "structs.x", "int64", read("[v.x for v in structs]"), list=True)
        for column in ["naive", "zoned", "ms", "s"]:
            make.expect(name, column, "timestamp", read(f"epoch_us({column})"), "us")
        make.expect(name, "ns", "timestamp", read("epoch_ns(ns)"), "ns", round="down")
        make.expect(name, "d", "timestamp", read("epoch_us(d)"), "us", at="start")


def polars():
    n = 500
    some = lambda f: [None if rnd.random() < 0.2 else f() for _ in range(n)]
    words = ["", "a", "é", "日本", "x" * 50]
    frame = pl.DataFrame({
        "k": pl.Series(range(n), dtype=pl.Int64), "i8": pl.Series(some(lambda: rnd.randrange(-128, 128)), dtype=pl.Int8),
        "i16": pl.Series(some(lambda: rnd.randrange(-2**15, 2**15)), dtype=pl.Int16), "i32": pl.Series(some(lambda: rnd.randrange(-2**31, 2**31)), dtype=pl.Int32),
        "u8": pl.Series(some(lambda: rnd.randrange(2**8)), dtype=pl.UInt8), "u16": pl.Series(some(lambda: rnd.randrange(2**16)), dtype=pl.UInt16),
        "u32": pl.Series(some(lambda: rnd.randrange(2**32)), dtype=pl.UInt32), "u64": pl.Series(some(lambda: rnd.randrange(2**63)), dtype=pl.UInt64),
        "f32": pl.Series(some(lambda: rnd.choice([0.0, -0.0, float("nan"), float("inf"), 1.5])), dtype=pl.Float32),
        "f64": pl.Series(some(lambda: rnd.choice([0.0, -0.0, float("nan"), float("-inf"), rnd.random()])), dtype=pl.Float64),
        "flag": pl.Series(some(lambda: rnd.random() < 0.5)), "word": pl.Series(some(lambda: rnd.choice(words))),
        "cat": pl.Series(some(lambda: rnd.choice(words)), dtype=pl.Categorical), "enum": pl.Series(some(lambda: rnd.choice("ab")), dtype=pl.Enum(["a", "b"])),
        "raw": pl.Series(some(lambda: rnd.randbytes(rnd.choice([0, 1, 9]))), dtype=pl.Binary),
        "day": pl.Series(some(lambda: dt.date(2001, 1, 1) + dt.timedelta(rnd.randrange(9999))), dtype=pl.Date),
        "us": pl.Series(some(lambda: rnd.randrange(-2**50, 2**50)), dtype=pl.Int64).cast(pl.Datetime("us")),
        "utc": pl.Series(some(lambda: rnd.randrange(-2**50, 2**50)), dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
        "ms": pl.Series(some(lambda: rnd.randrange(-2**40, 2**40)), dtype=pl.Int64).cast(pl.Datetime("ms")),
        "ns": pl.Series(some(lambda: rnd.randrange(-2**60, 2**60)), dtype=pl.Int64).cast(pl.Datetime("ns")),
        "d18": pl.Series(some(lambda: rnd.randrange(-10**18 + 1, 10**18)), dtype=pl.Int64).cast(pl.Decimal(18, 0)),
        "ints": pl.Series(some(lambda: [None if rnd.random() < 0.2 else rnd.randrange(99) for _ in range(rnd.randrange(4))]), dtype=pl.List(pl.Int64)),
        "pair": pl.Series(some(lambda: [rnd.randrange(99), 1]), dtype=pl.Array(pl.Int32, 2)),
        "s": pl.Series([{"a": rnd.randrange(9), "b": {"c": rnd.choice(words)}} for _ in range(n)]),
        "nothing": pl.Series([None] * n, dtype=pl.Null),
    })
    for codec, size, page in [("lz4", 100, 1000), ("uncompressed", None, 100), ("snappy", 64, None), ("gzip", 1000, None), ("brotli", 77, 5000), ("zstd", None, None)]:
        name = f"polars-{codec}.parquet"
        path = os.path.join(make.HERE, name)
        frame.write_parquet(path, compression=codec, row_group_size=size, data_page_size=page, statistics=rnd.choice([True, False, "full"]))
        t = pl.read_parquet(path)
        for column, kind in [("k", "int64"), ("i8", "int32"), ("i16", "int32"), ("i32", "int64"), ("u8", "int32"), ("u16", "int32"), ("u32", "int64"), ("u64", "int64"),
                             ("f32", "float64"), ("f64", "float64"), ("flag", "bool"), ("word", "string"), ("raw", "bytes"), ("nothing", "string")]:
            make.expect(name, column, kind, t[column].to_list())
        for column in ["cat", "enum"]:
            make.expect(name, column, "string", t[column].cast(pl.String).to_list())
        make.expect(name, "d18", "int64", t["d18"].cast(pl.Int64).to_list())
        make.expect(name, "day", "timestamp", t["day"].cast(pl.Int32).to_list(), "s", at="start")
        days = make.EXPECTED[name]["day"]["values"]
        days[:] = [None if d is None else str(int(d) * 86400) for d in days]
        for column, unit in [("us", "us"), ("utc", "us"), ("ms", "ms"), ("ns", "ns")]:
            make.expect(name, column, "timestamp", t[column].cast(pl.Int64).to_list(), unit, **({"round": "up"} if unit == "ns" else {}))
        make.expect(name, "ints", "int64", t["ints"].to_list(), list=True)
        make.expect(name, "pair", "int32", [None if v is None else list(v) for v in t["pair"].to_list()], list=True)
        make.expect(name, "s.a", "int64", t["s"].struct.field("a").to_list())
        make.expect(name, "s.b.c", "string", t["s"].struct.field("b").struct.field("c").to_list())


arrow()
duck()
polars()
make.save()
