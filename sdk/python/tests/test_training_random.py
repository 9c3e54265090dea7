"""Random spines over features of every type, against `provender export` of the same rows."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Project, rounds

import provender

TYPES = {
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "timestamp": pa.timestamp("us", "UTC"),
}
START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = 200

DEFINITIONS = """
kind: Entity
name: shop
join_keys: [{name: shop, type: string}]
---
kind: Entity
name: item
join_keys: [{name: item, type: int64}]
---
kind: FeatureView
name: scalars
entities: [shop, item]
source: {parquet: "lake:all/**", event_time: at}
ttl: 40h
features:
SCALARS
---
kind: FeatureView
name: lists
entities: [item]
source: {parquet: "lake:all/**", event_time: at}
features:
LISTS
---
kind: FeatureService
name: everything
features:
  - {view: scalars}
  - {view: lists, prefix: l_, join: {item: other}}
"""


def value(rng: random.Random, kind: str) -> Any:
    match kind:
        case "bool":
            return rng.random() < 0.5
        case "int32":
            return rng.choice([0, 1, -1, 2**31 - 1, -(2**31), rng.randrange(-1000, 1000)])
        case "int64":
            return rng.choice([0, 2**53 + 1, 2**63 - 1, -(2**63), rng.randrange(-1000, 1000)])
        case "float32" | "float64":
            return rng.choice([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 0.5, rng.randrange(-99, 99) / 4])
        case "string":
            return rng.choice(["", "a", "é", "日本", "x" * rng.randrange(100)])
        case "bytes":
            return rng.randbytes(rng.randrange(9))
        case _:
            return datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=rng.randrange(9998 * 365 * 86400 * 10**6))


def maybe(rng: random.Random, make: Any, nulls: float = 0.2) -> Any:
    return None if rng.random() < nulls else make()


@pytest.fixture(scope="module")
def project(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("random") / "project"
    (folder / "data" / "all").mkdir(parents=True)
    (folder / "provender.yaml").write_text(
        "version: 1\nproject: random\nroots: {lake: ./data}\n"
        "registry: sqlite://.provender/registry.db\nonline: embedded://.provender/online\n"
    )
    scalars = "\n".join(f'  - {{name: {name}, column: "c_{name}", type: {name}}}' for name in TYPES)
    scalars += "\n  - {name: filled, column: c_int64, type: int64, default: 7}"
    lists = "\n".join(f'  - {{name: {name}, column: "l_{name}", type: "list<{name}>"}}' for name in TYPES)
    (folder / "definitions.yaml").write_text(DEFINITIONS.replace("SCALARS", scalars).replace("LISTS", lists))
    rng = random.Random(1)
    n = 4000
    columns: dict[str, pa.Array] = {
        "shop": pa.array([f"s{rng.randrange(8)}" for _ in range(n)]),
        "item": pa.array([rng.randrange(8) for _ in range(n)], pa.int64()),
        "at": pa.array([START + timedelta(hours=rng.randrange(HOURS)) for _ in range(n)], pa.timestamp("us", "UTC")),
    }
    for name, kind in TYPES.items():
        columns[f"c_{name}"] = pa.array([maybe(rng, lambda k=name: value(rng, k)) for _ in range(n)], kind)
        lists_of = [
            maybe(rng, lambda k=name: [maybe(rng, lambda: value(rng, k)) for _ in range(rng.randrange(4))])
            for _ in range(n)
        ]
        columns[f"l_{name}"] = pa.array(lists_of, pa.list_(kind))
    pq.write_table(pa.table(columns), folder / "data" / "all" / "part.parquet")
    project = Project(binary, folder)
    project.run("apply", "--yes")
    return project


@pytest.fixture(scope="module")
def everything(project: Project) -> Iterator[provender.Store]:
    server = project.serve()
    with provender.connect(server.address) as store:
        yield store
    server.stop()


def exact(values: list[Any]) -> list[Any]:
    """Values that are equal only where all bits are."""

    def bits(v: Any) -> Any:
        if isinstance(v, float):
            return struct.pack("<d", v)
        return [bits(x) for x in v] if isinstance(v, list) else v

    return [bits(v) for v in values]


def random_spine(rng: random.Random, n: int) -> pa.Table:
    def times() -> pa.Array:
        micros = [int((START + timedelta(hours=rng.uniform(-50, HOURS + 50))).timestamp() * 1e6) for _ in range(n)]
        unit = rng.choice(["us", "ns", "ms"])
        factor = {"us": 1, "ns": 1000, "ms": 1}[unit]
        values = [m * factor + rng.randrange(factor) if unit != "ms" else m // 1000 for m in micros]
        return pa.array(values, pa.timestamp(unit, rng.choice(["UTC", "Asia/Tokyo", None])))

    items = lambda: [maybe(rng, lambda: rng.randrange(9), 0.1) for _ in range(n)]  # noqa: E731
    shops = pa.array([maybe(rng, lambda: f"s{rng.randrange(9)}", 0.1) for _ in range(n)], pa.string())
    columns = {
        "shop": rng.choice([shops, shops.cast(pa.large_string()), shops.dictionary_encode()]),
        "item": pa.array(items(), rng.choice([pa.int8(), pa.int32(), pa.int64(), pa.uint16()])),
        "other": pa.array(items(), pa.int64()),
        "when": times(),
        "label": pa.array([rng.random() for _ in range(n)]),
    }
    names = list(columns)
    rng.shuffle(names)
    return pa.table({name: columns[name] for name in names})


@pytest.mark.filterwarnings("ignore::provender.TrainingSetWarning")
def test_random_spines(everything: provender.Store, project: Project, tmp_path: Path, rng: random.Random) -> None:
    for turn in range(rounds(6)):
        n = rng.choice([0, 1, 7, 8, 9, 1000, 3000])
        table = random_spine(rng, n)
        path, out = tmp_path / f"spine{turn}.parquet", tmp_path / f"out{turn}.parquet"
        pq.write_table(table, path)
        project.run("export", "--service", "everything", "--spine", str(path), "--time", "when", "--out", str(out))
        want = pq.read_table(out)
        kind = rng.choice(["arrow", "pandas", "polars", "path"])
        spine = {"arrow": table, "path": str(path)}.get(kind)
        if kind == "pandas":
            spine = table.to_pandas(
                types_mapper={
                    pa.int8(): pd.Int8Dtype(),
                    pa.int32(): pd.Int32Dtype(),
                    pa.int64(): pd.Int64Dtype(),
                    pa.uint16(): pd.UInt16Dtype(),
                }.get
            )
        elif kind == "polars":
            spine = pl.from_arrow(table)
        ts = everything.training_set(spine, service="everything", time="when")
        made = ts.to_arrow()
        assert made.column_names == want.column_names
        made.validate(full=True)
        for name in ts.features:
            assert made[name].type == want[name].type, name
            assert exact(made[name].to_pylist()) == exact(want[name].to_pylist()), (kind, name)
        check_frames(ts, want)


def check_frames(ts: provender.TrainingSet, want: pa.Table) -> None:
    """Frames of pandas and Polars have what the table has, in types that hold it."""
    frame = ts.to_pandas()
    for name, dtype in [
        ("bool", "boolean"),
        ("int32", "Int32"),
        ("int64", "Int64"),
        ("filled", "Int64"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("timestamp", "datetime64[us, UTC]"),
    ]:
        assert str(frame[name].dtype) == dtype
    for name in ["bool", "int32", "int64", "filled", "string", "bytes", "timestamp"]:
        values = [None if pd.isna(v) else v for v in frame[name]]
        assert values == want[name].to_pylist(), name
    floats = [float("nan") if v is None else v for v in want["float64"].to_pylist()]
    assert np.array_equal(frame["float64"].to_numpy(), np.array(floats, dtype=float), equal_nan=True)
    arrow = ts.to_pandas(dtype_backend="pyarrow")
    for name in ts.features:
        assert arrow[name].dtype == pd.ArrowDtype(want[name].type)
        assert exact(pa.array(arrow[name].array).to_pylist()) == exact(want[name].to_pylist())
    polars = ts.to_polars()
    assert polars.columns == want.column_names
    for name in ts.features:
        assert exact(polars[name].to_arrow().to_pylist()) == exact(want[name].to_pylist()), name


def test_int_keys_of_floats(everything: provender.Store) -> None:
    spine = pd.DataFrame({"shop": ["s1", "s2"], "item": [1, None], "other": [1, 2], "when": [START] * 2})
    with pytest.raises(provender.InvalidError, match="'item' is float64, and the service needs int64") as caught:
        everything.training_set(spine, service="everything", time="when")
    assert caught.value.fix == 'spine["item"] = spine["item"].astype("Int64"), which keeps nulls'
    spine["item"] = spine["item"].astype("Int64")
    assert everything.training_set(spine, service="everything", time="when").reads[0].not_found >= 1
    spine["item"] = pd.Series([1, None], dtype=object)
    everything.training_set(spine, service="everything", time="when")
    spine["item"] = pd.Series([None, None], dtype=object)
    everything.training_set(spine, service="everything", time="when")
    spine["item"] = ["1", "2"]
    with pytest.raises(provender.InvalidError, match="item") as caught:
        everything.training_set(spine, service="everything", time="when")
    assert "int64" in str(caught.value)
