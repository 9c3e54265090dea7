"""Writes the Parquet files beside it, and what pyarrow or DuckDB read back from them as expected.json.

    python make.py        (needs pyarrow and duckdb; test/engines/parquet.py makes more with its functions)

expected.json: file -> column -> {"type": ..., "at", "round", "values": [...]}. Integers and timestamps (microseconds)
are decimal text, floats the hexadecimal text of their bits, bytes hexadecimal, a null is null, a list is a list.
"""

import datetime as dt
import json
import math
import os
import random
import struct
import uuid
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = os.path.dirname(os.path.abspath(__file__))  # where files go
EXPECTED = {}
ROWS = 37
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def text(value, kind, unit=None, rounding="exact"):
    if value is None:
        return None
    if isinstance(value, list):
        return [text(v, kind, unit, rounding) for v in value]
    if kind == "bool":
        return "true" if value else "false"
    if kind == "float32":
        return struct.pack(">f", value).hex()
    if kind == "float64":
        return struct.pack(">d", value).hex()
    if kind == "bytes":
        return value.hex()
    if kind == "timestamp":
        micros, rest = divmod(value * 10**6, PER_SECOND[unit])
        assert rest == 0 or rounding != "exact"
        return str(micros + 1 if rest and rounding == "up" else micros)
    return str(value)


def expect(name, column, kind, values, unit=None, **more):
    rounding = more.get("round", "exact")
    t = kind
    if more.pop("list", False):
        t = f"list<{kind}>"
    EXPECTED.setdefault(name, {})[column] = {
        "type": t, **more, "values": [text(v, kind, unit, rounding) for v in values]}


def ints(column):
    """The numbers behind a column of times."""
    return column.cast(pa.int64()).to_pylist()


