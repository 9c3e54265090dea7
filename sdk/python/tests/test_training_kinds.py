"""Spines of every kind, and what becomes of their own columns."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from conftest import Project

import provender

SERVICE = "delay_model_v1"


def ask(store: provender.Store, spine: Any, **options: Any) -> provender.TrainingSet:
    return store.training_set(spine, service=SERVICE, **({"time": "departs"} | options))


@pytest.fixture
def table(flights: Project) -> pa.Table:
    return pq.read_table(flights.folder / "data" / "flights.parquet").slice(0, 5000)


def written(write: Callable[[pa.Table, str], Any], name: str) -> Callable[[pa.Table, Path], Any]:
    def make(table: pa.Table, folder: Path) -> str:
        write(table, str(folder / name))
        return str(folder / name)

    return make


def zipped(table: pa.Table, path: str) -> None:
    with gzip.open(path, "wb") as file:
        pyarrow.csv.write_csv(table, file)


def streamed(table: pa.Table, path: str) -> None:
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def folder(table: pa.Table, path: str) -> None:
    pyarrow.dataset.write_dataset(table, path, format="parquet", max_rows_per_file=3000, max_rows_per_group=3000)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda t, _: t.to_pandas(), pd.DataFrame),
        (lambda t, _: t.to_pandas(types_mapper=pd.ArrowDtype), pd.DataFrame),
        (lambda t, _: t.to_pandas(categories=["origin", "destination"]), pd.DataFrame),
        (lambda t, _: t.to_pandas().astype({"origin": object, "destination": object}), pd.DataFrame),
        (lambda t, _: pl.from_arrow(t), pl.DataFrame),
        (lambda t, _: pl.from_arrow(t).with_columns(pl.col("origin").cast(pl.Categorical)), pl.DataFrame),  # type: ignore[union-attr]
        (lambda t, _: pl.from_arrow(t).lazy(), pl.DataFrame),  # type: ignore[union-attr]
        (lambda t, _: t, pa.Table),
        (lambda t, _: pa.concat_tables([t.slice(0, 7), t.slice(7, 0), t.slice(7)]), pa.Table),
        (lambda t, _: t.set_column(0, "origin", t["origin"].dictionary_encode()), pa.Table),
        (lambda t, _: t.set_column(0, "origin", t["origin"].cast(pa.string_view())), pa.Table),
        (lambda t, _: t.combine_chunks().to_batches()[0], pa.Table),
        (lambda t, _: t.to_reader(max_chunksize=999), pa.Table),
        (lambda t, _: pyarrow.dataset.dataset(t), pa.Table),
        (lambda t, _: pyarrow.dataset.dataset(t).scanner(), pa.Table),
        (lambda t, _: duckdb.from_arrow(t), pa.Table),
        (written(pq.write_table, "x.parquet"), pa.Table),
        (lambda t, p: Path(written(pq.write_table, "x.parquet")(t, p)), pa.Table),
        (written(pyarrow.csv.write_csv, "x.csv"), pa.Table),
        (written(zipped, "x.csv.gz"), pa.Table),
        (written(pyarrow.feather.write_feather, "x.feather"), pa.Table),
        (written(streamed, "x.arrow"), pa.Table),
        (written(folder, "x"), pa.Table),
    ],
)
def test_kinds(
    store: provender.Store, table: pa.Table, tmp_path: Path, make: Callable[[pa.Table, Path], Any], kind: type
) -> None:
    want = ask(store, table)
    ts = ask(store, make(table, tmp_path))
    assert isinstance(ts.data, kind)
    assert ts.to_arrow().select(ts.features).equals(want.to_arrow().select(ts.features))
    # The other kinds say the same.
    assert ts.to_arrow().column_names == want.to_arrow().column_names
    assert ts.to_polars().columns == want.to_arrow().column_names
    assert ts.to_polars()["delays_1d"].to_list() == want.to_arrow()["delays_1d"].to_pylist()
    frame = ts.to_pandas()
    assert list(frame.columns) == want.to_arrow().column_names
    assert frame["flights_1d"].dtype == pd.Int64Dtype()
    assert frame["flights_1d"].to_list() == want.to_pandas()["flights_1d"].to_list()
    assert ts.to_polars()["delay"].to_list() == table["delay"].to_pylist()
    assert frame["delay"].to_list() == table["delay"].to_pylist()


@pytest.mark.parametrize(
    "index",
    [
        lambda n: pd.Index(np.arange(n)[::-1], name="row"),
        lambda n: pd.Index(np.arange(n) // 3),
        lambda n: pd.MultiIndex.from_arrays([np.arange(n) // 5, np.arange(n) % 2], names=["a", None]),
        lambda n: pd.date_range("2001-01-01", periods=n, tz="Asia/Tokyo"),
        lambda n: pd.RangeIndex(7, 7 + 2 * n, 2),
        lambda n: pd.Index([None] * n, dtype=object),
    ],
)
def test_an_index_stays(store: provender.Store, table: pa.Table, index: Callable[[int], pd.Index[Any]]) -> None:
    spine = table.to_pandas()
    want = ask(store, spine).data
    spine.index = index(len(spine))
    ts = ask(store, spine)
    pd.testing.assert_index_equal(ts.data.index, spine.index, exact=True)
    pd.testing.assert_frame_equal(ts.data.reset_index(drop=True), want)
    assert ts.to_polars()["distance"].to_list() == ts.to_arrow()["distance"].to_pylist()


def test_keys_and_time_in_the_index(store: provender.Store, table: pa.Table) -> None:
    spine = table.to_pandas()
    want = ask(store, spine)
    ts = ask(store, spine.set_index(["origin", "departs"]))
    assert ts.data.reset_index()[list(want.data.columns)].equals(want.data)


def test_columns_stay(store: provender.Store, table: pa.Table) -> None:
    spine = table.to_pandas()
    n = len(spine)
    spine["category"] = pd.Categorical(
        ["b", "a", None, "c", "b"] * (n // 5), categories=["c", "b", "a", "z"], ordered=True
    )
    spine["object"] = pd.Series([object() for _ in range(n)], dtype=object)
    spine["mixed"] = pd.Series([1, "x", None, 2.5, Decimal("1.10")] * (n // 5), dtype=object)
    spine["period"] = pd.period_range("2001-01", periods=n, freq="h")
    spine["zone"] = pd.date_range("2001-01-01", periods=n, tz="America/New_York")
    spine["ns"] = pd.date_range("2001-01-01", periods=n).astype("datetime64[ns]")
    spine["int8"] = np.arange(n).astype(np.int8)
    spine["Int16"] = pd.array([1, None, 3, 4, 5] * (n // 5), dtype="Int16")
    spine["arrow"] = pd.array([[1], None, [], [2, 3], [4]] * (n // 5), dtype=pd.ArrowDtype(pa.list_(pa.int8())))
    spine["sparse"] = pd.arrays.SparseArray(np.where(np.arange(n) % 7, 0, 1))
    spine[7] = "a name that is no text"
    spine["twice"] = 1
    spine = pd.concat([spine, spine[["twice"]]], axis=1)
    spine.attrs["from"] = "here"
    before = spine.copy()
    data = ask(store, spine).data
    pd.testing.assert_frame_equal(data.iloc[:, : spine.shape[1]], before)
    assert data.attrs == {"from": "here"}
    pd.testing.assert_frame_equal(spine, before)
    assert data.columns[spine.shape[1]] == "origin_departures_1h"


def test_what_is_written_stays_there(store: provender.Store, table: pa.Table) -> None:
    spine = table.to_pandas()
    ts = ask(store, spine)
    want = pa.concat_tables([ts.to_arrow(), ts.to_arrow()]).combine_chunks().slice(0, len(ts))  # in memory of its own
    frame = ts.data
    for name in [*ts.features, "delay"]:
        frame.isetitem(frame.columns.get_loc(name), frame[name].copy())
    first = ts.data
    first.loc[:, "flights_1d"] = 7
    first.loc[first.index[:3], "origin_mean_delay_1h"] = -1.0
    first.iloc[0, first.columns.get_loc("distance")] = 0
    first.loc[:, "delay"] = 0
    assert ts.to_arrow().equals(want)
    assert spine["delay"].to_list() == table["delay"].to_pylist()
    pd.testing.assert_frame_equal(ts.data, frame)


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64", "bool", "complex128"])
def test_keys_that_are_none(store: provender.Store, table: pa.Table, dtype: str) -> None:
    spine = table.to_pandas()
    spine["origin"] = pd.Series([1] * len(spine)).astype(dtype)
    with pytest.raises(provender.InvalidError) as caught:
        ask(store, spine)
    assert "origin" in str(caught.value)
    assert caught.value.field == "spine"
    assert caught.value.fix


def test_keys_of_several_types(store: provender.Store, table: pa.Table) -> None:
    spine = table.to_pandas()
    spine["origin"] = pd.Series(["a", 1] * (len(spine) // 2), dtype=object)
    with pytest.raises(provender.InvalidError, match="has no single type"):
        ask(store, spine)
    spine["origin"] = pd.period_range("2001-01", periods=len(spine), freq="h")
    with pytest.raises(provender.InvalidError, match="period"):
        ask(store, spine)
    with pytest.raises(provender.InvalidError, match="several levels"):
        ask(store, pd.DataFrame({("a", "b"): [1]}))
    row = {"origin": ["JFK"], "destination": ["SFO"], "departs": [datetime(2001, 6, 1, tzinfo=UTC)]}
    with pytest.raises(provender.InvalidError, match="float64") as caught:
        ask(store, pl.DataFrame(row | {"origin": [1.0]}))
    assert "as text from the start" in caught.value.fix
    with pytest.raises(provender.InvalidError, match="bool") as caught:
        ask(store, pl.DataFrame(row | {"destination": [True]}))
    assert caught.value.fix == 'spine.with_columns(pl.col("destination").cast(pl.String))'


def test_csv_is_read_as_export_reads_it(store: provender.Store, flights: Project, tmp_path: Path) -> None:
    path = tmp_path / "spine.csv"
    path.write_text(
        "origin,destination,departs,note,zip\n"
        'JFK,SFO,2001-06-15T12:30:00Z,"",007\n'
        ",SFO,2001-06-15T12:30:00Z,,12\n"
        '"",SFO,2001-06-15T12:30:00Z,NA,\n'
    )
    ts = ask(store, path)
    assert ts.to_arrow()["note"].to_pylist() == ["", None, "NA"]
    out = tmp_path / "out.parquet"
    flights.run("export", "--service", SERVICE, "--spine", str(path), "--time", "departs", "--out", str(out))
    exported = pq.read_table(out)
    for name in ["origin", "note", *ts.features]:
        assert ts.to_arrow()[name].to_pylist() == exported[name].to_pylist(), name
    path.write_text("origin,destination\n1,2,3\n")
    with pytest.raises(provender.InvalidError, match=r"spine\.csv"):
        ask(store, path)
