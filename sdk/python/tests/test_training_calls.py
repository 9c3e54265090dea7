"""Training sets that are watched, interrupted, refused, and asked for while connections break."""

from __future__ import annotations

import contextlib
import io
import re
import signal
import socket
import subprocess
import sys
import threading
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import PATIENCE, Project, Server

import provender
from provender import _flight, _progress
from provender._channel import Channel
from provender._progress import Step

SERVICE = "delay_model_v1"


@pytest.fixture
def spine(flights: Project) -> pd.DataFrame:
    return pd.read_parquet(flights.folder / "data" / "flights.parquet")


def ask(store: provender.Store, spine: Any, **options: Any) -> provender.TrainingSet:
    return store.training_set(spine, service=SERVICE, time="departs", **options)


def test_progress(store: provender.Store, spine: pd.DataFrame) -> None:
    steps: list[Step] = []
    ask(store, spine, progress=steps.append)
    parts = [step.part for step in steps]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0, 1)
    stages = [step.stage for step in steps]
    assert stages[0] == "spine"
    assert stages[-1] == "rows"
    assert "route_daily" in stages
    assert steps[-1].done == steps[-1].size == len(spine)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("tqdm", [True, False])
@pytest.mark.parametrize(
    ("stream", "progress", "shown"),
    [(io.StringIO, None, False), (io.StringIO, True, True), (Terminal, None, True), (Terminal, False, False)],
)
def test_bar(
    store: provender.Store,
    spine: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    stream: type[io.StringIO],
    progress: bool | None,
    shown: bool,
    tqdm: bool,
) -> None:
    if not tqdm:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    ask(store, spine, progress=progress)
    text = stderr.getvalue()
    assert ("rows" in text) == shown
    assert ("\n" in text) is False
    if shown:
        assert text.split("\r")[-2].strip() == ""  # it is gone
        assert "100%" in text


def test_a_callback_that_fails_ends_the_call(store: provender.Store, spine: pd.DataFrame) -> None:
    def fail(step: Step) -> None:
        if step.stage != "spine":
            raise ZeroDivisionError

    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        ask(store, spine, progress=fail)
    settled(threads)
    assert len(ask(store, spine)) == len(spine)


def settled(threads: int) -> None:
    """Waits for threads that were started since to end."""
    for thread in threading.enumerate()[threads:]:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread


INTERRUPTED = """
import signal, sys, threading, time, pandas, provender
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may have been started to ignore it
spine = pandas.read_parquet(sys.argv[2])
spine = pandas.concat([spine] * 20)
store = provender.connect(sys.argv[1])
told = []
def show(step):
    if step.stage == sys.argv[3] and not told:
        told.append(step)
        print("there", flush=True)
        sys.stdin.readline()
try:
    store.training_set(spine, service="delay_model_v1", time="departs", progress=show)
except KeyboardInterrupt:
    while threading.active_count() > 1:  # none is left behind
        time.sleep(0.01)
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("stage", ["spine", "airport_hourly as origin", "rows"])
def test_interrupt(project: Project, stage: str, stopped: bool) -> None:
    """Ctrl-C ends a call at any time, also where the server says nothing more, and the server's work with it."""
    project.run("apply", "--yes")
    server = project.serve()
    path = str(project.folder / "data" / "flights.parquet")
    client = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, server.address, path, stage],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        assert client.stdout.readline() == "there\n"
        if stopped:
            server.freeze()
            client.stdin.write("\n")
            client.stdin.flush()
        client.send_signal(signal.SIGINT)
        out, _ = client.communicate(timeout=PATIENCE)
        assert out == "interrupted\n"
        assert client.returncode == 0
    finally:
        client.kill()
        client.wait()
        if stopped:
            server.thaw()
        server.stop()
    assert server.process.returncode == 0  # it had nothing to wait for