def kinds(seed):
    """A table with every kind, nulls, and the values that are easily lost."""
    r = random.Random(seed)

    def some(make, null=0.2):
        return [None if r.random() < null else make() for _ in range(ROWS)]

    def lists(make):
        return [None if r.random() < 0.15 else [None if r.random() < 0.2 else make() for _ in range(r.choice([0, 0, 1, 2, 7]))]
                for _ in range(ROWS)]

    micros = lambda: r.randrange(-2 * 10**15, 2 * 10**15)
    words = ["", "a", "JFK", "Zürich", "naïve café", "x" * 40, "日本"]
    doubles = lambda: r.choice([0.0, -0.0, math.nan, math.inf, -math.inf, 1.5, r.random() * 10**300])
    return pa.table({
        "id": pa.array(range(ROWS), pa.int64()),
        "flag": pa.array(some(lambda: r.random() < 0.5), pa.bool_()),
        "i8": pa.array(some(lambda: r.randrange(-128, 128)), pa.int8()),
        "u16": pa.array(some(lambda: r.randrange(2**16)), pa.uint16()),
        "i32": pa.array(some(lambda: r.randrange(-2**31, 2**31)), pa.int32()),
        "u32": pa.array(some(lambda: r.randrange(2**32)), pa.uint32()),
        "i64": pa.array(some(lambda: r.randrange(-2**63, 2**63)), pa.int64()),
        "few": pa.array(some(lambda: r.choice([7, 2**40, -1])), pa.int64()),
        "f16": pa.array(np.array([r.choice([0, 1, -1, 65504, 6e-8, math.inf, 0.333]) for _ in range(ROWS)], np.float16)),
        "f32": pa.array(some(lambda: np.float32(r.choice([0.1, -0.0, math.inf, 3.5e-45]))), pa.float32()),
        "f64": pa.array(some(doubles), pa.float64()),
        "word": pa.array(some(lambda: r.choice(words)), pa.string()),
        "all": pa.array([r.choice(words) + str(i) for i in range(ROWS)], pa.string()),
        "raw": pa.array(some(lambda: r.randbytes(r.choice([0, 1, 9]))), pa.binary()),
        "fixed": pa.array(some(lambda: r.randbytes(3)), pa.binary(3)),
        "day": pa.array(some(lambda: r.randrange(-20000, 40000)), pa.date32()),
        "ms": pa.array(some(lambda: micros() // 1000), pa.timestamp("ms")),
        "us_utc": pa.array(some(micros), pa.timestamp("us", "UTC")),
        "ns": pa.array(some(lambda: micros() * 1000 + r.randrange(1000)), pa.timestamp("ns")),
        "nothing": pa.nulls(ROWS),
        "ints": pa.array(lists(lambda: r.randrange(2**40)), pa.list_(pa.int64())),
        "words": pa.array(lists(lambda: r.choice(words)), pa.list_(pa.string())),
        "times": pa.array(lists(micros), pa.list_(pa.timestamp("us", "UTC"))),
        "at": pa.array([None if r.random() < 0.2 else {"lat": None if r.random() < 0.2 else r.random(), "deep": {"n": r.randrange(99)}, "tags": [1, 2]}
                        for _ in range(ROWS)],
                       pa.struct([("lat", pa.float64()), ("deep", pa.struct([("n", pa.int32())])), ("tags", pa.list_(pa.int16()))])),
    })


def expect_kinds(name, t):
    c = lambda n: t.column(n)
    for column, kind in [("id", "int64"), ("flag", "bool"), ("i8", "int32"), ("u16", "int64"), ("i32", "int32"), ("u32", "int64"),
                         ("i64", "int64"), ("few", "int64"), ("f32", "float32"), ("f64", "float64"), ("word", "string"),
                         ("all", "string"), ("raw", "bytes"), ("fixed", "bytes"), ("nothing", "float64")]:
        expect(name, column, kind, c(column).to_pylist())
    expect(name, "f16", "float64", [float(v) for v in c("f16").to_pylist()])
    expect(name, "day", "timestamp", [None if d is None else (d + 1) * 86400 for d in c("day").cast(pa.int32()).to_pylist()], "s", at="end")
    expect(name, "ms", "timestamp", ints(c("ms")), "ms")
    expect(name, "us_utc", "timestamp", ints(c("us_utc")), "us")
    expect(name, "ns", "timestamp", ints(c("ns")), "ns", round="up")
    expect(name, "ints", "int64", c("ints").to_pylist(), list=True)
    expect(name, "words", "string", c("words").to_pylist(), list=True)
    expect(name, "times", "timestamp", c("times").cast(pa.list_(pa.int64())).to_pylist(), "us", list=True)
    at = c("at").to_pylist()
    expect(name, "at.lat", "float64", [a and a["lat"] for a in at])
    expect(name, "at.deep.n", "int32", [a and a["deep"]["n"] for a in at])
    expect(name, "at.tags", "int32", [a and a["tags"] for a in at], list=True)


def write(name, table, **options):
    path = os.path.join(HERE, name)
    pq.write_table(table, path, **options)
    return pq.read_table(path)


def matrix():
    for i, (codec, version, dictionary) in enumerate([
            ("none", "1.0", True), ("snappy", "1.0", True), ("zstd", "1.0", False), ("gzip", "2.0", True),
            ("brotli", "1.0", False), ("lz4", "1.0", True), ("zstd", "2.0", True), ("snappy", "2.0", False), ("lz4", "2.0", False)]):
        name = f"{codec}-v{version[0]}-{'dict' if dictionary else 'plain'}.parquet"
        read = write(name, kinds(i), compression=codec, data_page_version=version, use_dictionary=dictionary,
                     row_group_size=23, data_page_size=128, write_batch_size=8, write_page_checksum=i % 2 == 0)
        expect_kinds(name, read)


def encodings():
    columns = {"id": "DELTA_BINARY_PACKED", "i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "few": "BYTE_STREAM_SPLIT",
               "word": "DELTA_BYTE_ARRAY", "all": "DELTA_LENGTH_BYTE_ARRAY", "raw": "DELTA_BYTE_ARRAY", "fixed": "BYTE_STREAM_SPLIT",
               "f16": "BYTE_STREAM_SPLIT", "f32": "BYTE_STREAM_SPLIT", "f64": "BYTE_STREAM_SPLIT", "us_utc": "DELTA_BINARY_PACKED",
               "flag": "RLE", "ns": "BYTE_STREAM_SPLIT", "ints.list.element": "DELTA_BINARY_PACKED", "words.list.element": "DELTA_BYTE_ARRAY"}
    for version in ["1.0", "2.0"]:
        name = f"encodings-v{version[0]}.parquet"
        read = write(name, kinds(100), compression="snappy", use_dictionary=False, column_encoding=columns, data_page_version=version,
                     version="2.6", row_group_size=30)
        expect_kinds(name, read)
    # A dictionary that grows too large, so that later pages of the chunk do without.
    t = pa.table({"k": pa.array([f"key-{i % 300:05d}" if i % 11 else None for i in range(400)])})
    read = write("fallback.parquet", t, dictionary_pagesize_limit=900, data_page_size=200, write_batch_size=16, compression="none")
    expect("fallback.parquet", "k", "string", read.column("k").to_pylist())


def times():
    stamps = [0, 1, -1, 978307200_123456, None, -62135596800_000000, 253402300799_999999]
    for unit in ["s", "ms", "us"]:
        for zone in [None, "UTC", "America/New_York"]:
            values = [None if s is None else s * PER_SECOND[unit] // 10**6 for s in stamps]
            name = f"time-{unit}-{'naive' if zone is None else zone.split('/')[-1]}.parquet"
            read = write(name, pa.table({"t": pa.array(values, pa.timestamp(unit, zone))}), compression="none")
            stored = read.schema.field("t").type.unit
            expect(name, "t", "timestamp", ints(read.column("t")), stored)
    nanos = [0, 1, 999, 1000, 1001, -1, -999, -1000, -1001, None, 2**63 - 1000, -2**63 + 2000]
    t = pa.table({"up": pa.array(nanos, pa.timestamp("ns")), "down": pa.array(nanos, pa.timestamp("ns", "UTC"))})
    read = write("time-ns.parquet", t, compression="none")
    expect("time-ns.parquet", "up", "timestamp", ints(read.column("up")), "ns", round="up")
    expect("time-ns.parquet", "down", "timestamp", ints(read.column("down")), "ns", round="down")
    t = pa.table({"t": pa.array(nanos[:10] + [978307200_123456789], pa.timestamp("ns"))})
    for dictionary in [True, False]:
        name = f"time-int96-{'dict' if dictionary else 'plain'}.parquet"
        read = write(name, t, use_deprecated_int96_timestamps=True, use_dictionary=dictionary, compression="none")
        expect(name, "t", "timestamp", ints(read.column("t")), "ns", round="up")
    # The older converted types alone, as version 1.0 of the format has them.
    read = write("time-converted.parquet", pa.table({"t": pa.array([0, None, 5], pa.timestamp("ms", "UTC"))}), version="1.0", store_schema=False)
    expect("time-converted.parquet", "t", "timestamp", ints(read.column("t")), "ms")


def unreadable():
    pq.write_table(pa.table({
        "ok": pa.array([1, 2]),
        "u64": pa.array([1, 2**64 - 1], pa.uint64()),
        "money": pa.array([Decimal("1.10"), None]),
        "huge": pa.array([Decimal(2**63 - 1), Decimal(2**63)], pa.decimal128(38, 0)),
        "day": pa.array([dt.date(2001, 2, 28), None]),
        "clock": pa.array([dt.time(1, 2), None]),
        "id": pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        "structs": pa.array([[{"a": 1}], None]),
        "nested": pa.array([[[1]], None]),
        "latin1": pa.array([b"caf\xe9", b"ok"]),
    }), os.path.join(HERE, "unreadable.parquet"), compression="none")


def more_types():
    """What reads as another type without losing anything; a field of a list of structs is a list."""
    r = random.Random(7)
    some = lambda make: [None if r.random() < 0.2 else make() for _ in range(ROWS)]
    whole = lambda digits: (lambda: Decimal(r.randrange(-10**digits + 1, 10**digits)))
    big = lambda: Decimal(r.choice([-2**63, 2**63 - 1, 0, -1, r.randrange(2**63)]))
    people = [None if r.random() < 0.2 else [None if r.random() < 0.2 else {"age": None if r.random() < 0.3 else r.randrange(99), "name": "n"}
                                             for _ in range(r.randrange(4))] for _ in range(ROWS)]
    t = pa.table({
        "u64": pa.array(some(lambda: r.randrange(2**63)), pa.uint64()),
        "d4": pa.array(some(whole(4)), pa.decimal128(4, 0)),
        "d9": pa.array(some(whole(9)), pa.decimal128(9, 0)),
        "d18": pa.array(some(whole(18)), pa.decimal128(18, 0)),
        "d38": pa.array(some(big), pa.decimal128(38, 0)),
        "d76": pa.array(some(big), pa.decimal256(76, 0)),
        "uuid": pa.array(some(lambda: r.randbytes(16)), pa.uuid()),
        "enum": pa.array(some(lambda: r.choice(["ON", "OFF"]))).dictionary_encode(),
        "json": pa.array(some(lambda: '{"a": [1, null]}'), pa.json_()),
        "large": pa.array(some(lambda: r.choice(["", "x", "é"])), pa.large_string()),
        "view": pa.array(some(lambda: r.choice(["", "x", "a longer one that is not inlined"])), pa.string_view()),
        "pair": pa.array([None if v is None else [v, v + 1] for v in some(lambda: r.randrange(9))], pa.list_(pa.int64(), 2)),
        "people": pa.array(people, pa.list_(pa.struct([("age", pa.int16()), ("name", pa.string())]))),
    })
    for suffix, options in [("", {}), ("-integers", {"store_decimal_as_integer": True, "use_dictionary": False})]:
        name = f"types-arrow{suffix}.parquet"
        read = write(name, t, compression="zstd", row_group_size=20, **options)
        c = lambda n: [v if v is None else int(v) for v in read.column(n).to_pylist()]
        expect(name, "d4", "int32", c("d4"))
        expect(name, "d9", "int64", c("d9"))
        for n in ["u64", "d18", "d38", "d76"]:
            expect(name, n, "int64", c(n))
        for n in ["uuid", "enum", "json", "large", "view"]:
            expect(name, n, "string", read.column(n).to_pylist())
        expect(name, "pair", "int64", read.column("pair").to_pylist(), list=True)
        people = read.column("people").to_pylist()
        for field, kind in [("age", "int32"), ("name", "string")]:
            expect(name, f"people.{field}", kind, [p and [q and q[field] for q in p] for p in people], list=True)
    con = duckdb.connect()
    name = "types-duckdb.parquet"
    path = os.path.join(HERE, name)
    con.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    con.execute(f"""COPY (SELECT
        i::UTINYINT AS u8, i::USMALLINT AS u16, (i * 100000000)::UINTEGER AS u32, (i * 200000000000000000)::UBIGINT AS u64,
        (-i)::TINYINT AS i8, (-i)::SMALLINT AS i16, (i - 9)::DECIMAL(4, 0) AS d4, (i - 9)::DECIMAL(9, 0) AS d9,
        (i - 9)::DECIMAL(18, 0) AS d18, ((i - 20) * 400000000000000000)::DECIMAL(38, 0) AS d38,
        CASE WHEN i % 3 > 0 THEN 'ok'::mood END AS e, md5(i::VARCHAR)::UUID AS u, '{{"i": 1}}'::JSON AS j, encode('é' || i) AS b,
        [{{'x': i, 'y': 'a'}}, NULL] AS structs, {{'l': range(i % 3), 's': CASE WHEN i % 2 = 0 THEN {{'f': i / 2}} END}} AS n
        FROM range(40) t(i)) TO '{path}' (FORMAT parquet, COMPRESSION zstd)""")
    read = lambda what: [row[0] for row in con.execute(f"SELECT {what} FROM read_parquet('{path}', file_row_number = true) ORDER BY file_row_number").fetchall()]
    for column, kind in [("u8", "int32"), ("u16", "int32"), ("i8", "int32"), ("i16", "int64"), ("d4", "int32"), ("d9", "int32")]:
        expect(name, column, kind, [int(v) for v in read(column)])
    for column in ["u32", "u64", "d18", "d38"]:
        expect(name, column, "int64", [int(v) for v in read(column)])
    for column in ["e", "j", "u"]:
        expect(name, column, "string", read(f"{column}::VARCHAR"))
    expect(name, "b", "bytes", read("b"))
    expect(name, "structs.x", "int64", read("[s.x for s in structs]"), list=True)
    expect(name, "structs.y", "string", read("[s.y for s in structs]"), list=True)
    expect(name, "n.l", "int64", read("n.l"), list=True)
    expect(name, "n.s.f", "float64", read("n.s.f"))


def empty():
    schema = pa.schema([("k", pa.string()), ("v", pa.float64()), ("l", pa.list_(pa.int64()))])
    for name, groups in [("no-row-groups.parquet", 0), ("empty-row-group.parquet", 1)]:
        with pq.ParquetWriter(os.path.join(HERE, name), schema) as w:
            for _ in range(groups):
                w.write_table(schema.empty_table())
        for column, kind in [("k", "string"), ("v", "float64")]:
            expect(name, column, kind, [])
        expect(name, "l", "int64", [], list=True)


def duck():
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    query = """
        SELECT i::BIGINT AS k, CASE WHEN i % 7 = 0 THEN NULL ELSE 'w' || (i % 5) END AS w, i / 3.0::DOUBLE AS f,
               (i % 100)::UTINYINT AS tiny, TIMESTAMP '2001-01-01' + INTERVAL (i) MINUTE AS naive,
               TIMESTAMPTZ '2001-01-01 00:00:00+00' + INTERVAL (i) SECOND AS zoned,
               make_timestamp_ns(978307200000000000 + i * 1001) AS ns, DATE '2001-01-01' + (i % 40)::INTEGER AS d,
               CASE WHEN i % 5 = 0 THEN NULL ELSE range(i % 4) END AS l, {'a': i::INTEGER, 'b': 'x' || i} AS s, i % 2 = 0 AS odd
        FROM range(100) t(i)"""
    for codec, version in [("snappy", "V1"), ("zstd", "V2"), ("gzip", "V1"), ("lz4_raw", "V1"), ("uncompressed", "V2")]:
        name = f"duckdb-{codec}-{version.lower()}.parquet"
        path = os.path.join(HERE, name)
        con.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version})")
        read = lambda what: [row[0] for row in con.execute(f"SELECT {what} FROM read_parquet('{path}', file_row_number = true) ORDER BY file_row_number").fetchall()]
        for column, kind in [("k", "int64"), ("w", "string"), ("f", "float64"), ("tiny", "int32"), ("odd", "bool")]:
            expect(name, column, kind, read(column))
        expect(name, "s.a", "int32", read("s.a"))
        expect(name, "s.b", "string", read("s.b"))
        expect(name, "l", "int64", read("l"), list=True)
        expect(name, "naive", "timestamp", read("epoch_us(naive)"), "us")
        expect(name, "zoned", "timestamp", read("epoch_us(zoned)"), "us")
        expect(name, "ns", "timestamp", read("epoch_ns(ns)"), "ns", round="down")
        expect(name, "d", "timestamp", read("epoch_us(d)"), "us", at="start")


def save():
    with open(os.path.join(HERE, "expected.json"), "w") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False, separators=(',', ':'))}" for k, v in EXPECTED.items()) + "\n}\n")


if __name__ == "__main__":
    matrix()
    encodings()
    times()
    unreadable()
    more_types()
    empty()
    duck()
    save()
