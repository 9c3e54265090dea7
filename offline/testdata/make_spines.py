"""Writes the spines of the tests with pyarrow: python make_spines.py (made with pyarrow 21 or later).

They hold columns of types that Provender has no vector for; an export must repeat them bit for bit."""

import datetime as dt
import math
from decimal import Decimal as D

import pyarrow as pa
import pyarrow.parquet as pq

n = 7
inf, nan = math.inf, math.nan
instants = [dt.datetime(2001, 1, 1, 12, 0, 0, i) for i in range(n)]
columns = {
    "zone": pa.array(instants, pa.timestamp("us", "America/New_York")),
    "airport": pa.array(["JFK", "SFO", None, "JFK", "XXX", "SFO", "JFK"]),
    "user": pa.array([1, 2, 3, None, 1, 2, 1], pa.int32()),
    "decimal_fixed": pa.array([D("-1.25"), D("2.50"), None, D("0.00"), D("-99999999.99"), D("1"), D("3")], pa.decimal128(20, 2)),
    "date": pa.array([dt.date(2001, 1, i + 1) for i in range(n)]),
    "unsigned": pa.array([2**64 - 1, 0, 1, 2, 3, None, 5], pa.uint64()),
    "half": pa.array([1.5, -0.0, nan, inf, None, 0.0, 2.0], pa.float16()),
    "dictionary": pa.array(["a", "b", None, "a", "a", "b", "a"]).dictionary_encode(),
    "list": pa.array([[1, 2], [], None, [None], [3], [4, None, 5], []], pa.list_(pa.int32())),
    "lists": pa.array(
        [[["a"], []], [], None, [None], [["x", "y"], None], [["q", None]], [[]]], pa.list_(pa.list_(pa.string()))
    ),
    "struct": pa.array(
        [
            {"a": 1, "b": [{"c": 1.5}]}, None, {"a": None, "b": None}, {"a": 2, "b": []},
            {"a": 3, "b": [None, {"c": None}]}, {"a": 1, "b": None}, {"a": 1, "b": [{"c": nan}]},
        ],
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.float64())])))]),
    ),
    "map": pa.array([[("k", 1)], [], None, [("a", None), ("b", 2)], [], [], [("z", 0)]], pa.map_(pa.string(), pa.int64())),
    "bool": pa.array([True, False, None, True, True, False, None]),
    "nanos": pa.array([i * 1001 + 7 for i in range(n)], pa.timestamp("ns")),
    "duration": pa.array([1] * n, pa.duration("us")),
    "fixed": pa.array([b"abc"] * n, pa.binary(3)),
    "nothing": pa.nulls(n),
    "float": pa.array([nan, -0.0, 0.0, inf, -inf, None, 1.5]),
    "Label": pa.array(range(n), pa.int8()),
}
table = pa.table(columns)
schema = pa.schema([f.with_nullable(f.name not in ("date", "Label")) for f in table.schema])
table = table.cast(schema)
pq.write_table(table, "types_v1.parquet", row_group_size=3, compression="snappy", data_page_size=8, use_dictionary=["airport"])
pq.write_table(
    table, "types_v2.parquet", row_group_size=4, compression="zstd", data_page_version="2.0",
    use_deprecated_int96_timestamps=True, use_dictionary=True, write_page_checksum=True,
)
