"""What the tests of spines' and outputs' formats need from other engines.

It reads commands, lists of JSON, a line each, and answers each with a line: null or what went wrong, as JSON.

tables DIR          one table in every format, by every engine that writes it
types DIR           a table of all Arrow types, as Arrow files, streams and Parquet
pandas DIR          data frames with all sorts of indexes and columns; of no rows, and with no more than time and key
compare IN OUT...   fails unless the columns of IN are in each OUT, values and types
pandas_compare IN OUT...
                    fails unless pandas gives the index and the columns of IN back from each OUT
polars OUT...       fails unless Polars reads each OUT as pyarrow does
csv DIR SEED N      N random CSV files beside what their cells are
"""

import csv, datetime as dt, gzip, json, math, random, sys, traceback, uuid
from decimal import Decimal as D

import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq

utc = dt.timezone.utc


def tables(folder):
    import duckdb, pandas as pd, polars as pl

    start = dt.datetime(2001, 1, 1, 6, tzinfo=utc)
    n = 500
    table = pa.table({
        "label": pa.array([None if i % 11 == 0 else i / 7 for i in range(n)]),
        "user": pa.array([None if i % 13 == 0 else i % 4 for i in range(n)], pa.int64()),
        "t": pa.array([start + dt.timedelta(minutes=i * 7 % n, microseconds=i) for i in range(n)], pa.timestamp("us", "UTC")),
        "airport": pa.array([None if i % 17 == 0 else ["JFK", "SFO", "XXX", "007"][i % 4] for i in range(n)]),
        "count": pa.array([i * 1001 for i in range(n)]),
        "good": pa.array([i % 3 == 0 for i in range(n)]),
        "remark": pa.array([None if i % 5 == 0 else f'say "{i}", or\nnot é' for i in range(n)]),
    })
    name = lambda s: f"{folder}/{s}"
    pq.write_table(table, name("pyarrow.parquet"))
    pa.csv.write_csv(table, name("pyarrow.csv"))
    for suffix, made in {
        "": table,
        "-dictionary": table.set_column(3, "airport", table["airport"].dictionary_encode()),
        "-large": table.set_column(3, "airport", table["airport"].cast(pa.large_string())),
        "-view": table.set_column(3, "airport", table["airport"].cast(pa.string_view())),
    }.items():
        with pa.ipc.new_file(name(f"pyarrow{suffix}.arrow"), made.schema) as w:
            w.write_table(made, max_chunksize=77)
        with pa.ipc.new_stream(name(f"pyarrow{suffix}-stream.ipc"), made.schema) as w:
            w.write_table(made)
    for codec in ("lz4", "zstd"):
        with pa.ipc.new_file(name(f"pyarrow-{codec}.arrow"), table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as w:
            w.write_table(table)
    frame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    frame["airport"] = frame["airport"].astype("category")
    frame.to_feather(name("pandas.feather"))
    frame.to_parquet(name("pandas.parquet"))
    frame.to_csv(name("pandas.csv"), index=False)
    frame.to_csv(name("pandas.tsv"), index=False, sep="\t")
    frame.to_csv(name("pandas.csv.gz"), index=False, lineterminator="\r\n", encoding="utf-8-sig")
    frame = pl.from_arrow(table)
    frame.write_ipc(name("polars.arrow"))
    frame.write_ipc(name("polars-zstd.arrow"), compression="zstd")
    frame.with_columns(pl.col("airport").cast(pl.Categorical)).write_ipc(name("polars-categorical.arrow"))
    frame.write_ipc_stream(name("polars-stream.ipc"))
    frame.write_parquet(name("polars.parquet"))
    frame.write_csv(name("polars.csv"))
    duckdb.sql("set timezone = 'UTC'")
    table_ = table
    duckdb.sql(f"copy (from table_) to '{name('duckdb.csv')}' (header)")
    duckdb.sql(f"copy (from table_) to '{name('duckdb.csv.gz')}' (header)")
    duckdb.sql(f"copy (from table_) to '{name('duckdb.parquet')}'")


# The output's dictionaries have their values in another order.
ordered = pa.dictionary(pa.int8(), pa.string(), ordered=True)


def types(folder):
    nan, inf, n = math.nan, math.inf, 7
    instants = [dt.datetime(2001, 1, 1, 12, 0, 0, i) for i in range(n)]
    numbers, decimals = [1, None, 3, 4, 5, 6, 7], [D("1.25"), None] * 3 + [D("-3.00")]
    words, raw = ["a" * 20, None, "b", "", "é", "x" * 13, "y"], [b"a" * 20, None, b"b", b"", b"\xff", b"x" * 13, b"y"]
    days = [dt.date(2001, 1, i + 1) for i in range(n)]
    structs = [
        {"a": 1, "b": [{"c": 1.5}]}, None, {"a": None, "b": None}, {"a": 2, "b": []},
        {"a": 3, "b": [None, {"c": None}]}, {"a": 1, "b": None}, {"a": 1, "b": [{"c": nan}]},
    ]
    columns = {
        "t": pa.array(instants, pa.timestamp("us", "America/New_York")),
        "airport": pa.array(["JFK", "SFO", None, "JFK", "XXX", "SFO", "JFK"]).dictionary_encode(),
        "int8": pa.array([1, None, -3, 4, 5, 6, 7], pa.int8()), "int16": pa.array(numbers, pa.int16()),
        "int32": pa.array(numbers, pa.int32()), "uint8": pa.array(numbers, pa.uint8()), "uint16": pa.array(numbers, pa.uint16()),
        "uint32": pa.array([2**32 - 1, 0, 1, 2, 3, None, 5], pa.uint32()),
        "uint64": pa.array([2**64 - 1, 0, 1, 2, 3, None, 5], pa.uint64()),
        "half": pa.array([1.5, -0.0, nan, inf, None, 0.0, 2.0], pa.float16()),
        "float": pa.array([1.5, -0.0, nan, inf, None, 0.0, 2.0], pa.float32()),
        "double": pa.array([nan, -0.0, 0.0, inf, -inf, None, 1.5]), "bool": pa.array([True, None, False] * 2 + [True]),
        "view": pa.array(words, pa.string_view()), "binary_view": pa.array(raw, pa.binary_view()),
        "large": pa.array(words, pa.large_string()), "large_binary": pa.array(raw, pa.large_binary()),
        "binary": pa.array(raw), "fixed": pa.array([b"abc"] * 6 + [None], pa.binary(3)),
        "decimal32": pa.array(decimals, pa.decimal32(9, 2)), "decimal64": pa.array(decimals, pa.decimal64(18, 2)),
        "decimal128": pa.array(decimals, pa.decimal128(38, 2)), "decimal256": pa.array(decimals, pa.decimal256(60, 2)),
        "date32": pa.array(days), "date64": pa.array(days, pa.date64()),
        "timestamp_s": pa.array(numbers, pa.timestamp("s")), "timestamp_zone": pa.array(numbers, pa.timestamp("s", "Europe/Berlin")),
        "timestamp_ns": pa.array([1001, None, 3, 4, 5, 6, 7], pa.timestamp("ns")),
        "time_s": pa.array(numbers, pa.time32("s")), "time_ms": pa.array(numbers, pa.time32("ms")), "time_ns": pa.array(numbers, pa.time64("ns")),
        "duration": pa.array(numbers, pa.duration("ns")),
        "list": pa.array([[1, 2], [], None, [None], [3], [4, None, 5], []], pa.list_(pa.int32())),
        "large_list": pa.array([["a"], [], None, [None], ["b"], ["c", None], []], pa.large_list(pa.string_view())),
        "fixed_list": pa.array([[1, 2], None, [5, None], [5, 6], None, [9, 9], [1, 1]], pa.list_(pa.float32(), 2)),
        "list_of_dictionary": pa.array([["a", "b"], [], None, ["a"], [None], ["b"], ["b", "b"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        "lists": pa.array([[["a"], []], [], None, [None], [["x", "y"], None], [["q", None]], [[]]], pa.list_(pa.list_(pa.string()))),
        "struct": pa.array(structs, pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.float64())])))])),
        "struct_of_dictionary": pa.array([{"d": "x"}, None, {"d": None}] + [{"d": "y"}] * 4, pa.struct([("d", pa.dictionary(pa.int8(), pa.string()))])),
        "map": pa.array([[("k", 1)], [], None, [("a", None), ("b", 2)], [], [], [("z", 0)]], pa.map_(pa.string(), pa.int64())),
        "large_dictionary": pa.array(["a", "b", None, "a", "", "b", "b"], pa.dictionary(pa.int16(), pa.large_string())),
        "ordered": pa.array(["b", "a", None, "a", "", "b", "b"], ordered), "bytes_dictionary": pa.array(raw, pa.dictionary(pa.uint8(), pa.binary())),
        "nothing": pa.nulls(n), "integers_of_dictionary": pa.array([1, 2, None, 1, 2, 1, 1]).dictionary_encode(),
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=i).bytes for i in range(n)], pa.binary(16))),
    }
    table = pa.table(columns)
    table = table.cast(pa.schema([f.with_nullable(f.name != "date32") for f in table.schema], metadata={"pandas": "{}", "k": "v"}))
    with pa.ipc.new_file(f"{folder}/types.arrow", table.schema) as w:
        w.write_table(table, max_chunksize=3)
    with pa.ipc.new_stream(f"{folder}/types.ipc", table.schema) as w:
        w.write_table(table)
    pq.write_table(table, f"{folder}/types.parquet", row_group_size=3)
    # A list that is null and yet has values: Arrow allows it, Parquet has no place for them.
    hidden = pa.ListArray.from_arrays(pa.array([0, 1, 3, 4], pa.int32()), pa.array([1, 2, 3, 4]), mask=pa.array([False, True, False]))
    table = pa.table({"t": pa.array(instants[:3], pa.timestamp("us", "UTC")), "airport": pa.array(["JFK"] * 3), "hidden": hidden})
    with pa.ipc.new_file(f"{folder}/hidden.arrow", table.schema) as w:
        w.write_table(table)


