"""What a lookup costs in Python beside the raw gRPC stub: the same server, connection settings and entities, by turns.

The stub builds a generated request, makes the call, and parses the answer into a generated message; nothing is
converted. The package does all that it does: it packs keys, checks every column, and gives back a result.
"""

from __future__ import annotations

import argparse
import gc
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import provender
from provender.v1 import online_pb2

ENTITIES = 10_000
TYPES = ("float64", "int64", "float32", "float64", "int32")
ARROW = {"float64": pa.float64(), "float32": pa.float32(), "int64": pa.int64(), "int32": pa.int32()}
FIELDS = {2: "int32s", 3: "int64s", 4: "float32s", 5: "float64s"}  # of Vector, by type
SHAPES = ((1, 10), (100, 50), (1000, 50))
CONFIGURATION = """\
version: 1
project: overhead
roots: {lake: ./data}
registry: sqlite://.provender/registry.db
online: embedded://.provender/online
server: {grpc: 127.0.0.1:0, http: 127.0.0.1:0}
"""
DEFINITIONS = """\
kind: Entity
name: driver
join_keys: [{name: driver, type: int64}]
---
kind: FeatureView
name: drivers
entities: [driver]
source: {parquet: "lake:drivers.parquet", event_time: at}
features:
"""


def make_project(folder: Path, rng: np.random.Generator) -> None:
    """Writes a project of one view with 50 numbers, a hundredth of them null, and services of 10 and 50."""
    names = [f"feature_{i:02d}" for i in range(50)]
    at = pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * ENTITIES, pa.timestamp("us", tz="UTC"))
    columns: dict[str, pa.Array] = {"driver": pa.array(np.arange(ENTITIES)), "at": at}
    lines = [DEFINITIONS]
    for i, name in enumerate(names):
        kind = TYPES[i % len(TYPES)]
        values = rng.random(ENTITIES) if kind.startswith("float") else rng.integers(0, 1000, ENTITIES)
        columns[name] = pa.array(values, mask=rng.random(ENTITIES) < 0.01).cast(ARROW[kind])
        lines.append(f"  - {{name: {name}, type: {kind}}}\n")
    for n in (10, 50):
        lines.append(f"---\nkind: FeatureService\nname: of_{n}\n")
        lines.append(f"features: [{{view: drivers, features: [{', '.join(names[:n])}]}}]\n")
    (folder / "data").mkdir()
    pq.write_table(pa.table(columns), folder / "data" / "drivers.parquet")
    (folder / "definitions.yaml").write_text("".join(lines))
    (folder / "provender.yaml").write_text(CONFIGURATION)


def measure(address: str, store: provender.Store, rows: int, features: int, rounds: int, rng: random.Random) -> None:
    """Prints the times of one shape of request."""
    channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", 1 << 30)])
    stub = channel.unary_unary(
        "/provender.v1.OnlineService/GetFeatures",
        request_serializer=online_pb2.GetFeaturesRequest.SerializeToString,
        response_deserializer=online_pb2.GetFeaturesResponse.FromString,
    )
    service = f"of_{features}"

    def raw(ids: list[int]) -> Any:
        key = online_pb2.KeyColumn(name="driver", int64s=ids)
        return stub(online_pb2.GetFeaturesRequest(service=service, keys=[key]), timeout=30)

    def ours(ids: list[int]) -> provender.Features:
        return store.get_features(service=service, entities={"driver": ids})

    def lists(ids: list[int]) -> dict[str, list[Any]]:
        """What to_dict gives, of the stub's message, for the types that are here."""
        out = {}
        for column in raw(ids).columns:
            vector = column.values
            values = list(getattr(vector, FIELDS[vector.type]))
            if vector.validity:
                for i in range(vector.length):
                    if not vector.validity[i >> 3] >> (i & 7) & 1:
                        values[i] = None
            out[column.name] = values
        return out

    contenders: dict[str, Callable[[list[int]], Any]] = {
        "stub": raw,
        "and lists": lists,
        "get_features": ours,
        "and to_dict": lambda ids: ours(ids).to_dict(),
        "and to_numpy": lambda ids: ours(ids).to_numpy(),
        "and to_arrow": lambda ids: ours(ids).to_arrow(),
    }
    names = list(contenders)
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-rounds // 10, rounds):
        ids = [rng.randrange(ENTITIES) for _ in range(rows)]
        for name in rng.sample(names, len(names)):  # none always has the same one before it
            start = time.perf_counter()
            contenders[name](ids)
            took = time.perf_counter() - start
            if turn >= 0:
                times[name].append(took)
    channel.close()
    print(f"\n{rows} entities x {features} features, {rounds} rounds")
    print(f"{'':14}{'median us':>12}{'p90 us':>10}{'/ stub':>9}")
    base = statistics.median(times["stub"])
    for name in names:
        median, p90 = statistics.median(times[name]), statistics.quantiles(times[name], n=10)[-1]
        print(f"{name:14}{median * 1e6:12.0f}{p90 * 1e6:10.0f}{median / base:9.2f}")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, required=True, help="the command provender")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    gc.disable()  # of both
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder, np.random.default_rng(options.seed))
        command = [options.binary.resolve(), "-C", folder]
        for step in (["apply", "--yes"], ["materialize"]):
            subprocess.run([*command, *step], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = subprocess.Popen([*command, "serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"gRPC on ([^,]*:\d+)", server.stdout.readline())
            if found is None:
                sys.exit("provender serve did not start")
            with provender.connect(found[1], token="") as store:
                for rows, features in SHAPES:
                    rounds = options.rounds if rows <= 100 else options.rounds // 5
                    measure(found[1], store, rows, features, rounds, random.Random(options.seed))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
