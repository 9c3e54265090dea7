"""Reads a Provender server as Feast's users do: by Feast's SDK and by Feast's own gRPC stubs.

usage: client.py prepare FILE                 writes the Parquet file of the project
       client.py read HTTP GRPC < requests    prints, per request, what each way answers
"""

import datetime
import json
import struct
import sys
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq

UTC = datetime.timezone.utc
NOW = datetime.datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
MINUTE = datetime.timedelta(minutes=1)

SCALARS = {
    "flag": (pa.bool_(), [True, None, False, True, False]),
    "small": (pa.int32(), [7, None, 1, 1, -(2**31)]),
    "big": (pa.int64(), [9007199254740993, None, 1, 1, -(2**63)]),
    "single": (pa.float32(), [0.1, None, 1.0, 1.0, -0.0]),
    "wide": (pa.float64(), [0.1, None, 1.0, 1.0, float("nan")]),
    "whole": (pa.float64(), [3.0, None, 1.0, 1.0, float("-inf")]),
    "word": (pa.string(), ["é\n", None, "x", "x", ""]),
    "raw": (pa.binary(), [b"\x00\xff", None, b"x", b"x", b""]),
    "seen": (pa.timestamp("us", "UTC"), [NOW + datetime.timedelta(microseconds=1), None, NOW, NOW, datetime.datetime(1969, 12, 31, 23, 59, 59, 1, UTC)]),
}
LISTS = {
    "flags": (pa.list_(pa.bool_()), [[True, False], None, [True], [True], []]),
    "smalls": (pa.list_(pa.int32()), [[1, -1], None, [1], [1], []]),
    "bigs": (pa.list_(pa.int64()), [[9007199254740993, 0], None, [1], [1], []]),
    "singles": (pa.list_(pa.float32()), [[0.1, 2.0], None, [1.0], [1.0], []]),
    "wides": (pa.list_(pa.float64()), [[0.1, 2.0], None, [1.0], [1.0], []]),
    "words": (pa.list_(pa.string()), [["a", ""], None, ["x"], ["x"], []]),
    "raws": (pa.list_(pa.binary()), [[b"\x00\xff", b"a"], None, [b"x"], [b"x"], []]),
    "times": (pa.list_(pa.timestamp("us", "UTC")), [[NOW, NOW + datetime.timedelta(microseconds=999999)], None, [NOW], [NOW], []]),
    "holes": (pa.list_(pa.int64()), [[1, None], None, [1], [1], []]),
}


def prepare(path):
    # Rows of drivers 1 to 5: all there, all null, past its ttl of an hour, past twice that, and what is on the edges.
    ages = [5 * MINUTE + datetime.timedelta(microseconds=1), MINUTE, 90 * MINUTE, 300 * MINUTE, 59 * MINUTE]
    columns = {"driver_id": pa.array([1, 2, 3, 4, 5], pa.int64()), "at": pa.array([NOW - a for a in ages], pa.timestamp("us", "UTC"))}
    columns["name"] = pa.array(["one", "two", "three", "four", "five"])
    for name, (kind, values) in (SCALARS | LISTS).items():
        columns[name] = pa.array(values, kind)
    pq.write_table(pa.table(columns), path)


def exact(v):
    """A Value as its kind and a text or list of texts without loss."""
    which = v.WhichOneof("val")
    if which is None or which == "null_val":
        return [which or "", None]
    x = getattr(v, which)
    return [which, [text(which, e) for e in x.val] if which.endswith("_list_val") else text(which, x)]


def text(which, x):
    if which.startswith("double"):
        return struct.pack(">d", x).hex()
    if which.startswith("float"):
        return struct.pack(">f", x).hex()
    if isinstance(x, bytes):
        return x.hex()
    return str(x).lower() if isinstance(x, bool) else str(x)