def pandas_frames(folder):
    import pandas as pd

    t = pd.to_datetime(["2001-01-02T00:00:00Z"] * 4)
    text = ["a", None, "", "é"]
    frame = pd.DataFrame({
        "t": t, "airport": ["JFK", "SFO", None, "XXX"], "user": [1, 2, 3, 4], "zone": t.tz_convert("America/New_York"), "naive": t.tz_localize(None),
        "ns": t.tz_localize(None).astype("datetime64[ns]"), "td": pd.to_timedelta([1, None, 3, 4], unit="s"),
        "category": pd.Categorical(["b", "a", None, "b"], categories=["z", "a", "b"]),
        "ordered": pd.Categorical(["high", "low", None, "mid"], categories=["low", "mid", "high"], ordered=True),
        "int": pd.array([1, None, 3, 2**62 + 1], dtype="Int64"), "bool": pd.array([True, None, False, True], dtype="boolean"),
        "float": [1.0, math.nan, -0.0, math.inf], "text": pd.array(text, dtype="string"),
        "large": pd.array(text, dtype=pd.ArrowDtype(pa.large_string())),
        "decimal": pd.array([D(1), None, D(2), D(3)], dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
        "a.b": [1, 2, 3, 4], "ünï cödé \U0001f600": [1, 2, 3, 4], " blank x": [1, 2, 3, 4], "list": [[1], [], None, [2, 3]],
        "struct": [{"a": 1}, None, {"a": 2}, {"a": None}],
        "period": pd.period_range("2001-01", periods=4, freq="M"), "interval": pd.interval_range(0, 4),
    })
    frames = {
        "range": frame, "plain": frame.set_index(pd.Index([10, 20, 30, 40])), "named": frame.set_index(pd.Index(list("wxyz"), name="row")),
        "multi": frame.set_index([pd.Index([1, 1, 2, 2], name="i"), pd.Index(list("abab"))]),
        "empty": frame.iloc[:0], "narrow": frame[["t", "airport", "user"]],
    }
    for name, frame in frames.items():
        frame.to_parquet(f"{folder}/{name}.parquet")
        table = pa.Table.from_pandas(frame)
        with pa.ipc.new_file(f"{folder}/{name}.arrow", table.schema) as w:
            w.write_table(table)
        frame[["t", "airport", "user"]].to_csv(f"{folder}/{name}.csv", index=False)


def pandas_compare(source, *outputs):
    import pandas as pd

    def frame(path):
        if path.endswith(".csv"):
            csv = pd.read_csv(path)
            return csv.assign(t=pd.to_datetime(csv["t"], utc=True)) if len(csv) else csv.astype({"t": "str", "airport": "str", "user": "int64"})
        return read(path).to_pandas()

    new = {
        "departures": ("int64", "float64"), "delay": ("float64",), "tags": ("object",), "note": ("str",),
        "weather": ("int32", "float64"), "vip": ("bool", "object"),
    }
    want = frame(source)
    for path in outputs:
        got = frame(path)
        pd.testing.assert_index_equal(got.index, want.index, exact=True)
        assert list(got.columns[: len(want.columns)]) == list(want.columns), path
        for name in want.columns:
            w, g = want[name], got[name]
            assert [repr(x) for x in g.tolist()] == [repr(x) for x in w.tolist()], (path, name, w, g)
            if name == "ordered" and w.dtype == "category":
                assert g.dtype == "category" and not g.dtype.ordered, (path, g.dtype)
            else:
                assert str(g.dtype) == str(w.dtype), (path, name, w.dtype, g.dtype)
        for name in got.columns[len(want.columns) :]:
            assert str(got[name].dtype) in new[name], (path, name, got[name].dtype)


def read(path):
    if path.endswith(".parquet"):
        return pq.read_table(path)
    with open(path, "rb") as f:
        magic = f.read(6)
    table = (pa.ipc.open_file if magic == b"ARROW1" else pa.ipc.open_stream)(path).read_all()
    table.validate(full=True)
    return table


# What a Parquet file has no type for, and becomes what pyarrow itself writes for it.
coarser = {
    pa.date64(): pa.date32(), pa.timestamp("s"): pa.timestamp("ms"), pa.time32("s"): pa.time32("ms"),
    pa.timestamp("s", "Europe/Berlin"): pa.timestamp("ms", "Europe/Berlin"), pa.dictionary(pa.int32(), pa.int64()): pa.int64(),
    ordered: pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int16(), pa.large_string()): pa.dictionary(pa.int16(), pa.string()),
}


