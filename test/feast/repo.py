"""A repository of real Feast, and what it answers.

usage: repo.py apply FOLDER          writes the repository: data, feature_store.yaml, spines, and the registry that Feast writes
       repo.py compare FOLDER HTTP   compares FOLDER/exports/SERVICE.parquet with get_historical_features of Feast, and what its SDK reads
                                     from a server with the exports' rows of now; prints the number of cells and what differs
"""

import datetime
import json
import os
import pathlib
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
HOUR = datetime.timedelta(hours=1)

# The services that are compared, with the keys of their spines.
SERVICES = {
    "driver_activity": {"driver_id": range(1000, 1012)},
    "some": {"driver_id": range(1000, 1012), "place_id": range(0, 12)},
    "trip-model": {"origin_id": [1, 2, 3, 4], "destination_id": [3, 2, 9, 1], "driver_id": [1001, 1002, 1003, 1]},
    "customers": {"CustomerID": ["a", "b", "c", "z"]},
}

STORE = """\
project: RideHailing
registry: ${RIDES_REGISTRY}
provider: local
offline_store: {type: dask}
online_store: {type: sqlite, path: data/online.db}
entity_key_serialization_version: 3
"""


def write_data(folder):
    """Rows of ten drivers every hour for three days, some of them corrected later; of five customers; of everybody; of routes."""
    drivers = {k: [] for k in ("driver_id", "event_timestamp", "created", "conv_rate", "acc_rate", "avg_daily_trips", "Home City", "tips")}
    for hour in range(72):
        for driver in range(1001, 1011):
            if (hour * 7 + driver) % 5 == 0:
                continue
            for correction in range(1 + (hour % 11 == 0)):
                at = NOW - (hour + 1) * HOUR - datetime.timedelta(microseconds=driver)
                drivers["driver_id"].append(driver)
                drivers["event_timestamp"].append(at)
                drivers["created"].append(at + correction * HOUR)
                drivers["conv_rate"].append((hour * 37 + driver + correction) % 100 / 100)
                drivers["acc_rate"].append(None if (hour + driver) % 9 == 0 else (hour + driver) / 7)
                drivers["avg_daily_trips"].append(hour * driver + correction)
                drivers["Home City"].append(["Berlin", "Łódź", "", None][(hour + driver) % 4])
                drivers["tips"].append([float(hour), float(driver)])
    stamp = pa.timestamp("us", "UTC")
    kinds = [pa.int64(), stamp, stamp, pa.float32(), pa.float64(), pa.int64(), pa.string(), pa.list_(pa.float64())]
    write(folder, "driver_stats.parquet", drivers, kinds)
    write(folder, "customers/one.parquet", {
        "CustomerID": ["a", "b", "c", "d", "e"], "ts": [NOW - (2 * i + 1) * HOUR for i in range(5)],
        "spend": [1.5, 2.5, None, 4.5, 5.5], "visits": [1, 2, 3, 4, 5],
    }, [pa.string(), stamp, pa.float64(), pa.int32()])
    write(folder, "customers/two.parquet", {
        "CustomerID": ["a", "b"], "ts": [NOW - 30 * HOUR, NOW - 31 * HOUR], "spend": [10.5, 20.5], "visits": [10, 20],
    }, [pa.string(), stamp, pa.float64(), pa.int32()])
    write(folder, "places.parquet", {
        "place_id": [1, 2, 3], "ts": [NOW - 5 * HOUR] * 3, "lat": [52.5, 51.75, 0.0], "busy": [True, False, None],
    }, [pa.int64(), stamp, pa.float64(), pa.bool_()])


def write(folder, name, columns, kinds):
    path = folder / "data" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({n: pa.array(v, k) for (n, v), k in zip(columns.items(), kinds)}), path)


