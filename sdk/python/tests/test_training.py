from __future__ import annotations

import hashlib
import json
import threading
import warnings
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Project

import provender

SERVICE = "delay_model_v1"


@pytest.fixture(scope="session")
def exported(flights: Project, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """What `provender export` makes of the flights."""
    out = tmp_path_factory.mktemp("exported") / "set.parquet"
    spine = flights.folder / "data" / "flights.parquet"
    flights.run("export", "--service", SERVICE, "--spine", str(spine), "--time", "departs", "--out", str(out))
    return pq.read_table(out)


@pytest.fixture
def spine(flights: Project) -> pd.DataFrame:
    return pd.read_parquet(flights.folder / "data" / "flights.parquet")


def one_row(**values: Any) -> pd.DataFrame:
    row = {"origin": "JFK", "destination": "SFO", "departs": datetime(2001, 6, 15, 12, 30, tzinfo=UTC)} | values
    return pd.DataFrame({name: [value] for name, value in row.items()})


def ask(store: provender.Store, spine: Any, **options: Any) -> provender.TrainingSet:
    return store.training_set(spine, service=SERVICE, **({"time": "departs"} | options))


def test_equals_export(store: provender.Store, spine: pd.DataFrame, exported: pa.Table) -> None:
    ts = ask(store, spine)
    assert len(ts) == 30_000
    assert ts.features == exported.column_names[5:]
    made = ts.to_arrow()
    for name in ts.features:
        assert made[name].type == exported[name].type
        assert made[name].to_pylist() == exported[name].to_pylist(), name


def test_result(store: provender.Store, spine: pd.DataFrame) -> None:
    ts = ask(store, spine)
    assert (ts.service, ts.time, ts.revision) == (SERVICE, "departs", 1)
    assert ts.keys == {"origin": "string", "destination": "string"}
    assert ts.columns == list(spine.columns)
    assert [c.name for c in ts.coverage] == ts.features
    for c in ts.coverage:
        assert c.present + c.null + c.expired + c.not_found == len(ts)
    assert {c["name"]: c["present"] for c in ts.manifest["features"]} == {c.name: c.present for c in ts.coverage}
    assert [r.name for r in ts.reads] == ["airport_hourly as origin", "airport_hourly as destination", "route_daily"]
    assert ts.reads[0].newest_age == timedelta(0)
    assert ts.reads[0].oldest_age == timedelta(hours=6)
    assert ts.warnings == ()
    text = repr(ts)
    assert text.startswith("Training set of delay_model_v1, revision 1: 30,000 rows, 10 features")
    assert "origin_departures_1h" in text
    assert "98.0%" in text
    assert "2d20h" in text
    assert ts.coverage.to_pandas()["name"].tolist() == ts.features
    html = ts._repr_html_()
    assert "<table" in html
    assert "origin_departures_1h" in html
    assert "98.0%" in html


def test_features_without_a_service(store: provender.Store, spine: pd.DataFrame) -> None:
    ts = store.training_set(
        spine.tail(100), features=["route_daily:distance", "route_daily:flights_1d"], time="departs"
    )
    assert ts.features == ["distance", "flights_1d"]
    assert ts.service is None
    assert ts.keys == {"origin": "string", "destination": "string"}


def test_save(store: provender.Store, spine: pd.DataFrame, exported: pa.Table, tmp_path: Path) -> None:
    ts = ask(store, spine)
    ts.save(tmp_path / "set.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.parquet", "set.parquet.manifest.json"]
    assert pq.read_table(tmp_path / "set.parquet").equals(ts.to_arrow())
    manifest = json.loads((tmp_path / "set.parquet.manifest.json").read_text())
    assert manifest | {"output": 0} == ts.manifest | {"output": 0}
    data = (tmp_path / "set.parquet").read_bytes()
    assert manifest["output"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert (manifest["output"]["rows"], manifest["output"]["bytes"]) == (30_000, len(data))
    again = pd.read_parquet(tmp_path / "set.parquet")
    assert list(again.columns) == exported.column_names
    with pytest.raises(OSError, match="nowhere"):
        ts.save(tmp_path / "nowhere" / "set.parquet")


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows(store: provender.Store, spine: pd.DataFrame, exported: pa.Table, rows: int) -> None:
    ts = ask(store, spine.iloc[20_000 : 20_000 + rows])
    assert len(ts.data) == rows
    assert list(ts.data.columns) == exported.column_names
    assert ts.to_arrow()["distance"].to_pylist() == exported["distance"].to_pylist()[20_000 : 20_000 + rows]
    assert ts.data.dtypes["distance"] == pd.Int32Dtype()
    assert f"{rows} rows" in repr(ts)


def test_an_empty_frame_without_types(store: provender.Store) -> None:
    ts = ask(store, pd.DataFrame({"origin": [], "destination": [], "departs": []}, dtype=object))
    assert len(ts.data) == 0
    assert ts.data.dtypes["flights_1d"] == pd.Int64Dtype()


def test_null_keys(store: provender.Store, spine: pd.DataFrame) -> None:
    rows = pd.concat([spine.tail(50)] * 2, ignore_index=True)
    rows.loc[50:, "origin"] = None
    ts = ask(store, rows)
    assert ts.reads[0].not_found == 50
    both = ts.data["origin_mean_delay_1h"]
    assert both[50:].isna().all()
    assert ts.data["destination_delay"][50:].tolist() == pytest.approx(
        ts.data["destination_delay"][:50].tolist(), nan_ok=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ask(store, rows.assign(origin=None)).reads[0].not_found == 100


def test_duplicates_and_order(store: provender.Store, spine: pd.DataFrame, rng: Any) -> None:
    chosen = [rng.randrange(len(spine)) for _ in range(5000)]
    everything = ask(store, spine).data.iloc[chosen]
    assert ask(store, spine.iloc[chosen]).data.equals(everything)


@pytest.mark.parametrize(
    ("departs", "options"),
    [
        (datetime(2001, 6, 15, 8, 30), {"timezone": "America/New_York"}),
        ("2001-06-15T12:30:00Z", {}),
        ("2001-06-15 08:30", {"timezone": "America/New_York"}),
        (992608200, {"time_unit": "s"}),
        (992608200_000_000_999, {"time_unit": "ns"}),
        (pd.Timestamp("2001-06-15T12:30:00.000000999Z"), {}),
        (datetime(2001, 6, 15, 8, 30, tzinfo=ZoneInfo("America/New_York")), {}),
    ],
)
def test_times(store: provender.Store, departs: Any, options: dict[str, str]) -> None:
    want = ask(store, one_row()).data.iloc[0, 3:]
    got = ask(store, one_row(departs=departs), **options).data
    assert got.iloc[0, 3:].astype(str).tolist() == want.astype(str).tolist()
    assert got["departs"].tolist() == one_row(departs=departs)["departs"].tolist()


def test_dates(store: provender.Store) -> None:
    start = ask(store, one_row(departs=date(2001, 6, 15)), time_at="start", timezone="America/New_York").data
    end = ask(store, one_row(departs=date(2001, 6, 14)), time_at="end", timezone="America/New_York").data
    exact = ask(store, one_row(departs=datetime(2001, 6, 15, 4, tzinfo=UTC))).data
    assert start.iloc[0, 3:].astype(str).tolist() == exact.iloc[0, 3:].astype(str).tolist()
    assert end.iloc[0, 3:].astype(str).tolist() == exact.iloc[0, 3:].astype(str).tolist()


@pytest.mark.parametrize(
    ("departs", "options", "message", "fix"),
    [
        (datetime(2001, 4, 1, 2, 30), {"timezone": "America/New_York"}, "does not exist", "with their zone"),
        (datetime(2001, 10, 28, 1, 30), {"timezone": "America/New_York"}, "exists twice", "with their zone"),
        (992608200, {}, "is an integer", "time_unit"),
        (date(2001, 6, 15), {}, "DATE", "time_at"),
        (None, {}, "is null", "every row"),
        ("yesterday", {}, "not a time", "2001-01-31"),
        (1.5, {}, "time column departs", "timestamp"),
    ],
)
def test_times_that_are_none(
    store: provender.Store, departs: Any, options: dict[str, str], message: str, fix: str
) -> None:
    with pytest.raises(provender.InvalidError, match=message) as caught:
        ask(store, one_row(departs=departs), **options)
    assert fix in caught.value.fix
    assert caught.value.field == "time"
    assert "--" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "field", "text"),
    [
        ({"service": "delay_modle_v1"}, provender.NotFoundError, "", 'did you mean "delay_model_v1"?'),
        ({"service": None}, provender.InvalidError, "service", "either a service or features"),
        ({"features": ["route_daily:distance"]}, provender.InvalidError, "service", "either a service or features"),
        ({"service": None, "features": "a:b"}, provender.InvalidError, "features", "features=['a:b']"),
        (
            {"service": None, "features": ["route_daily:distence"]},
            provender.InvalidError,
            "features[0]",
            'did you mean "distance"?',
        ),
        ({"service": None, "features": ["route_dialy:x"]}, provender.NotFoundError, "", 'did you mean "route_daily"?'),
        ({"service": None, "features": ["distance"]}, provender.InvalidError, "features[0]", "view:feature"),
        ({"service": None, "features": []}, provender.InvalidError, "service", ""),
        ({"time": None}, provender.InvalidError, "time", "name the spine's time column"),
        ({"service": None, "features": (f for f in ["route_dialy:x"])}, provender.NotFoundError, "", "did you mean"),
        ({"time": "departes"}, provender.InvalidError, "spine", 'did you mean "departs"?'),
        ({"time": "nothing_like_it"}, provender.InvalidError, "spine", "delay, departs, destination"),
        ({"time_unit": "h"}, provender.InvalidError, "time_unit", "ms"),
        ({"timezone": "Mars/Base"}, provender.InvalidError, "timezone", "Mars/Base"),
        ({"time_at": "noon"}, provender.InvalidError, "time_at", "start or end"),
    ],
)
def test_arguments(
    store: provender.Store,
    spine: pd.DataFrame,
    arguments: dict[str, Any],
    error: type[provender.ProvenderError],
    field: str,
    text: str,
) -> None:
    with pytest.raises(error) as caught:
        store.training_set(spine, **({"service": SERVICE, "time": "departs"} | arguments))
    assert text in str(caught.value)
    assert caught.value.field == field


def test_columns(store: provender.Store, spine: pd.DataFrame) -> None:
    with pytest.raises(provender.InvalidError, match="no key column 'origin'") as caught:
        ask(store, spine.rename(columns={"origin": "Origin"}))
    assert caught.value.fix == 'did you mean "Origin"?'
    with pytest.raises(provender.InvalidError, match="no key column 'origin'") as caught:
        ask(store, spine[["departs"]])
    assert "`join`" in caught.value.fix
    with pytest.raises(provender.InvalidError, match="output distance is named like a column") as caught:
        ask(store, spine.rename(columns={"distance_miles": "distance"}))
    assert "`as`" in caught.value.fix
    with pytest.raises(provender.InvalidError, match="2 columns named 'origin'"):
        ask(store, spine.rename(columns={"delay": "origin"}))
    with pytest.raises(provender.InvalidError, match="can't be a list"):
        ask(store, [{"origin": "JFK"}])
    with pytest.raises(provender.NotFoundError, match=r"there is no spine nowhere\.parquet"):
        ask(store, "nowhere.parquet")


def test_warnings(store: provender.Store, spine: pd.DataFrame) -> None:
    with pytest.warns(provender.TrainingSetWarning, match="upper case") as told:
        ts = ask(store, spine.assign(origin=spine["origin"].str.lower()))
    assert next(w for w in told if w.category is provender.TrainingSetWarning).filename == __file__
    assert "key-format" in {w.code for w in ts.warnings}
    assert "upper case" in repr(ts)
    assert "upper case" in ts._repr_html_()


def test_two_at_once(store: provender.Store, spine: pd.DataFrame, exported: pa.Table) -> None:
    made: list[pa.Table] = []
    threads = [threading.Thread(target=lambda: made.append(ask(store, spine).to_arrow())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    for table in made:
        assert table["delays_1d"].to_pylist() == exported["delays_1d"].to_pylist()