def report(m):
    return {
        "names": list(m.metadata.feature_names.val),
        "columns": [
            {
                "values": [exact(v) for v in r.values],
                "statuses": list(r.statuses),
                "times": [t.seconds * 10**6 + t.nanos // 1000 for t in r.event_timestamps],
            }
            for r in m.results
        ],
    }


def open_store(folder, http):
    """A feature store as a Feast user has it: its own registry file, and a remote online store."""
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp

    store = FeatureStore(config=RepoConfig(
        project="rides", provider="local", registry=f"{folder}/registry.db", entity_key_serialization_version=3,
        online_store={"type": "remote", "path": http, "connection_retries": 0},
    ))
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    types = {"flag": Bool, "small": Int32, "big": Int64, "single": Float32, "wide": Float64, "whole": Float64, "word": String,
             "raw": Bytes, "seen": UnixTimestamp, "flags": Array(Bool), "smalls": Array(Int32), "bigs": Array(Int64),
             "singles": Array(Float32), "wides": Array(Float64), "words": Array(String), "raws": Array(Bytes),
             "times": Array(UnixTimestamp), "holes": Array(Int64)}
    stats = FeatureView(
        name="stats", entities=[driver], ttl=datetime.timedelta(hours=1), source=FileSource(path=f"{folder}/stats.parquet", timestamp_field="at"),
        schema=[Field(name="driver_id", dtype=Int64)] + [Field(name=n, dtype=t) for n, t in types.items()],
    )
    store.apply([driver, stats, FeatureService(name="model", features=[stats])])
    return store


def by_sdk(store, request):
    features = store.get_feature_service(request["service"]) if request.get("service") else request["features"]
    names = [k for k, _ in request["entities"]]
    rows = [dict(zip(names, row)) for row in zip(*(values for _, values in request["entities"]))]
    return report(store.get_online_features(features=features, entity_rows=rows, full_feature_names=request["full"]).proto)


def by_older_sdk(store, request):
    """How SDKs before 0.66 read: view by view, with the types of their registry. The read's time is that of the first row."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    [(name, values)] = request["entities"]
    names = [f.split(":")[1] for f in request["features"]]
    rows = store._get_provider().online_store.online_read(
        store.config, store.get_feature_view("stats"),
        [EntityKey(join_keys=[name], entity_values=[Value(int64_val=v)]) for v in values], names,
    )
    return {"names": names, "columns": [
        {"values": [exact(row[n]) for _, row in rows], "times": [round(t.timestamp() * 10**6) for t, _ in rows]} for n in names
    ]}


def by_stub(stub, request):
    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesRequest
    from feast.protos.feast.types.Value_pb2 import Value

    m = GetOnlineFeaturesRequest(full_feature_names=request["full"])
    if request.get("service"):
        m.feature_service = request["service"]
    else:
        m.features.val.extend(request["features"])
    for name, values in request["entities"]:
        for v in values:
            if v is None:
                m.entities[name].val.append(Value(null_val=0))
            elif isinstance(v, str):
                m.entities[name].val.append(Value(string_val=v))
            elif request.get("int32"):
                m.entities[name].val.append(Value(int32_val=v))
            else:
                m.entities[name].val.append(Value(int64_val=v))
    return report(stub.GetOnlineFeatures(m, timeout=60))


def read(http, address):
    import grpc
    from feast.protos.feast.serving.GrpcServer_pb2_grpc import GrpcFeatureServerStub
    from feast.protos.feast.serving.ServingService_pb2 import GetFeastServingInfoRequest
    from feast.protos.feast.serving.ServingService_pb2_grpc import ServingServiceStub

    with tempfile.TemporaryDirectory() as folder, grpc.insecure_channel(address) as channel:
        prepare(f"{folder}/stats.parquet")
        store = open_store(folder, http)
        serving = ServingServiceStub(channel)
        server = GrpcFeatureServerStub(channel)
        assert serving.GetFeastServingInfo(GetFeastServingInfoRequest(), timeout=60).version
        ways = {
            "sdk": lambda r: by_sdk(store, r), "older_sdk": lambda r: by_older_sdk(store, r),
            "serving": lambda r: by_stub(serving, r), "server": lambda r: by_stub(server, r),
        }
        for request in json.load(sys.stdin):
            answers = {}
            for way in request["ways"]:
                try:
                    answers[way] = ways[way](request)
                except grpc.RpcError as e:
                    answers[way] = {"error": f"{e.code().name}: {e.details()}"}
                except (RuntimeError, TypeError) as e:
                    answers[way] = {"error": str(e)}
            print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    {"prepare": prepare, "read": read}[sys.argv[1]](*sys.argv[2:])