def definitions(folder):
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Array, Bool, Float32, Float64, Int32, Int64, Json, String

    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="A driver: who drives",
                    tags={"team": "rides", "": "empty"}, owner="rides@example.com")
    customer = Entity(name="Customer", join_keys=["CustomerID"])  # of no type: Feast infers it in each view
    place = Entity(name="place", join_keys=["place_id"], value_type=ValueType.INT64)
    weight = Entity(name="weight", join_keys=["kilos"], value_type=ValueType.DOUBLE)
    stats = FileSource(name="driver_stats_source", path="data/driver_stats.parquet", timestamp_field="event_timestamp",
                       created_timestamp_column="created", field_mapping={"Home City": "home_city"}, description="Written by\nan hourly job", owner="etl")
    customers = FileSource(path="data/customers", timestamp_field="ts")
    places = FileSource(name="places", path=str(folder / "data" / "places.parquet"), timestamp_field="ts")
    lake = FileSource(name="lake", path="s3://company-lake/rides/lake.parquet", timestamp_field="ts", s3_endpoint_override="http://127.0.0.1:9")

    driver_stats = FeatureView(
        name="driver_hourly_stats", entities=[driver], ttl=datetime.timedelta(hours=3), source=stats, owner="rides@example.com",
        description="What a driver did: 'quoted', # and {braces}", tags={"cadence": "hourly"},
        schema=[
            Field(name="driver_id", dtype=Int64), Field(name="conv_rate", dtype=Float32, description="Conversion, 0..1", tags={"unit": "share"}),
            Field(name="acc_rate", dtype=Float64), Field(name="avg_daily_trips", dtype=Int64), Field(name="home_city", dtype=String),
            Field(name="tips", dtype=Array(Float64)),
        ],
    )
    fresh = FeatureView(
        name="driver_fresh", entities=[driver], ttl=datetime.timedelta(minutes=90, microseconds=5), source=PushSource(name="pushed", batch_source=stats),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="avg_daily_trips", dtype=Int64)],
    )
    spending = FeatureView(
        name="CustomerSpending", entities=[customer], ttl=datetime.timedelta(0), source=customers, online=False,
        schema=[Field(name="CustomerID", dtype=String), Field(name="spend", dtype=Float64), Field(name="visits", dtype=Int32)],
    )
    place_stats = FeatureView(
        name="place_stats", entities=[place], source=places,
        schema=[Field(name="place_id", dtype=Int64), Field(name="lat", dtype=Float64), Field(name="busy", dtype=Bool)],
    )
    everybody = FeatureView(
        name="everybody", entities=[], source=places, ttl=datetime.timedelta(days=1),
        schema=[Field(name="lat", dtype=Float64)],
    )
    odd = FeatureView(
        name="odd", entities=[driver], source=lake,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="extra", dtype=Json), Field(name="event_time", dtype=Int64)],
    )
    weights = FeatureView(name="weights", entities=[weight], source=lake, schema=[Field(name="kilos", dtype=Float64), Field(name="n", dtype=Int64)])
    added = RequestSource(name="added", schema=[Field(name="value", dtype=Float64)])

    @on_demand_feature_view(sources=[driver_stats, added], schema=[Field(name="conv_rate_plus", dtype=Float64)], mode="pandas")
    def transformed(inputs: pd.DataFrame) -> pd.DataFrame:
        out = pd.DataFrame()
        out["conv_rate_plus"] = inputs["conv_rate"] + inputs["value"]
        return out

    services = [
        FeatureService(name="driver_activity", features=[driver_stats], tags={"stage": "prod"}, description="The model", owner="ml@example.com"),
        FeatureService(name="some", features=[driver_stats[["avg_daily_trips", "acc_rate"]], place_stats[["lat"]]]),
        FeatureService(name="trip-model", features=[
            place_stats.with_name("origin").with_join_key_map({"place_id": "origin_id"}),
            place_stats.with_name("destination").with_join_key_map({"place_id": "destination_id"}),
            driver_stats[["conv_rate"]].with_name("d"),
        ]),
        FeatureService(name="customers", features=[spending]),
        FeatureService(name="with_demand", features=[driver_stats[["conv_rate"]], transformed]),
        FeatureService(name="only_demand", features=[transformed]),
    ]
    return [driver, customer, place, weight, stats, customers, places, lake, driver_stats, fresh, spending, place_stats, everybody, odd, weights,
            added, transformed] + services


def open_store(folder):
    from feast import FeatureStore

    os.environ.setdefault("RIDES_REGISTRY", "data/registry.db")
    return FeatureStore(repo_path=str(folder))


