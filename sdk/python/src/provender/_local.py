"""The server of a project folder on this machine: found or started, started again when it is gone, ended with its user.

A server that this process starts ends when its standard input does: with the last store of its folder, or with this
process, however that ends. Where another process answers for the folder already, that one is used.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from google.protobuf import json_format

import _provender_command

from ._errors import InternalError, InvalidError, PreconditionError, ProvenderError, UnavailableError
from .v1 import registry_pb2

# How long a server may take until it answers: it waits up to 10 s for a store that another process holds.
_START_PATIENCE = 60.0
# How long it may take to end: calls of other processes have 3 s to finish.
_END_PATIENCE = 15.0
# How much of what a server has logged is told where it fails.
_LOG_TAIL = 4096

_CLASSES: dict[str, type[ProvenderError]] = {kind.code: kind for kind in ProvenderError.__subclasses__()}

_log = logging.getLogger("provender")


class Local:
    """The endpoint of a project folder. Endpoints of one folder share a server. Safe between threads and forks."""

    def __init__(self, folder: str | os.PathLike[str], env: str | None = None) -> None:
        """Makes an endpoint that starts nothing yet.

        Args:
            folder: The folder with provender.yaml.
            env: An environment of it; None for the one that PROVENDER_ENV names, if any.
        """
        self.folder = os.path.abspath(os.fspath(folder) or ".")
        self._key = (self.folder, env)
        self._server: _Server | None = None
        self._closed = False

    def address(self) -> str:
        """Returns where the folder's server answers, after starting one where none does."""
        with _guard:
            if self._closed:
                raise InvalidError("the store is closed", fix="connect again")
            if self._server is None:
                self._server = _servers.setdefault(self._key, _Server(*self._key))
                self._server.users += 1
            server = self._server
        return "unix:" + server.socket()

    def close(self) -> None:
        """Ends the server, where this process started it and no other endpoint uses it."""
        with _guard:
            self._closed = True
            server, self._server = self._server, None
            if server is None:
                return
            server.users -= 1
            if server.users > 0:
                return
            del _servers[self._key]
        server.end()


class _Server:
    """One folder's server, as this process knows it."""

    def __init__(self, folder: str, env: str | None) -> None:
        self.users = 0
        self._folder, self._env = folder, env
        self._lock = threading.Lock()
        self._process: _Process | None = None  # that this process has started
        self._socket = ""  # where the server listens; empty: not known

    def socket(self) -> str:
        """Returns the path of a socket at which somebody answers."""
        with self._lock:
            if self._process is not None and self._process.ended():
                self._process, self._socket = None, ""
            if self._process is None and not (self._socket and _answers(self._socket)):
                self._start()
            return self._socket

    def _start(self) -> None:
        process = _Process(self._folder, self._env)
        try:
            told = process.told()
            self._socket = told["socket"]
        except BaseException:
            process.kill()
            raise
        if told.get("started"):
            self._process = process
        else:
            process.end()  # another answers

    def end(self) -> None:
        with self._lock:
            process, self._process, self._socket = self._process, None, ""
        if process is not None:
            process.end()

    def forked(self) -> None:
        """Leaves the server to the parent of this process, which is its fork."""
        self._lock = threading.Lock()
        self._process = None


