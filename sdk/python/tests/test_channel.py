"""Connections to real servers: with TLS and tokens, killed, slow, elsewhere; from threads and forks; errors."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pytest
from conftest import PATIENCE, Project, Server, T, copy_flights

import provender
from provender import _channel, _errors
from provender._channel import AsyncChannel, Channel, Options
from provender.v1 import registry_pb2

LOOKUP: dict[str, Any] = {
    "features": ["airport_hourly:departures_1h", "airport_hourly:mean_delay_1h"],
    "entities": {"airport": ["JFK", "SFO"]},
}
FOUND = {"departures_1h": [14, 12], "mean_delay_1h": [11.666666666666666, 8.416666666666666]}
Secured = tuple[Server, Path, str]
GET_DEFINITION = "/provender.v1.RegistryService/GetDefinition"


@contextmanager
def silence() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as s:
        yield f"127.0.0.1:{s.getsockname()[1]}"


def free_address() -> str:
    """An address that nobody listens at, of those that Linux gives nobody who does not ask for it."""
    for port in random.sample(range(23_000, 32_000), 100):
        with contextlib.suppress(OSError), closing(socket.create_server(("127.0.0.1", port))):
            return f"127.0.0.1:{port}"
    pytest.fail("a hundred ports are taken")


def test_error_of_the_server(store: provender.Store) -> None:
    with pytest.raises(provender.NotFoundError) as caught:
        store._channel.call(
            GET_DEFINITION,
            registry_pb2.GetDefinitionRequest(kind=registry_pb2.DEFINITION_KIND_FEATURE_SERVICE, name="delay_modle_v1"),
            registry_pb2.GetDefinitionResponse,
        )
    error = caught.value
    assert error.code == "not_found"
    assert error.fix == 'did you mean "delay_model_v1"?'
    assert error.fix not in error.message
    assert str(error) == f"{error.message} ({error.fix})"
    assert isinstance(error, LookupError)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.fix) == (type(error), str(error), error.fix)


def test_nobody_there() -> None:
    address = free_address()
    with (
        provender.connect(address, timeout=0.3) as store,
        pytest.raises(provender.UnavailableError, match=f"no Provender server answers at {address}") as caught,
    ):
        store.get_features(**LOOKUP)
    assert f"grpcs://{address}" in caught.value.fix
    assert isinstance(caught.value, ConnectionError)


def test_deadline() -> None:
    with silence() as address, provender.connect(address) as store:
        with pytest.raises(provender.DeadlineError, match=r"did not answer within 0\.2 seconds") as caught:
            store.get_features(**LOOKUP, timeout=0.2)
        assert isinstance(caught.value, TimeoutError)


def test_deadline_of_a_server_that_stops(project: Project) -> None:
    """A server that hangs in the middle of its work."""
    server = ready(project)
    try:
        with provender.connect(server.address) as store:
            assert store.get_features(**LOOKUP).to_dict() == FOUND
            server.freeze()
            with pytest.raises(provender.DeadlineError):
                store.get_features(**LOOKUP, timeout=0.3)
            server.thaw()
            assert store.get_features(**LOOKUP).to_dict() == FOUND
    finally:
        server.kill()


def ready(project: Project, *args: str, port: int = 0) -> Server:
    """A server of a project that is applied and materialized."""
    project.run("apply", "--yes")
    project.run("materialize", "--to", T)
    return project.serve("--now", T, *args, port=port)


def test_killed_and_restarted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups that go on while a server is killed and comes back wait for it."""
    monkeypatch.setattr(_channel, "_REPEATS", 1000)  # however long the machine takes
    server = ready(project)
    with provender.connect(server.address, timeout=PATIENCE) as store:
        assert store.get_features(**LOOKUP).to_dict() == FOUND
        server.kill()
        with ThreadPoolExecutor(4) as threads:
            lookups = [threads.submit(store.get_features, **LOOKUP) for _ in range(4)]
            server = project.serve("--now", T, port=server.port)
            try:
                assert [lookup.result(PATIENCE).to_dict() for lookup in lookups] == [FOUND] * 4
            finally:
                server.stop()


class Moving:
    """An endpoint whose server moves."""

    folder = "."

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.closed = 0

    def address(self) -> str:
        return self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]

    def close(self) -> None:
        self.closed += 1


def test_what_may_not_be_repeated_is_not(server: Server) -> None:
    channel = Channel(Moving(free_address(), server.address), Options())
    request = registry_pb2.GetDefinitionRequest(kind=registry_pb2.DEFINITION_KIND_FEATURE_VIEW, name="airport_hourly")
    with pytest.raises(provender.UnavailableError):
        channel.call(GET_DEFINITION, request, registry_pb2.GetDefinitionResponse, repeat=False)
    answer = channel.call(GET_DEFINITION, request, registry_pb2.GetDefinitionResponse, repeat=False)
    assert answer.definition.name == "airport_hourly"
    channel.close()