def apply(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(STORE)
    write_data(folder)
    open_store(folder).apply(definitions(folder))
    for service in SERVICES:
        pq.write_table(spine(service), folder / f"{service}.parquet")


def spine(service):
    """Every entity at some times from before the first row to now, on the edges of ttl and of rows' times too; no two rows are equal."""
    keys = SERVICES[service]
    entities = list(zip(*keys.values()))
    times = [NOW - 100 * HOUR, NOW - 40 * HOUR, NOW - 7 * HOUR - datetime.timedelta(microseconds=1003), NOW - 5 * HOUR, NOW - HOUR / 2, NOW]
    rows = [(*e, t) for t in times for e in entities]
    columns = dict(zip([*keys, "event_timestamp"], zip(*rows)))
    kinds = [pa.string() if isinstance(v[0], str) else pa.int64() for v in list(columns.values())[:-1]] + [pa.timestamp("us", "UTC")]
    return pa.table({"row": pa.array(range(len(rows)), pa.int64()), **{n: pa.array(v, k) for (n, v), k in zip(columns.items(), kinds)}})


def same(ours, theirs):
    """Feast's values went through pandas: a null may be NaN, an integer a float, a list an array."""
    if ours is None or theirs is None:
        return ours is None and (theirs is None or theirs != theirs)
    if isinstance(ours, list):
        return ours == list(theirs)
    return ours == theirs


def newest(rows, spine_row):
    """A driver's rows of the newest time that a row of a spine sees, in the order in which they were created."""
    seen = [r for r in rows if r["driver_id"] == spine_row.get("driver_id") and r["event_timestamp"] <= spine_row["event_timestamp"]]
    at = max((r["event_timestamp"] for r in seen), default=None)
    return sorted((r for r in seen if r["event_timestamp"] == at), key=lambda r: r["created"])


def compare(folder, http):
    report = {"history": 0, "dropped": 0, "corrected": 0, "online": 0, "differ": []}
    rows = pq.read_table(folder / "data" / "driver_stats.parquet").to_pylist()
    store = open_store(folder)
    # The registry stays; only the online store is another.
    away = folder / "remote"
    away.mkdir()
    (away / "feature_store.yaml").write_text(
        STORE.replace("${RIDES_REGISTRY}", str(folder / "data" / "registry.db"))
        .replace("{type: sqlite, path: data/online.db}", "{type: remote, path: '%s', connection_retries: 0}" % http))
    remote = open_store(away)
    for service, keys in SERVICES.items():
        full = service == "trip-model"  # Feast refuses it otherwise
        ours = {r["row"]: r for r in pq.read_table(folder / "exports" / f"{service}.parquet").to_pylist()}
        features = [n for n in next(iter(ours.values())) if n not in ("row", "event_timestamp", *keys)]
        entities = pq.read_table(folder / f"{service}.parquet").to_pandas()
        theirs = store.get_historical_features(entity_df=entities, features=store.get_feature_service(service), full_feature_names=full)
        theirs = {r["row"]: r for r in theirs.to_df().to_dict("records")}
        names = {f: f if full or f in next(iter(theirs.values())) else f"?{f}" for f in features}
        for row, mine in ours.items():
            if row not in theirs:
                # Feast loses a row whose entity has rows, none of which is alive; ours is there, without values.
                report["dropped"] += 1
                if service in ("driver_activity", "customers") and any(mine[f] is not None for f in features):
                    report["differ"].append(f"{service}, row {row}: Feast has none, {mine}")
                continue
            for f in features:
                report["history"] += 1
                if same(mine[f], theirs[row].get(names[f], "missing")):
                    continue
                # Of rows of one time Feast takes any (its sort by time is not stable), not always the one that was created last.
                versions = [v.get(f.removeprefix("d__")) for v in newest(rows, mine)]
                if len(versions) > 1 and same(mine[f], versions[-1]) and any(same(v, theirs[row][names[f]]) for v in versions):
                    report["corrected"] += 1
                else:
                    report["differ"].append(f"{service}, {mine}: {f} is {theirs[row].get(names[f])} in Feast")
        if service in ("customers", "trip-model"):
            continue  # not online; of another name
        now = [r for r in ours.values() if r["event_timestamp"] == NOW]
        answer = remote.get_online_features(
            features=remote.get_feature_service(service), entity_rows=[{k: r[k] for k in keys} for r in now],
        ).to_dict()
        for i, r in enumerate(now):
            for f in features:
                report["online"] += 1
                if not same(r[f], answer[f][i]):
                    report["differ"].append(f"{service}, online, {r}: {f} is {answer[f][i]} for Feast's SDK")
    print(json.dumps(report))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[2]).resolve()
    if sys.argv[1] == "apply":
        apply(folder)
    else:
        compare(folder, sys.argv[3])