def compare(source, *outputs):
    want = read(source)
    for path in outputs:
        got = read(path)
        for name in want.column_names:
            w, g = want[name], got[name]
            assert g.type in (w.type, coarser.get(w.type)) or coarser.get(g.type) == w.type, (path, name, w.type, g.type)
            if want.num_rows > 10_000:
                import polars as pl

                assert pl.from_arrow(g).equals(pl.from_arrow(w)), (path, name)
                continue
            assert repr(g.to_pylist()) == repr(w.to_pylist()), (path, name, w.to_pylist(), g.to_pylist())
        for key, value in (want.schema.metadata or {}).items():
            assert got.schema.metadata[key] == value, (path, key)


def polars(*outputs):
    import polars as pl

    for path in outputs:
        with open(path, "rb") as f:
            magic = f.read(6)
        got = (pl.read_ipc if magic == b"ARROW1" else pl.read_ipc_stream)(path)
        want = pl.from_arrow(read(path))
        assert got.equals(want) and got.schema == want.schema, (path, got, want)


def random_csv(folder, seed, n):
    words = ["", "a", "é", "\U0001f600", '"', '""', ",", "\n", "\r\n", "\r", " ", "007", "1", "true", "\t", "'", "NULL", "=1+1", "\ufeff", "x" * 300]
    for i in range(int(n)):
        r = random.Random(f"{seed}/{i}")
        width, height = r.randint(1, 6), r.randint(0, 60)
        header = [f"c{j}" + r.choice(["", ' "q"', ", x", "\n", "é"]) for j in range(width)]
        kinds = [r.choice(["int", "float", "bool", "text", "text", "mixed"]) for _ in range(width)]

        def cell(kind):
            if r.random() < 0.1:
                return None
            if kind == "int":
                return str(r.choice([0, 1, -1, r.randint(-(2**63), 2**63 - 1)]))
            if kind == "float":
                return repr(r.choice([r.random(), -0.0, 1e300, 5e-324, r.uniform(-1e9, 1e9), float(r.randint(0, 99))]))
            if kind == "bool":
                return r.choice(["true", "False", "TRUE"])
            if kind == "mixed":
                return r.choice(["1", "2.5", "true", "0123", "1e999", "12345678901234567890", "-0"])
            return "".join(r.choice(words) for _ in range(r.randint(0, 4)))

        rows = [[cell(kind) for kind in kinds] for _ in range(height)]
        end, quoting = r.choice(["\n", "\r\n"]), r.choice(["minimal", "all", "some"])
        lines = []
        for row in [header, *rows]:
            cells = []
            for text in row:
                special = text is not None and (text == "" or any(c in text for c in ',"\r\n'))
                if text is None:
                    cells.append("")
                elif special or quoting == "all" or quoting == "some" and r.random() < 0.5:
                    cells.append('"' + text.replace('"', '""') + '"')
                else:
                    cells.append(text)
            lines.append(",".join(cells))
        data = end.join(lines) + (end if r.random() < 0.7 or lines[-1] == "" else "")
        data = (b"\xef\xbb\xbf" if r.random() < 0.3 else b"") + data.encode()
        # Python's own reader agrees, but for the nulls, which it does not know.
        with_blank = list(csv.reader(data.decode("utf-8-sig").splitlines(keepends=True), strict=True))
        if width > 1:
            assert with_blank == [[t or "" for t in row] for row in [header, *rows]], (seed, i)
        with open(f"{folder}/{i}.csv", "wb") as f:
            f.write(gzip.compress(data) if r.random() < 0.2 else data)
        with open(f"{folder}/{i}.json", "w") as f:
            json.dump({"header": header, "rows": rows}, f)


commands = {
    "tables": tables, "types": types, "pandas": pandas_frames, "compare": compare, "pandas_compare": pandas_compare, "polars": polars,
    "csv": random_csv,
}

if __name__ == "__main__":
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer = None
        try:
            commands[command](*arguments)
        except Exception:
            answer = traceback.format_exc()
        print(json.dumps(answer), file=answers, flush=True)