def test_interrupted_as_a_call_begins(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left that sends, also where Ctrl-C comes before there is a call to cancel."""
    project.run("apply", "--yes")
    server = project.serve()
    rows = 2_000_000
    spine = pa.table({"origin": ["JFK"] * rows, "destination": ["SFO"] * rows, "departs": np.zeros(rows, np.int64)})
    asked: dict[str, Any] = {"features": ["route_daily:distance"], "time": "departs", "time_unit": "s"}
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if threading.current_thread() is threading.main_thread():  # no other one is interrupted
            raise KeyboardInterrupt

    with provender.connect(server.address) as store, monkeypatch.context() as patched:

        def begins(step: Step) -> None:
            assert step.stage == "spine"
            server.freeze()
            patched.setattr(threading.Thread, "start", interrupted)

        assert len(store.training_set(spine.slice(0, 1), **asked)) == 1
        threads = threading.active_count()
        try:
            with pytest.raises(KeyboardInterrupt):
                store.training_set(spine, progress=begins, **asked)
            patched.undo()
            settled(threads)
        finally:
            server.thaw()
        assert len(store.training_set(spine.slice(0, 1), **asked)) == 1
    server.stop()
    assert server.process.returncode == 0


def test_calls_begin_in_the_context_of_their_caller(
    store: provender.Store, spine: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What traces calls finds there what they are part of."""
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []
    opened = Channel._open

    def watched(channel: Channel, kind: str, method: str) -> Any:
        call, headers = opened(channel, kind, method)

        def made(*args: Any, **options: Any) -> Any:
            seen.append(f"{kind} of {caller.get()}")
            return call(*args, **options)

        return made, headers

    monkeypatch.setattr(Channel, "_open", watched)
    token = caller.set("a notebook")
    ask(store, spine)
    caller.reset(token)
    assert set(seen) == {"unary_unary of a notebook", "stream_stream of a notebook"}


def test_the_server_refuses_while_rows_are_sent(project: Project) -> None:
    """Its error is told, whatever has become of the messages that were under way."""
    config = project.folder / "provender.yaml"
    config.write_text(config.read_text() + "limits: {spine_rows: 1000}\n")
    project.run("apply", "--yes")
    server = project.serve()
    rows = 2_000_000
    spine = pa.table({"origin": ["JFK"] * rows, "destination": ["SFO"] * rows, "departs": np.zeros(rows, np.int64)})
    threads = threading.active_count()
    with provender.connect(server.address) as store:
        with pytest.raises(provender.InvalidError, match="distence") as caught:
            store.training_set(spine, features=["route_daily:distence"], time="departs", time_unit="s")
        assert "distance" in caught.value.fix
        with pytest.raises(provender.ExhaustedError, match=re.escape("limits.spine_rows")):
            store.training_set(spine, features=["route_daily:distance"], time="departs", time_unit="s")
    settled(threads)
    server.stop()


def test_timeout(store: provender.Store, spine: pd.DataFrame) -> None:
    with pytest.raises(provender.DeadlineError):
        ask(store, pd.concat([spine] * 30), timeout=0.05)


def test_only_keys_and_times_are_sent(server: Server, spine: pd.DataFrame) -> None:
    with Proxy(server.port) as proxy, provender.connect(proxy.address) as store:
        ask(store, spine.assign(secret="mlw7c9x1", secret_number=1234567))
        assert b"mlw7c9x1" not in proxy.sent
        assert b"secret" not in proxy.sent
        assert b"JFK" in proxy.sent


class Proxy:
    """Stands between clients and a server. It cuts connections that have sent ``cut`` bytes, as often as it is told."""

    def __init__(self, port: int, *, cut: int = 0, times: int = 0, answered: bool = False) -> None:
        self._port, self._cut, self._times, self._answered = port, cut, times, answered
        self.sent = bytearray()
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for a, b, counted in [(client, server, not self._answered), (server, client, self._answered)]:
                thread = threading.Thread(target=self._pump, args=(a, b, counted))
                self._threads.append(thread)
                thread.start()

    def _pump(self, a: socket.socket, b: socket.socket, counted: bool) -> None:
        passed = 0
        try:
            while data := a.recv(1 << 16):
                passed += len(data)
                if counted:
                    self.sent += data
                    if self._cut and self.cuts < self._times and passed > self._cut:
                        self.cuts += 1
                        break
                b.sendall(data)
        except OSError:
            pass
        for end in (a, b):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                end.close()


def test_a_connection_lost_before_an_answer_is_made_again(server: Server, spine: pd.DataFrame) -> None:
    with Proxy(server.port, cut=200_000, times=2) as proxy, provender.connect(proxy.address) as store:
        ts = ask(store, spine)
        assert proxy.cuts == 2
        assert len(ts.data) == len(spine)


def test_a_connection_lost_among_answers_is_an_error(server: Server, spine: pd.DataFrame) -> None:
    big = pd.concat([spine] * 3)
    with Proxy(server.port, cut=1_000_000, times=1, answered=True) as proxy, provender.connect(proxy.address) as store:
        with pytest.raises(provender.UnavailableError):
            ask(store, big)
        assert proxy.cuts == 1
        assert len(ask(store, big)) == len(big)


def test_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with provender.connect(address) as store, pytest.raises(provender.UnavailableError, match="no Provender server"):
        ask(store, pd.DataFrame({"departs": []}))


@pytest.mark.parametrize("width", [1, 50, 5000, 4_000_000])
def test_messages_are_small(width: int) -> None:
    """However long texts are, and wherever the long ones stand."""
    texts = ["x"] * 2000 + ["y" * width] * min(2000, 20_000_000 // width) + ["z"] * 2000
    table = pa.table({"a": texts, "b": np.arange(len(texts))})
    rows = 0
    schema = None
    for raw in _flight.requests(b"{}", table):
        data = _flight.Data.parse(raw)
        message = data.message()
        if schema is None:
            schema = _flight.read_schema(message)
            continue
        batch = _flight.read_batch(message, schema)
        assert len(raw) < 3_500_000 or batch.num_rows == 1
        assert batch.equals(table.slice(rows, batch.num_rows).combine_chunks().to_batches()[0])
        rows += batch.num_rows
    assert rows == table.num_rows


def test_damaged_messages(rng: Any) -> None:
    table = pa.table({"a": ["x", None, "yy"], "b": [1, 2, 3]})
    whole = list(_flight.requests(b"{}", table))
    schema = _flight.read_schema(_flight.Data.parse(whole[0]).message())
    for _ in range(300):
        raw = bytearray(whole[1])
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        damaged = bytes(raw[: rng.choice([len(raw), rng.randrange(len(raw))])])
        with contextlib.suppress(provender.InternalError):  # and nothing else
            data = _flight.Data.parse(damaged)
            if data.header:
                _flight.read_batch(data.message(), schema)


def test_a_notebook_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell: ...

    class IPython:
        @staticmethod
        def get_ipython() -> object:
            return ZMQInteractiveShell()

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not _progress._watched()
    monkeypatch.setitem(sys.modules, "IPython", IPython)  # type: ignore[misc]
    assert _progress._watched()
