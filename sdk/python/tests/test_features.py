"""Lookups of a real server: every type, every form of entities, every form of results."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Project, Server, T

import provender
from provender._instant import micros

TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
READ = "2026-05-04T12:30:00Z"

# Per type one value per entity: of 1, 2, 3, 4.
VALUES: dict[str, list[Any]] = {
    "bool": [True, False, None, True],
    "int32": [-(1 << 31), (1 << 31) - 1, None, 0],
    "int64": [-(1 << 63), (1 << 63) - 1, None, 0],
    "float32": [-0.0, math.inf, None, math.nan],
    "float64": [-0.0, -math.inf, None, math.nan],
    "string": ["", "Zürich 🙂", None, "a"],
    "bytes": [b"", b"\x00\xff", None, b"a"],
    "timestamp": [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None, NOON],
}
LISTS: dict[str, list[Any]] = {name: [[], [v[0], v[1]], None, [v[3], None]] for name, v in VALUES.items()}


@pytest.fixture(scope="module")
def everything(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a view with every type, and of a global one."""
    folder = tmp_path_factory.mktemp("everything")
    columns = {"id": pa.array([1, 2, 3, 4]), "at": pa.array([NOON] * 4, TYPES["timestamp"])}
    lines = []
    for name, kind in TYPES.items():
        columns[name] = pa.array(VALUES[name], kind)
        columns[f"{name}s"] = pa.array(LISTS[name], pa.list_(kind))
        lines += [f"  - {{name: {name}, type: {name}}}", f"  - {{name: {name}s, type: list<{name}>}}"]
    (folder / "data").mkdir()
    pq.write_table(pa.table(columns), folder / "data" / "everything.parquet")
    world = {"at": pa.array([NOON], TYPES["timestamp"]), "temperature": pa.array([21.5])}
    pq.write_table(pa.table(world), folder / "data" / "world.parquet")
    (folder / "provender.yaml").write_text(
        "version: 1\nproject: types\nroots: {lake: ./data}\nregistry: sqlite://.provender/registry.db\n"
        "online: embedded://.provender/online\nserver: {grpc: 127.0.0.1:0, http: 127.0.0.1:0}\n"
    )
    (folder / "definitions.yaml").write_text(
        "kind: Entity\nname: thing\njoin_keys: [{name: id, type: int64}]\n---\n"
        "kind: FeatureView\nname: everything\nentities: [thing]\nttl: 1h\n"
        'source: {parquet: "lake:everything.parquet", event_time: at}\nfeatures:\n' + "\n".join(lines) + "\n---\n"
        "kind: FeatureView\nname: world\nentities: []\n"
        'source: {parquet: "lake:world.parquet", event_time: at}\nfeatures: [{name: temperature, type: float64}]\n---\n'
        "kind: FeatureService\nname: all\nfeatures: [{view: everything}]\n"
    )
    project = Project(binary, folder)
    project.run("apply", "--yes")
    project.run("materialize", "--to", READ)
    server = project.serve("--now", READ)
    yield server
    server.stop()


@pytest.fixture
def types(everything: Server) -> Iterator[provender.Store]:
    with provender.connect(everything.address) as store:
        yield store


