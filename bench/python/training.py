"""What a training set takes in Python beside an export to a file: the same spine, features and machine, by turns.

The export is the whole command, from its start to its end. The training set is asked of a server that runs already, by
a process of its own that has the spine in memory: from the call to data as the spine was given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import provender

SERVICE, TIME = "all", "event_timestamp"
CONFIGURATION = """\
version: 1
project: training
roots: {{lake: {data}}}
registry: sqlite://.provender/registry.db
online: embedded://.provender/online
server: {{grpc: 127.0.0.1:0, http: 127.0.0.1:0}}
"""


def ask(address: str, kind: str, path: Path, out: Path | None) -> None:
    """Makes one training set, and prints what it took."""
    spine: Any = pq.read_table(path)
    if kind == "pandas":
        spine = spine.to_pandas()
    elif kind == "polars":
        import polars

        spine = polars.from_arrow(spine)
    with provender.connect(address) as store:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = _memory("VmRSS")
        begin, cpu = time.perf_counter(), time.process_time()
        ts = store.training_set(spine, service=SERVICE, time=TIME)
        data = ts.data
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        peak = _memory("VmHWM") - before
    features = ts.to_arrow().select(ts.features)
    if out is not None:
        pq.write_table(features, out)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "bytes": features.nbytes, "rows": len(data)}))


def _memory(what: str) -> int:
    """Returns the bytes of memory that this process takes, or has taken at most."""
    found = re.search(rf"{what}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def _children() -> float:
    """Returns the CPU seconds of processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _cpu(process: int) -> float:
    """Returns the CPU seconds of a process that runs."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(exported: Path, made: Path) -> None:
    """Ends the run where a cell differs."""
    want, got = pq.read_table(exported), pq.read_table(made)
    want = want.select(got.column_names)
    for name in got.column_names:
        # As numbers of bits, so that NaN equals NaN.
        a, b = ([c.view(pa.int64()) for c in t[name].chunks] for t in (want, got))
        if not pa.chunked_array(a).equals(pa.chunked_array(b)):
            sys.exit(f"column {name} differs")
    print(f"{got.num_rows:,} rows, {got.num_columns} features: no cell differs", flush=True)


def main() -> None:
    """Measures, and prints ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True, help="folder of provender and gen")
    parser.add_argument("--data", type=Path, required=True, help="folder of the workloads, each made once")
    parser.add_argument("--workload", default="M")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default="pandas,arrow,polars")
    args = parser.parse_args()
    workload = (args.data / args.workload).resolve()
    subprocess.run([args.bin / "gen", "-workload", args.workload, "-out", workload], check=True)
    spine = workload / "spine.parquet"
    kinds = args.kinds.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "provender.yaml").write_text(CONFIGURATION.format(data=workload / "data"))
        (folder / "definitions.yaml").write_bytes((workload / "definitions.yaml").read_bytes())
        command = [args.bin / "provender", "-C", folder]
        subprocess.run([*command, "apply", "--yes"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        server = subprocess.Popen([*command, "serve"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"gRPC on ([^,]*:\d+)", server.stdout.readline())
            assert found is not None, "the server does not answer"
            measure(command, server.pid, found[1], spine, folder, kinds, args.rounds)
        finally:
            server.terminate()
            server.wait()


def measure(
    command: list[Any], server: int, address: str, spine: Path, folder: Path, kinds: list[str], rounds: int
) -> None:
    """Lets exports and training sets take turns, each round beginning with another one."""
    out, made = folder / "out.parquet", folder / "made.parquet"
    export = [*command, "export", "--service", SERVICE, "--spine", spine, "--time", TIME, "--out", out]

    def exported() -> dict[str, float]:
        begin, cpu = time.perf_counter(), _children()
        subprocess.run(export, check=True, capture_output=True)
        return {"seconds": time.perf_counter() - begin, "cpu": _children() - cpu}

    def asked(kind: str, *more: str) -> dict[str, float]:
        child = [sys.executable, __file__, "--ask", address, kind, str(spine), *more]
        cpu = _cpu(server)
        result: dict[str, float] = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)
        result["cpu"] += _cpu(server) - cpu
        return result

    exported()
    asked("arrow", str(made))
    compare(out, made)
    turns = ["export", *kinds]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in turns}
    for i in range(rounds):
        for name in turns[i % len(turns) :] + turns[: i % len(turns)]:
            results[name].append(exported() if name == "export" else asked(name))
        row = ", ".join(f"{name} {results[name][-1]['seconds']:.2f} s" for name in turns)
        print(f"round {i + 1}: {row}", flush=True)
    for kind in kinds:
        ratios, cpu = (
            sorted(a[what] / b[what] for a, b in zip(results[kind], results["export"], strict=True))
            for what in ("seconds", "cpu")
        )
        peaks = sorted(r["peak"] / r["bytes"] for r in results[kind])
        print(
            f"{kind}: {statistics.median(ratios):.2f} times the export ({ratios[0]:.2f} to {ratios[-1]:.2f}; wanted: at "
            f"most 1.5), by CPU {statistics.median(cpu):.2f} ({cpu[0]:.2f} to {cpu[-1]:.2f}); its peak of memory "
            f"{statistics.median(peaks):.2f} times the features"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        _, _, address, kind, path, *out = sys.argv
        ask(address, kind, Path(path), Path(out[0]) if out else None)
    else:
        main()