def test_server_that_moves(server: Server) -> None:
    endpoint = Moving(free_address(), server.address)
    with provender.Store(Channel(endpoint, Options())) as store:
        assert store.get_features(**LOOKUP).to_dict() == FOUND
    assert endpoint.closed == 1

    async def look_up() -> dict[str, list[Any]]:
        async with provender.aio.AsyncStore(AsyncChannel(Moving(free_address(), server.address), Options())) as store:
            return (await store.get_features(**LOOKUP)).to_dict()

    assert asyncio.run(look_up()) == FOUND


def test_retry_delay_of_the_server(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is UNAVAILABLE, with the delay that the server asks for."""
    monkeypatch.setattr(_channel, "_REPEATS", 1000)  # however long the machine takes
    address = free_address()
    config = (project.folder / "provender.yaml").read_text()
    config = config.replace("embedded://.provender/online", f"redis://{address}")
    (project.folder / "provender.yaml").write_text(config)
    with redis(address):
        server = ready(project)
    try:
        with provender.connect(server.address) as store:
            with monkeypatch.context() as once:
                once.setattr(_channel, "_REPEATS", 0)
                with pytest.raises(provender.UnavailableError) as caught:
                    store.get_features(**LOOKUP, timeout=PATIENCE)
            assert caught.value.retry_after == 1.0
            assert "no Provender server" not in str(caught.value)
            with ThreadPoolExecutor(1) as threads:
                lookup = threads.submit(store.get_features, **LOOKUP, timeout=PATIENCE)
                with redis(address):
                    project.run("materialize", "--full", "--to", T)
                    assert lookup.result(PATIENCE).to_dict() == FOUND
    finally:
        server.stop()


def test_delays() -> None:
    """A call waits as the server asks, else longer each time; not beyond its deadline, nor after other failures."""
    from google.protobuf.any_pb2 import Any as Packed
    from google.rpc import error_details_pb2, status_pb2

    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(1500)
    packed = Packed()
    packed.Pack(info)
    asked, silent = status_pb2.Status(code=14, details=[packed]), status_pb2.Status(code=14)
    attempts = _channel._Attempts(PATIENCE, repeat=True)
    assert attempts.again(asked) == 1.5
    delays = [attempts.again(silent) for _ in range(7)]
    assert delays[-1] is None
    assert all(0.16 <= d <= 2.4 for d in delays[:-1] if d is not None)
    assert _channel._Attempts(1, repeat=True).again(asked) is None
    assert _channel._Attempts(None, repeat=True).again(asked) == 1.5
    assert _channel._Attempts(None, repeat=False).again(asked) is None
    assert _channel._Attempts(None, repeat=True).again(status_pb2.Status(code=4)) is None


@contextmanager
def redis(address: str) -> Iterator[None]:
    """A Redis that has nothing at first, and forgets everything."""
    host, _, port = address.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            ["redis-server", "--bind", host, "--port", port, "--save", "", "--dir", folder],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            assert any("Ready to accept connections" in line for line in process.stdout)
            yield
        finally:
            process.kill()
            process.communicate()


def test_closed(server: Server) -> None:
    store = provender.connect(server.address)
    assert store.get_features(**LOOKUP).to_dict() == FOUND
    store.close()
    store.close()
    with pytest.raises(provender.InvalidError, match="closed"):
        store.get_features(**LOOKUP)


@pytest.mark.parametrize("target", ["localhost", "host:port", "http://host:1", ":6565", "host:", "grpcs://host"])
def test_bad_addresses(target: str) -> None:
    with pytest.raises(provender.InvalidError, match="is no address") as caught:
        Options().target(target)
    assert caught.value.field == "target"


def test_environment(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROVENDER_SERVER", server.address)
    with provender.connect() as store:
        assert store.get_features(**LOOKUP).to_dict() == FOUND
    (tmp_path / "token").write_text("provender_x\n")
    monkeypatch.setenv("PROVENDER_TOKEN_FILE", str(tmp_path / "token"))
    assert Options.of().target("127.0.0.1:1").headers == (("authorization", "Bearer provender_x"),)
    assert Options.of(token="").target("127.0.0.1:1").headers == ()
    monkeypatch.setenv("PROVENDER_TOKEN", "provender_y")
    with pytest.raises(provender.InvalidError, match="both set"):
        Options.of()
    monkeypatch.delenv("PROVENDER_TOKEN_FILE")
    assert "provender_y" not in repr(Options.of())
    assert "provender_y" not in repr(Options.of().target("127.0.0.1:1"))


def test_options() -> None:
    for kwargs, what in (
        ({"tls_cert": "x"}, "go together"),
        ({"tls_ca": "/nowhere"}, "tls_ca"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"token": "a\nb"}, "characters"),
    ):
        with pytest.raises(provender.InvalidError, match=what):
            provender.connect("127.0.0.1:1", **kwargs)  # type: ignore[arg-type]


def test_user_agent() -> None:
    heard: dict[str, str] = {}

    class Hear(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> None:
            heard.update(details.invocation_metadata)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Hear()])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with pytest.raises(provender.UnimplementedError), provender.connect(address) as store:
        store.history()
    server.stop(None).wait()
    assert heard["user-agent"].startswith(f"provender-python/{provender.__version__} grpc-python/")


def test_token_does_not_leave_in_plain_sight() -> None:
    options = Options.of(token="provender_x")
    with pytest.raises(provender.UnauthenticatedError, match="grpcs://example") as caught:
        options.target("example.org:6565")
    assert "provender_x" not in str(caught.value)
    for here in ("localhost:1", "127.0.0.1:1", "[::1]:1", "unix:/run/p.sock", "grpcs://example.org:1"):
        assert options.target(here).headers
    assert Options.of(token="provender_x", plaintext_token=True).target("example.org:1").headers


@pytest.fixture(scope="module")
def secured(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path, str]]:
    """A server with TLS and tokens, its authority's certificate, and a token that may look up."""
    folder = tmp_path_factory.mktemp("secured")
    make_certificates(folder)
    project = copy_flights(binary, folder / "project")
    config = (project.folder / "provender.yaml").read_text()
    (project.folder / "provender.yaml").write_text(
        config.replace(
            "server: {",
            "server: {auth: true, audit: audit.jsonl, certificates: {batch: [read-online]}, "
            f"tls: {{cert: {folder}/server.pem, key: {folder}/server.key, client_ca: {folder}/ca.pem}}, ",
        )
    )
    project.run("apply", "--yes")
    project.run("materialize", "--to", T)
    token = project.run("token", "create", "tests", "--role", "read-online").strip()
    server = project.serve("--now", T)
    yield server, folder, token
    server.stop()


def make_certificates(folder: Path) -> None:
    """Makes ca.pem, and server.pem and client.pem by it, with their keys."""

    def openssl(*args: object) -> None:
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-subj", "/CN=authority")
    for name, subject, extensions in (
        ("server", "/CN=server", "subjectAltName=IP:127.0.0.1,DNS:provender.example\nextendedKeyUsage=serverAuth"),
        ("client", "/CN=batch", "extendedKeyUsage=clientAuth"),
    ):
        (folder / f"{name}.ext").write_text(extensions)
        request = folder / f"{name}.csr"
        openssl("req", *curve, "-keyout", folder / f"{name}.key", "-out", request, "-subj", subject)
        signed = ("-in", request, "-out", folder / f"{name}.pem", "-extfile", folder / f"{name}.ext")
        openssl("x509", "-req", *signed, "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial")


def test_tls_and_token(secured: Secured) -> None:
    server, folder, token = secured
    with provender.connect(f"grpcs://{server.address}", token=token, tls_ca=folder / "ca.pem") as store:
        assert store.get_features(**LOOKUP).to_dict() == FOUND
        with pytest.raises(provender.DeniedError):
            store.get_historical_features(**LOOKUP)

    async def look_up() -> dict[str, list[Any]]:
        async with provender.aio.connect(server.address, token=token, tls_ca=folder / "ca.pem") as store:
            return (await store.get_features(**LOOKUP)).to_dict()

    assert asyncio.run(look_up()) == FOUND


def test_training_set_over_tls(binary: Path, secured: Secured) -> None:
    server, folder, token = secured
    trainer = Project(binary, folder / "project").run("token", "create", "trainer", "--role", "read-offline").strip()
    flight = pa.table({"airport": ["JFK"], "t": pa.array([T])})
    asked: dict[str, Any] = {"features": LOOKUP["features"], "time": "t"}
    with provender.connect(f"grpcs://{server.address}", token=trainer, tls_ca=folder / "ca.pem") as store:
        assert store.training_set(flight, **asked).to_arrow()["departures_1h"].to_pylist() == [14]
    with (
        provender.connect(f"grpcs://{server.address}", token=token, tls_ca=folder / "ca.pem") as store,
        pytest.raises(provender.DeniedError),
    ):
        store.training_set(flight, **asked)


def test_certificate(secured: Secured) -> None:
    server, folder, _ = secured
    tls = {"tls_ca": folder / "ca.pem", "tls_cert": folder / "client.pem", "tls_key": folder / "client.key"}
    with provender.connect(server.address, tls_server_name="provender.example", **tls) as store:
        assert store.get_features(**LOOKUP).to_dict() == FOUND


def test_wrong_token(secured: Secured) -> None:
    server, folder, token = secured
    for wrong in ("", "provender_wrong", token[:-1]):
        with (
            provender.connect(f"grpcs://{server.address}", token=wrong, tls_ca=folder / "ca.pem") as store,
            pytest.raises(provender.UnauthenticatedError) as caught,
        ):
            store.get_features(**LOOKUP)
        assert not wrong or wrong not in str(caught.value)


def test_unknown_authority(secured: Secured) -> None:
    server, _, token = secured
    with (
        provender.connect(f"grpcs://{server.address}", token=token, timeout=1) as store,
        pytest.raises(provender.UnavailableError, match="no Provender server answers"),
    ):
        store.get_features(**LOOKUP)


def test_without_tls_where_there_is_tls(secured: Secured) -> None:
    server, _, token = secured
    with (
        provender.connect(server.address, token=token, timeout=1) as store,
        pytest.raises(provender.UnavailableError, match=f"grpcs://{server.address}"),
    ):
        store.get_features(**LOOKUP)


def test_threads(store: provender.Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        lookups = [
            threads.submit(
                store.get_features, features=LOOKUP["features"], entities={"airport": ["JFK", "SFO"] * (i % 7)}
            )
            for i in range(200)
        ]
    for i, lookup in enumerate(lookups):
        assert lookup.result().to_dict() == {name: values * (i % 7) for name, values in FOUND.items()}


def test_closed_while_in_use(server: Server) -> None:
    """A store that is closed under its users ends their calls with an error of ours."""
    store = provender.connect(server.address)
    store.get_features(**LOOKUP)
    go = threading.Barrier(5)

    def look_up() -> None:
        go.wait()
        while True:
            store.get_features(**LOOKUP)

    with ThreadPoolExecutor(4) as threads:
        users = [threads.submit(look_up) for _ in range(4)]
        go.wait()
        store.get_features(**LOOKUP)
        store.close()
    for user in users:
        assert isinstance(user.exception(), provender.CanceledError | provender.InvalidError)


def test_forks(server: Server) -> None:
    """A store that was used before a fork works in parent and child."""
    # In a process of its own: a fork is made of one that runs nothing but this.
    code = f"""
import multiprocessing, provender, sys
LOOKUP = {LOOKUP!r}
store = provender.connect({server.address!r})
want = store.get_features(**LOOKUP).to_dict()
def child(queue):
    queue.put(store.get_features(**LOOKUP, timeout=30).to_dict())
context = multiprocessing.get_context("fork")
for _ in range(3):
    queue = context.Queue()
    processes = [context.Process(target=child, args=(queue,)) for _ in range(3)]
    for p in processes: p.start()
    for p in processes: assert queue.get(timeout=50) == want
    for p in processes: p.join(50); assert p.exitcode == 0, p.exitcode
    assert store.get_features(**LOOKUP).to_dict() == want
store.close()
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "done\n", done.stderr
    assert done.returncode == 0, done.stderr


def test_end_without_close(server: Server) -> None:
    """A process that does not close its store ends, at once and quietly."""
    code = f"import provender\nstore = provender.connect({server.address!r})\nstore.get_features(**{LOOKUP!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_interrupt() -> None:
    """Ctrl-C ends a call that waits."""
    with silence() as address:
        code = (
            # a shell's job may have been started to ignore it
            "import provender, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
            f"print('go', flush=True)\nprovender.connect({address!r}).get_features(**{LOOKUP!r})"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        start = time.monotonic()
        while process.poll() is None and time.monotonic() - start < 20:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
        _, stderr = process.communicate(timeout=PATIENCE)
        assert "KeyboardInterrupt" in stderr


def test_details() -> None:
    from google.protobuf.any_pb2 import Any as Packed
    from google.rpc import error_details_pb2, status_pb2

    info = error_details_pb2.ErrorInfo(reason="INVALID", metadata={"suggestion": "write it"})
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="time")
    status = status_pb2.Status(code=3, message="no such column (write it)")
    for detail in (info, request):
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    error = _errors.from_status(status)
    assert isinstance(error, provender.InvalidError)
    assert (error.message, error.fix, error.field) == ("no such column", "write it", "time")


def test_reference() -> None:
    from google.rpc import status_pb2

    message = "internal error; the server's log has it under reference 5f2a"
    error = _errors.from_status(status_pb2.Status(code=13, message=message))
    assert isinstance(error, provender.InternalError)
    assert error.reference == "5f2a"