def bits(value: Any) -> Any:
    """A value that equals another's only where their bits do."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    return [bits(v) for v in value] if isinstance(value, list) else value


def test_every_type(types: provender.Store) -> None:
    features = types.get_features(service="all", entities={"id": [1, 2, 3, 4]})
    values = features.to_dict()
    table = features.to_arrow()
    table.validate(full=True)
    polars = features.to_polars()
    arrow_frame = features.to_pandas(dtype_backend="pyarrow")
    for name, kind in TYPES.items():
        assert bits(values[name]) == bits(VALUES[name]), name
        assert bits(values[f"{name}s"]) == bits(LISTS[name]), name
        assert table.schema.field(name).type == kind
        assert table.schema.field(f"{name}s").type == pa.list_(kind)
        assert bits(table[name].to_pylist()) == bits(VALUES[name])
        assert bits(polars[name].to_list()) == bits(VALUES[name])
        assert bits(polars[f"{name}s"].to_list()) == bits(LISTS[name])
        assert arrow_frame[name].dtype == pd.ArrowDtype(kind)
        assert features.statuses[name].to_pylist() == ["PRESENT", "PRESENT", "NULL", "PRESENT"]


def test_pandas_types(types: provender.Store) -> None:
    frame = types.get_features(service="all", entities={"id": [1, 2, 3, 4]}).to_pandas()
    assert {name: str(frame[name].dtype) for name in TYPES} == {
        "bool": "boolean",
        "int32": "Int32",
        "int64": "Int64",
        "float32": "float32",
        "float64": "float64",
        "string": "str",
        "bytes": "object",
        "timestamp": "datetime64[us, UTC]",
    }
    assert frame["int64"].tolist() == [-(1 << 63), (1 << 63) - 1, pd.NA, 0]
    assert bits(frame["float64"].tolist()[:2]) == bits([-0.0, -math.inf])
    assert math.isnan(frame["float64"][2])
    assert frame["timestamp"][1] == pd.Timestamp("9999-12-31T23:59:59.999999Z")
    assert frame["int64s"].dtype == pd.ArrowDtype(pa.list_(pa.int64()))


def test_no_rows(types: provender.Store) -> None:
    for entities in ({"id": []}, {"id": np.array([], np.int64)}, pd.DataFrame({"id": pd.Series([], dtype="int64")})):
        features = types.get_features(service="all", entities=entities, event_times=True)
        assert len(features) == 0
        assert features.to_dict() == {name: [] for name in features.names}
        assert features.to_arrow(keys=True).num_rows == 0
        assert features.to_pandas().shape == (0, 16)
        assert features.to_polars().shape == (0, 16)
        assert features.statuses.num_rows == features.event_times.num_rows == 0
    assert types.get_features(features=["everything:int64"], entities={"id": []}).to_numpy().shape == (0, 1)


def test_global_view(types: provender.Store) -> None:
    assert types.get_features(features=["world:temperature"]).to_dict() == {"temperature": [21.5]}


def test_statuses_and_event_times(types: provender.Store) -> None:
    features = types.get_features(
        features=["everything:int32", "world:temperature"], entities={"id": [4, None, 99]}, event_times=True
    )
    assert features.statuses.to_pydict() == {
        "int32": ["PRESENT", "NOT_FOUND", "NOT_FOUND"],
        "temperature": ["PRESENT"] * 3,
    }
    assert features.event_times.to_pydict() == {"int32": [NOON, None, None], "temperature": [NOON] * 3}
    assert features.read_time == datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    assert features.fixed_read_time
    assert features.revision == 1
    assert [view.name for view in features.views] == ["everything", "world"]
    assert features.views[0].t == datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
    expired = types.get_features(features=["everything:int32"], entities={"id": [4]}, read_time="2026-05-04T13:30:00Z")
    assert expired.statuses["int32"].to_pylist() == ["EXPIRED"]
    with pytest.raises(provender.InvalidError, match="event_times=True"):
        _ = expired.event_times


def test_to_numpy(types: provender.Store) -> None:
    def numpy(names: str, ids: list[int], **kwargs: Any) -> np.ndarray[Any, Any]:
        return types.get_features(
            features=[f"everything:{name}" for name in names.split()], entities={"id": ids}
        ).to_numpy(**kwargs)

    assert numpy("int64", [1, 2]).dtype == np.int64
    assert numpy("int64", [1, 2]).tolist() == [[-(1 << 63)], [(1 << 63) - 1]]
    assert numpy("float32", [1, 3]).dtype == np.float32
    assert numpy("bool", [1, 2]).dtype == np.bool_
    mixed = numpy("float64 int32 bool float32", [1, 3])
    assert mixed.dtype == np.float64
    assert bits(mixed[0].tolist()) == bits([-0.0, -2147483648.0, 1.0, -0.0])
    assert np.isnan(mixed[1]).all()
    assert numpy("int64", [4], dtype=np.float32).dtype == np.float32
    assert numpy("int64 bool", [4], dtype=np.int32).tolist() == [[0, 1]]
    assert numpy("int64 float64", [1], dtype=float)[0, 0] == -(2.0**63)
    for names, ids, dtype, what in (
        ("int64 float64", [1], None, "can't hold"),
        ("int64", [3], np.int64, "nulls"),
        ("int64", [1], np.int32, "can't hold"),
        ("float64", [1], np.int64, "can't hold"),
        ("int64", [1], np.dtype(object), "can't hold"),
        ("string", [1], None, "not a number"),
        ("timestamp", [1], None, "not a number"),
        ("int64s", [1], None, "not a number"),
    ):
        with pytest.raises(provender.InvalidError, match=what):
            numpy(names, ids, dtype=dtype)


def test_index_and_keys(types: provender.Store) -> None:
    frame = pd.DataFrame({"id": [2, 4, 2]}, index=["x", "y", "z"])
    features = types.get_features(features=["everything:int32"], entities=frame)
    assert features.to_pandas().index.tolist() == ["x", "y", "z"]
    assert features.to_pandas(keys=True).columns.tolist() == ["id", "int32"]
    assert features.to_dict(keys=True) == {"id": [2, 4, 2], "int32": [(1 << 31) - 1, 0, (1 << 31) - 1]}
    assert features.to_polars(keys=True).columns == ["id", "int32"]
    assert features["int32"].to_pylist() == [(1 << 31) - 1, 0, (1 << 31) - 1]
    assert list(features) == ["int32"]
    assert "int32" in features
    with pytest.raises(KeyError):
        features["int64"]


def test_printed(types: provender.Store, store: provender.Store) -> None:
    features = types.get_features(features=["everything:int32", "everything:string"], entities={"id": [1, 2, 3, 4, 99]})
    assert [line.split() for line in repr(features).splitlines()] == [
        ["Features", "of", "5", "entities", "at", "2026-05-04T12:30:00Z,", "revision", "1"],
        ["FEATURE", "TYPE", "1", "2", "3", "STATUSES"],
        ["int32", "int32", "-2,147,483,648", "2,147,483,647", "-", "3", "PRESENT,", "1", "NULL,", "1", "NOT_FOUND"],
        ["string", "string", "-", "Zürich", "🙂", "-", "3", "PRESENT,", "1", "NULL,", "1", "NOT_FOUND"],
    ]
    assert "everything" not in repr(types.get_features(service="all", entities={"id": []}))
    assert "21.5" in repr(types.get_features(features=["world:temperature"]))
    page = store.get_features(features=["airport_hourly:departures_1h"], entities={"airport": ["<JFK>"]})._repr_html_()
    assert "&lt;JFK&gt;" in page
    assert "1 NOT_FOUND" in page


INTEGERS: dict[str, Callable[[], Any]] = {
    "list": lambda: {"id": [2, 4]},
    "tuple": lambda: {"id": (2, 4)},
    "numpy": lambda: {"id": np.array([2, 4])},
    "numpy int8": lambda: {"id": np.array([2, 4], np.int8)},
    "numpy uint64": lambda: {"id": np.array([2, 4], np.uint64)},
    "numpy big-endian": lambda: {"id": np.array([2, 4], ">i4")},
    "numpy strided": lambda: {"id": np.array([2, 0, 4, 0])[::2]},
    "numpy object": lambda: {"id": np.array([2, 4], object)},
    "numpy scalars": lambda: {"id": [np.int64(2), np.int32(4)]},
    "range": lambda: {"id": range(2, 5, 2)},
    "arrow": lambda: {"id": pa.array([2, 4], pa.int16())},
    "arrow slice": lambda: {"id": pa.array([1, 2, 4])[1:]},
    "arrow chunks": lambda: {"id": pa.chunked_array([[2], [4]])},
    "arrow dictionary": lambda: {"id": pa.array([2, 4]).dictionary_encode()},
    "arrow table": lambda: pa.table({"id": [2, 4]}),
    "arrow batch": lambda: pa.record_batch({"id": [2, 4]}),
    "pandas series": lambda: {"id": pd.Series([2, 4], index=[7, 8])},
    "pandas nullable": lambda: {"id": pd.Series([2, 4], dtype="Int32")},
    "pandas index": lambda: {"id": pd.Index([2, 4])},
    "pandas": lambda: pd.DataFrame({"id": [2, 4]}),
    "pandas arrow": lambda: pd.DataFrame({"id": pd.Series([2, 4], dtype=pd.ArrowDtype(pa.int64()))}),
    "pandas category": lambda: pd.DataFrame({"id": pd.Categorical([2, 4])}),
    "polars series": lambda: {"id": pl.Series([2, 4])},
    "polars": lambda: pl.DataFrame({"id": [2, 4]}),
    "rows": lambda: [{"id": 2}, {"id": 4}],
}


@pytest.mark.parametrize("form", INTEGERS)
def test_integer_keys(types: provender.Store, form: str) -> None:
    features = types.get_features(features=["everything:int32"], entities=INTEGERS[form]())
    assert features.to_dict(keys=True) == {"id": [2, 4], "int32": [(1 << 31) - 1, 0]}


NULLS: dict[str, Callable[[], Any]] = {
    "list": lambda: {"id": [2, None]},
    "arrow": lambda: pa.table({"id": [2, None]}),
    "pandas": lambda: pd.DataFrame({"id": pd.Series([2, None], dtype="Int64")}),
    "pandas object": lambda: pd.DataFrame({"id": pd.Series([2, None], dtype=object)}),
    "polars": lambda: pl.DataFrame({"id": [2, None]}),
    "rows": lambda: [{"id": 2}, {"id": None}],
}


@pytest.mark.parametrize("form", NULLS)
def test_null_keys(types: provender.Store, form: str) -> None:
    features = types.get_features(features=["everything:int32"], entities=NULLS[form]())
    assert features.statuses["int32"].to_pylist() == ["PRESENT", "NOT_FOUND"]
    assert features.to_dict(keys=True) == {"id": [2, None], "int32": [(1 << 31) - 1, None]}


def test_only_null_keys(types: provender.Store) -> None:
    for entities in ({"id": [None]}, pa.table({"id": pa.array([None], pa.int64())})):
        features = types.get_features(features=["everything:int32"], entities=entities)
        assert features.statuses["int32"].to_pylist() == ["NOT_FOUND"]


STRINGS: dict[str, Callable[[], Any]] = {
    "list": lambda: {"airport": ["JFK", "Zürich 🙂", ""]},
    "numpy": lambda: {"airport": np.array(["JFK", "Zürich 🙂", ""])},
    "numpy object": lambda: {"airport": np.array(["JFK", "Zürich 🙂", ""], object)},
    "numpy text": lambda: {"airport": np.array(["JFK", "Zürich 🙂", ""], np.dtypes.StringDType())},
    "arrow": lambda: pa.table({"airport": pa.array(["JFK", "Zürich 🙂", ""], pa.large_string())}),
    "arrow view": lambda: pa.table({"airport": pa.array(["JFK", "Zürich 🙂", ""], pa.string_view())}),
    "pandas": lambda: pd.DataFrame({"airport": ["JFK", "Zürich 🙂", ""]}),
    "pandas object": lambda: pd.DataFrame({"airport": pd.Series(["JFK", "Zürich 🙂", ""], dtype=object)}),
    "pandas category": lambda: pd.DataFrame({"airport": pd.Categorical(["JFK", "Zürich 🙂", ""])}),
    "polars": lambda: pl.DataFrame({"airport": ["JFK", "Zürich 🙂", ""]}),
    "polars categorical": lambda: pl.DataFrame({"airport": pl.Series(["JFK", "Zürich 🙂", ""], dtype=pl.Categorical)}),
    "rows": lambda: [{"airport": "JFK"}, {"airport": "Zürich 🙂"}, {"airport": ""}],
}


@pytest.mark.parametrize("form", STRINGS)
def test_string_keys(store: provender.Store, form: str) -> None:
    features = store.get_features(features=["airport_hourly:departures_1h"], entities=STRINGS[form]())
    assert features.to_dict(keys=True) == {"airport": ["JFK", "Zürich 🙂", ""], "departures_1h": [14, 0, 0]}


@pytest.mark.parametrize(
    ("entities", "field", "what"),
    [
        ({"id": [1.0]}, "keys.id", "convert them to integers"),
        ({"id": [True]}, "keys.id", "no key is true or false"),
        ({"id": [True, 1]}, "keys.id", ""),
        ({"id": np.array([1.5])}, "keys.id", "double"),
        ({"id": np.array([True])}, "keys.id", "bool"),
        (pd.DataFrame({"id": [1, None]}), "keys.id", "Int64"),
        (pl.DataFrame({"id": [1.5]}), "keys.id", "double"),
        ({"id": [1, "a"]}, "keys.id", "several types"),
        ({"id": ["a", b"b"]}, "keys.id", "decode"),
        ({"id": [b"a"]}, "keys.id", "decode"),
        ({"id": [NOON]}, "keys.id", "timestamp"),
        ({"id": [[1]]}, "keys.id", "list"),
        ({"id": [1 << 63]}, "keys.id", "int64"),
        ({"id": [None, 1 << 63]}, "keys.id", "int64"),
        ({"id": np.array([1 << 63], np.uint64)}, "keys.id", "int64"),
        ({"id": pa.array([1 << 63], pa.uint64())}, "keys.id", "int64"),
        ({"id": 1}, "keys.id", r"write \[1\]"),
        ({"id": "JFK"}, "keys.id", r"write \['JFK'\]"),
        ({"id": {1, 2}}, "keys.id", "one value"),
        ({"id": np.array([[1]])}, "keys.id", "dimensions"),
        ({"id": ["\ud800"]}, "keys.id", "UTF-8"),
        ({"id": ["1"]}, "keys.id", "is int64, the request has string"),
        ({"di": [1]}, "keys.di", 'did you mean "id"'),
        ({1: [1]}, "entities", "not text"),
        ({}, "keys.id", "missing"),
        (None, "keys.id", "missing"),
        ([{"id": 1}, {}], "entities[1]", "id"),
        ([{"id": 1}, {"id": 2, "x": 3}], "entities[1]", "x"),
        ([1], "entities[0]", "mapping"),
        ("JFK", "entities", "write"),
        (7, "entities", "write"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["id", "id"]), "keys.id", "twice"),
    ],
)
def test_bad_entities(types: provender.Store, entities: Any, field: str, what: str) -> None:
    with pytest.raises(provender.InvalidError, match=what) as caught:
        types.get_features(features=["everything:int32"], entities=entities)
    assert caught.value.field == field


def test_bad_requests(types: provender.Store) -> None:
    for kwargs, what in (
        ({}, "neither a service nor features"),
        ({"service": "all", "features": ["everything:int32"]}, "takes one of them"),
        ({"features": "everything:int32"}, r"write features=\['everything:int32'\]"),
        ({"features": ["everything:int23"]}, "did you mean"),
        ({"features": [7]}, "not text"),
        ({"service": "\ud800"}, "UTF-8"),
        ({"service": "all", "read_time": "yesterday"}, "no time"),
        ({"service": "all", "read_time": 7}, "no time"),
        ({"service": "all", "read_time": pd.NaT}, "no time"),
        ({"service": "all", "read_time": np.datetime64("NaT")}, "no time"),
    ):
        with pytest.raises(provender.InvalidError, match=what):
            types.get_features(entities={"id": [1]}, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(provender.NotFoundError, match='did you mean "all"'):
        types.get_features(service="al", entities={"id": [1]})


@pytest.mark.parametrize(
    "time",
    [
        NOON,
        NOON.replace(tzinfo=None),
        "2026-05-04T12:00:00Z",
        "2026-05-04 14:00:00+02:00",
        pd.Timestamp("2026-05-04T12:00:00.000000999Z"),
        np.datetime64("2026-05-04T12:00:00.000000999"),
        np.datetime64("2026-05-04T12"),
    ],
)
def test_times(types: provender.Store, time: Any) -> None:
    features = types.get_historical_features(features=["everything:int32"], entities={"id": [4]}, at=time)
    assert features.read_time == NOON


def test_time_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert micros(NOON.replace(tzinfo=None), "at") == micros(NOON, "at") == 1777896000_000000
        assert micros("2026-05-04T12:00:00", "at") == micros(NOON, "at")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_historical_is_online(store: provender.Store) -> None:
    """The same features at the same instant, from history and from the online store."""
    entities = pd.DataFrame(
        {"origin": ["JFK", "XXX", None, "JFK", "SFO"], "destination": ["SFO", "SFO", "SFO", "SFO", "JFK"]}
    )
    online = store.get_features(service="delay_model_v1", entities=entities, event_times=True)
    offline = store.get_historical_features(service="delay_model_v1", entities=entities, at=T)
    assert offline.to_arrow() == online.to_arrow()
    assert offline.statuses == online.statuses
    assert offline.event_times == online.event_times
    assert offline.views[0].t is None
    earlier = store.get_historical_features(service="delay_model_v1", entities=entities, at="2001-06-29T18:00:00Z")
    assert earlier.to_arrow() != online.to_arrow()


def test_same_as_the_command(flights: Project, server: Server, store: provender.Store) -> None:
    """What the package says is what `provender get -o json` says."""
    pairs = [("JFK", "SFO"), ("SFO", "JFK"), ("XXX", "JFK"), ("ORD", "LAX")]
    args = [arg for o, d in pairs for arg in ("--entity", f"origin={o},destination={d}")]
    said = json.loads(
        flights.run("get", "--server", server.address, "--service", "delay_model_v1", "-o", "json", *args)
    )
    features = store.get_features(
        service="delay_model_v1", entities=[{"origin": o, "destination": d} for o, d in pairs]
    )
    values = features.to_dict()
    for i, row in enumerate(said["rows"]):
        for name, cell in row["features"].items():
            assert values[name][i] == cell["value"], name
            assert features.statuses[name][i].as_py() == cell["status"]