class _Process:
    """A process of ``provender serve --local``."""

    def __init__(self, folder: str, env: str | None) -> None:
        command = [str(_program()), "serve", "--local", "-C", folder]
        if env is not None:
            command += ["--env", env]
        self._folder = folder
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        with _guard:
            # In a session of its own, so that an interrupt of a terminal or a notebook is not for it.
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,
                start_new_session=True,
            )
            _processes.add(self)

    def told(self) -> dict[str, Any]:
        """Returns what the process tells of the server. Raises what keeps it from answering."""
        line = self._line()
        try:
            told = json.loads(line)
            if "socket" in told:
                return dict(told)
            failure = told["error"]
        except (ValueError, KeyError, TypeError):
            said = self._logged() or "it said nothing"
            raise UnavailableError(f"no local server has started for {self._folder}: {said}") from None
        problems = [
            json_format.ParseDict(p, registry_pb2.Diagnostic(), ignore_unknown_fields=True)
            for p in failure.get("problems", ())
        ]
        fix = failure.get("fix", "")
        raise _CLASSES.get(failure["code"], InternalError)(
            failure["message"].removesuffix(f" ({fix})"), fix=fix, diagnostics=problems
        )

    def _line(self) -> bytes:
        """Returns the first line of the process's output, or what there is of it when the process ends."""
        out = self._popen.stdout
        assert out is not None
        deadline = time.monotonic() + _START_PATIENCE
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    late = f"the local server of {self._folder} does not answer within {_START_PATIENCE:.0f} s"
                    raise UnavailableError(f"{late}: {self._logged()}")
                more = out.read(4096)
                if not more:
                    break
                line += more
        return line

    def _logged(self) -> str:
        """Returns the end of what the process has logged. Its own place in the file stays where it is."""
        size = os.fstat(self._log.fileno()).st_size
        raw = os.pread(self._log.fileno(), _LOG_TAIL, max(size - _LOG_TAIL, 0))
        return raw.decode(errors="replace").strip().removeprefix("Error: ")

    def ended(self) -> bool:
        """Reports whether the process has ended; then nothing is left of it."""
        code = self._popen.poll()
        if code is None:
            return False
        _log.warning("the local server of %s has ended with %d: %s", self._folder, code, self._logged())
        self._forget()
        return True

    def end(self) -> None:
        """Lets the process end, and waits until it has."""
        self._leave()
        try:
            self._popen.wait(_END_PATIENCE)
        except subprocess.TimeoutExpired:
            _log.warning("the local server of %s has not ended, and is killed: %s", self._folder, self._logged())
            self._popen.kill()  # what it has stored is whole: its stores are safe from that
            self._popen.wait()
        self._forget()

    def kill(self) -> None:
        """Ends the process at once."""
        self._popen.kill()
        self._popen.wait()
        self._forget()

    def _leave(self) -> None:
        """Ends what the process waits for."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def _forget(self) -> None:
        self._leave()
        if self._popen.stdout is not None:
            self._popen.stdout.close()
        self._log.close()
        with _guard:
            _processes.discard(self)

    def forked(self) -> None:
        """Gives up this fork's share of the process: it waits for the parent's end alone."""
        self._leave()
        self._popen.returncode = 0  # not this process's child


# All that this module keeps, and what must not be half done when a thread forks: a pipe that a fork keeps unknowingly
# would keep a server alive. Never held while something is waited for.
_guard = threading.RLock()
_servers: dict[tuple[str, str | None], _Server] = {}
_processes: set[_Process] = set()


def _forked() -> None:
    """Makes a fork begin without servers of its own: it finds its parent's, or starts one."""
    global _guard
    _guard = threading.RLock()
    for process in _processes:
        process.forked()
    _processes.clear()
    for server in _servers.values():
        server.forked()


os.register_at_fork(before=lambda: _guard.acquire(), after_in_parent=lambda: _guard.release(), after_in_child=_forked)


def _answers(path: str) -> bool:
    """Reports whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(2)
        try:
            s.connect(path)
        except OSError:
            return False
        return True


def _program() -> Path:
    program = _provender_command.find()
    if program is None:
        raise PreconditionError(_provender_command.MISSING, fix=_provender_command.FIX)
    return program


@dataclass(frozen=True)
class Place:
    """What a target of ``connect`` stands for: a folder, or the address of a server."""

    folder: str | None
    address: str = ""


def place_of(target: str | os.PathLike[str]) -> Place:
    """Tells a server's address from a folder: "host:port", "grpcs://host:port" or "unix:path"."""
    if isinstance(target, os.PathLike):
        return Place(os.fspath(target))
    scheme, colon, _ = target.partition("://")
    if (colon and scheme.isalnum()) or target.startswith("unix:"):
        return Place(None, target)
    host, colon, port = target.rpartition(":")
    if colon and port.isdecimal() and "/" not in host and not os.path.isdir(target):
        return Place(None, target)
    return Place(target)
