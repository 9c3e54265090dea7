"""A real server, of the real binary, on the flights example."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import provender

REPOSITORY = Path(__file__).resolve().parents[3]
T = "2001-06-30T18:00:00Z"  # the flights example ends here
PATIENCE = 60  # seconds for a process to do what it should at once

os.environ["PYTHONPATH"] = str(REPOSITORY / "sdk" / "python" / "src")  # of the processes that tests start


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command: the one that PROVENDER_TEST_BINARY names, else built."""
    given = os.environ.get("PROVENDER_TEST_BINARY")
    if given:
        return Path(given).resolve()
    path = tmp_path_factory.mktemp("bin") / "provender"
    subprocess.run(
        ["go", "build", "-trimpath", "-o", path, "./cmd/provender"],
        cwd=REPOSITORY,
        env=os.environ | {"CGO_ENABLED": "0"},
        check=True,
    )
    return path


def clean_environment() -> dict[str, str]:
    """The environment without what would steer the command, or Python."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PROVENDER_") and k != "PYTHONPATH"}


@dataclass
class Project:
    """A project folder, and the command in it."""

    binary: Path
    folder: Path

    def run(self, *args: str) -> str:
        """Runs a command and returns its output."""
        done = subprocess.run(
            [self.binary, "-C", self.folder, *args],
            capture_output=True,
            text=True,
            env=clean_environment(),
            check=False,
        )
        assert done.returncode == 0, f"provender {' '.join(args)}: {done.stderr}"
        return done.stdout

    def serve(self, *args: str, port: int = 0, env: dict[str, str] | None = None) -> Server:
        """Starts a server, on a free port where none is said; it answers when this returns."""
        return Server(self, args, port, env or {})


class Server:
    """A process of ``provender serve``."""

    def __init__(self, project: Project, args: tuple[str, ...], port: int, env: dict[str, str]) -> None:
        with tempfile.TemporaryFile("w+") as log:
            self.process = subprocess.Popen(
                [
                    project.binary,
                    "-C",
                    project.folder,
                    "serve",
                    "--grpc",
                    f"127.0.0.1:{port}",
                    "--http",
                    "127.0.0.1:0",
                    *args,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=clean_environment() | env,
            )
            assert self.process.stdout is not None
            line = self.process.stdout.readline()  # written when it answers
            found = re.search(r"gRPC on ([^,]*:\d+)", line)
            if found is None:
                self.kill()
                log.seek(0)
                pytest.fail(f"provender serve: {line}{log.read()}")
        self.address = found[1]

    @property
    def port(self) -> int:
        """The port of its gRPC address."""
        return int(self.address.rpartition(":")[2])

    def stop(self) -> None:
        """Ends the server as an operator does, where it still runs."""
        if self.process.poll() is None:
            self.process.terminate()
        self._reap()

    def freeze(self) -> None:
        """Keeps the server from doing anything until thaw."""
        self.process.send_signal(signal.SIGSTOP)
        self.await_freeze()

    def await_freeze(self) -> None:
        """Waits until a failpoint, or freeze, has stopped every thread of the server."""
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Lets the server go on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends the server as a crash does."""
        self.process.kill()
        self._reap()

    def _reap(self) -> None:
        self.process.communicate(timeout=PATIENCE)


def copy_flights(binary: Path, folder: Path) -> Project:
    """Copies the flights example: definitions and data, nothing applied."""
    shutil.copytree(REPOSITORY / "examples" / "flights", folder, ignore=shutil.ignore_patterns("*.go", ".provender"))
    return Project(binary, folder)


@pytest.fixture
def project(binary: Path, tmp_path: Path) -> Project:
    """The flights example, nothing applied, to be changed."""
    return copy_flights(binary, tmp_path / "project")


@pytest.fixture(scope="session")
def flights(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The flights example, applied and materialized up to T. Not to be changed."""
    project = copy_flights(binary, tmp_path_factory.mktemp("flights") / "project")
    project.run("apply", "--yes")
    project.run("materialize", "--to", T)
    return project


@pytest.fixture(scope="session")
def server(flights: Project) -> Iterator[Server]:
    """A server of the flights example that reads at T. Not to be changed."""
    server = flights.serve("--now", T)
    yield server
    server.stop()


@pytest.fixture
def store(server: Server) -> Iterator[provender.Store]:
    """A store of the flights example."""
    with provender.connect(server.address) as store:
        yield store


@pytest.fixture
def rng() -> random.Random:
    """A generator of what PROVENDER_SEED says, else 1, or with PROVENDER_TEST_LONG of a new seed, which is printed."""
    long = os.environ.get("PROVENDER_TEST_LONG")
    seed = int(os.environ.get("PROVENDER_SEED") or (random.SystemRandom().getrandbits(63) if long else 1))
    print(f"PROVENDER_SEED={seed}")
    return random.Random(seed)


def rounds(n: int) -> int:
    """How often a random test goes round: many times more with PROVENDER_TEST_LONG."""
    return n * (20 if os.environ.get("PROVENDER_TEST_LONG") else 1)
