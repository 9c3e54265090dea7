"""One connection to a server: addresses, TLS, tokens, deadlines, repeats."""

from __future__ import annotations

import asyncio
import contextvars
import ipaddress
import os
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from . import _errors
from ._errors import InvalidError, ProvenderError, UnauthenticatedError
from ._version import __version__

M = TypeVar("M", bound=Message)
T = TypeVar("T")

PathLike: TypeAlias = str | os.PathLike[str]

SECURE_SCHEME = "grpcs://"

TIMEOUT = 30.0  # seconds, of a call that does not say

# How often a call is made again that met UNAVAILABLE, and how many seconds it waits before where the server does not
# say: twice as long each time, up to a limit.
_REPEATS = 7
_REPEAT_AFTER = 0.1
_MAX_REPEAT_AFTER = 2.0
_TICK = 0.02  # seconds by which clocks of one call may differ
_LEAST = 0.05  # seconds that an attempt gets: with less it would say that time is over, not what is wrong

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.primary_user_agent", f"provender-python/{__version__}"),
    ("grpc.max_receive_message_length", 1 << 30),
    ("grpc.max_send_message_length", -1),
    # A server that comes back is found at once, not after gRPC's up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)


def _closed_store() -> InvalidError:
    return InvalidError("the store is closed", fix="connect again")


def request_id() -> str:
    """Returns an id for a request that changes something, by which a server knows it again."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class TLS:
    """How a connection is encrypted, as PEM. Without roots, the system's authorities count."""

    roots: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None


@dataclass(frozen=True)
class Target:
    """Where a server answers, and what calls to it carry.

    Attributes:
        address: "host:port" or "unix:path".
        tls: None for a connection that is not encrypted.
        headers: Sent with every call: the token.
    """

    address: str
    tls: TLS | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


class Endpoint(Protocol):
    """Finds the server of a connection."""

    @property
    def folder(self) -> str:
        """The project's folder on this machine; "." for the current one, where nothing else is known."""

    def address(self) -> str:
        """Returns "host:port", "grpcs://host:port" or "unix:path".

        Asked before the first call, and again where a connection was lost: the server may be elsewhere by then.
        """

    def close(self) -> None:
        """Ends what was started."""


@dataclass(frozen=True)
class Address:
    """An endpoint that never moves."""

    fixed: str
    folder: str = "."

    def address(self) -> str:
        """Returns the address."""
        return self.fixed

    def close(self) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Options:
    """What all calls of a connection have in common.

    Attributes:
        token: Sent with every call; "" for none.
        plaintext_token: Whether it may leave this machine unencrypted.
        tls: None for a connection that is not encrypted, unless the address begins with "grpcs://".
        timeout: Seconds that a call takes at most where it does not say; None for as long as it takes.
    """

    token: str = field(default="", repr=False)
    plaintext_token: bool = False
    tls: TLS | None = None
    timeout: float | None = TIMEOUT

    @classmethod
    def of(
        cls,
        *,
        token: str | None = None,
        tls_ca: PathLike | None = None,
        tls_cert: PathLike | None = None,
        tls_key: PathLike | None = None,
        tls_server_name: str | None = None,
        plaintext_token: bool | None = None,
        timeout: float | None = TIMEOUT,
    ) -> Options:
        """Returns options of what ``connect`` takes; what is None is taken from the environment, as commands do."""
        ca = tls_ca or os.environ.get("PROVENDER_TLS_CA") or None
        certificate = tls_cert or os.environ.get("PROVENDER_TLS_CERT") or None
        key = tls_key or os.environ.get("PROVENDER_TLS_KEY") or None
        if (certificate is None) != (key is None):
            raise InvalidError("tls_cert and tls_key go together", field="tls_key" if key is None else "tls_cert")
        tls = None
        if ca or certificate or tls_server_name:
            tls = TLS(_read(ca, "tls_ca"), _read(certificate, "tls_cert"), _read(key, "tls_key"), tls_server_name)
        if timeout is not None and not timeout > 0:
            raise InvalidError(f"timeout is {timeout!r}", field="timeout", fix="give seconds, or None for no limit")
        if plaintext_token is None:
            plaintext_token = os.environ.get("PROVENDER_PLAINTEXT_TOKEN") in ("1", "true")
        return cls(_token(token), plaintext_token, tls, timeout)

    def target(self, address: str) -> Target:
        """Returns what an address stands for. Raises where the token would leave this machine in plain sight."""
        tls, name = self.tls, address.removeprefix(SECURE_SCHEME)
        if name != address and tls is None:
            tls = TLS()
        if not name.startswith("unix:"):
            _check_host(name)
        if not self.token:
            return Target(name, tls)
        if tls is None and not self.plaintext_token and not _on_this_machine(name):
            raise UnauthenticatedError(
                f"the token is not sent to {name}, as the connection is not encrypted",
                fix=f"use {SECURE_SCHEME}{name}",
            )
        return Target(name, tls, (("authorization", "Bearer " + self.token),))


def _read(path: PathLike | None, name: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as e:
        raise InvalidError(f"{name}: {e}", field=name) from e


def _token(given: str | None) -> str:
    """Returns the token that is given, else that of the environment, "" for none."""
    token, path = os.environ.get("PROVENDER_TOKEN", ""), os.environ.get("PROVENDER_TOKEN_FILE", "")
    if given is not None:
        token = given
    elif token and path:
        raise InvalidError(
            "PROVENDER_TOKEN and PROVENDER_TOKEN_FILE are both set", field="token", fix="unset one of them"
        )
    elif path:
        token = (_read(path, "PROVENDER_TOKEN_FILE") or b"").decode(errors="replace")
    token = token.strip()
    if not all(" " < c <= "~" for c in token):
        raise InvalidError("the token has characters that no token has", field="token")
    return token


def _check_host(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or "/" in host:
        raise InvalidError(
            f"{address!r} is no address of a server",
            field="target",
            fix='write "host:port", "grpcs://host:port" for TLS, or "unix:path"',
        )


def _on_this_machine(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.roots, tls.key, tls.certificate)


def _options(target: Target) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = list(_OPTIONS)
    if target.tls is not None and target.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", target.tls.server_name))
    return options


class _Attempts:
    """One call's time and how often it was made: the rule of repeats."""

    def __init__(self, timeout: float | None, *, repeat: bool) -> None:
        self.limit = timeout
        self.end = None if timeout is None else time.monotonic() + timeout
        self._left = _REPEATS if repeat else 0
        self._pause = _REPEAT_AFTER

    def timeout(self) -> float | None:
        """Returns the seconds that are left."""
        return None if self.end is None else max(self.end - time.monotonic(), 0.0)

    def again(self, status: status_pb2.Status) -> float | None:
        """Returns the seconds to wait before the call is made again; None where it has failed for good."""
        if status.code != grpc.StatusCode.UNAVAILABLE.value[0] or self._left == 0:
            return None
        self._left -= 1
        asked = _errors.retry_after(status)
        pause = self._pause * random.uniform(0.8, 1.2) if asked is None else asked
        self._pause = min(2 * self._pause, _MAX_REPEAT_AFTER)
        left = self.timeout()
        return pause if left is None or pause + _LEAST <= left else None


def _late(status: status_pb2.Status, end: float | None) -> bool:
    """Reports that a call was cut off as its time was over: the server ends it then, and may be heard sooner."""
    cut_off = status.code == grpc.StatusCode.CANCELLED.value[0] and not status.details
    return cut_off and end is not None and time.monotonic() >= end - _TICK


def lost(status: status_pb2.Status) -> bool:
    """Reports that a call ended without the server's own answer: that has details."""
    return status.code == grpc.StatusCode.UNAVAILABLE.value[0] and not status.details


class _Ended:
    """Ends a call that has several answers with its block, which is entered before the call begins.

    An interrupt comes before there is a call, or ends it.
    """

    def __init__(self) -> None:
        self.call: Future[Any] = Future()

    def __enter__(self) -> Future[Any]:
        return self.call

    def __exit__(self, *_: object) -> None:
        self.call.add_done_callback(self._cancel)

    @staticmethod
    def _cancel(begun: Future[Any]) -> None:
        if begun.exception() is None:
            begun.result().cancel()


class _Failures:
    """What failures of both kinds of channel become."""

    _target: Target | None

    def _error(self, status: status_pb2.Status, timeout: float | None, end: float | None = None) -> ProvenderError:
        if _late(status, end):
            status = status_pb2.Status(code=grpc.StatusCode.DEADLINE_EXCEEDED.value[0], message=status.message)
        error = _errors.from_status(status)
        if status.details or self._target is None:
            return error
        where = self._target.address
        if isinstance(error, _errors.UnavailableError):
            error.message = f"no Provender server answers at {where}: {_cause(error.message)}"
            if self._target.tls is None and not where.startswith("unix:"):
                error.fix = f"is it running? with TLS, its address is {SECURE_SCHEME}{where}"
        elif isinstance(error, _errors.DeadlineError) and timeout is not None:
            error.message = f"{where} did not answer within {timeout:g} seconds"
            error.fix = "give it more with timeout="
        return error


def _cause(message: str) -> str:
    """Returns the end of gRPC's account of a connection that could not be made: what the system said."""
    message = message.rpartition("last error: ")[2].removeprefix("UNKNOWN: ")
    return message.rpartition("Failed to connect to remote host: ")[2]


class Channel(_Failures):
    """A connection for calls that block. Safe between threads, and in processes that are forked from this one."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        """Makes a connection that opens with its first call."""
        self._endpoint = endpoint
        self.options = options
        self._lock = threading.Lock()
        self._target: Target | None = None
        self._grpc: grpc.Channel | None = None
        self._calls: dict[object, Any] = {}
        self._process = os.getpid()
        self._closed = False

    @property
    def folder(self) -> str:
        """The project's folder on this machine, where the connection is of one; else the current folder."""
        return self._endpoint.folder

    def target(self) -> Target:
        """Returns where the server answers now, for other kinds of connection. Not to be kept."""
        return self.options.target(self._endpoint.address())

    def call(
        self,
        method: str,
        request: Message,
        response: type[M],
        *,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> M:
        """Makes a call and returns its answer.

        Args:
            method: "/provender.v1.RegistryService/ListDefinitions".
            request: The request.
            response: The answer's class.
            timeout: Seconds for all attempts together; None for the connection's.
            repeat: Whether the call may be made again where it may have been answered already.
        """
        return self.call_raw(method, request.SerializeToString(), response.FromString, timeout=timeout, repeat=repeat)

    def call_raw(
        self,
        method: str,
        request: bytes,
        decode: Callable[[bytes], T],
        *,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> T:
        """Makes a call whose request is bytes and whose answer ``decode`` reads."""
        attempts = _Attempts(self.options.timeout if timeout is None else timeout, repeat=repeat)
        while True:
            call, headers = self._open("unary_unary", method)
            try:
                answer: bytes = call(request, timeout=attempts.timeout(), metadata=headers)
            except grpc.RpcError as e:
                status = _errors.status_of(e)
                pause = attempts.again(status)
                if lost(status):
                    self._move()
                if pause is None:
                    raise self._error(status, attempts.limit, attempts.end) from None
                time.sleep(pause)
            except ValueError:  # gRPC's answer where the connection was closed since
                if self._closed:
                    raise _closed_store() from None
                raise
            else:
                return decode(answer)

    def stream(self, method: str, request: Message, response: type[M], *, timeout: float | None = None) -> Iterator[M]:
        """Makes a call and yields its answers. It is made once, takes as long as it takes, and ends with its reader."""
        try:
            with _Ended() as call:
                for answer in self._begin(call, "unary_stream", method, request.SerializeToString(), timeout):
                    yield response.FromString(answer)
        except grpc.RpcError as e:
            status = _errors.status_of(e)
            if lost(status):
                self._move()
            raise self._error(status, timeout) from None

    def exchange(
        self, method: str, requests: Callable[[], Iterator[bytes]], *, timeout: float | None = None
    ) -> Generator[bytes]:
        """Makes a call that sends messages, and yields the answers. Closing the generator ends it.

        It is made again, with the messages anew, where it met UNAVAILABLE before anything was answered.
        """
        attempts = _Attempts(timeout, repeat=True)
        while True:
            answered = False
            try:
                with _Ended() as call:
                    for answer in self._begin(call, "stream_stream", method, requests(), attempts.timeout()):
                        answered = True
                        yield answer
            except grpc.RpcError as e:
                status = _errors.status_of(e)
                pause = None if answered else attempts.again(status)
                if lost(status):
                    self._move()
                if pause is None:
                    raise self._error(status, attempts.limit, attempts.end) from None
                time.sleep(pause)
            else:
                return

    def close(self) -> None:
        """Closes the connection and what was started for it. Calls under way end."""
        with self._lock:
            self._closed = True
            if self._grpc is not None and self._process == os.getpid():
                self._grpc.close()
            self._grpc, self._calls = None, {}
        self._endpoint.close()

    def _begin(
        self, begun: Future[Any], kind: str, method: str, sent: bytes | Iterator[bytes], timeout: float | None
    ) -> Any:
        """Begins a call that has several answers, and returns them.

        It begins on a thread of its own, where no KeyboardInterrupt comes: gRPC starts threads as it begins one, and if
        it were interrupted there, nobody had the call, to cancel it.
        """
        call, headers = self._open(kind, method)

        def begin() -> None:
            try:
                begun.set_result(call(sent, timeout=timeout, metadata=headers))
            except BaseException as e:
                begun.set_exception(e)

        context = contextvars.copy_context()  # what traces calls looks there for the caller's
        threading.Thread(target=context.run, args=(begin,), daemon=True).start()
        try:
            return begun.result()
        except ValueError:  # as above
            if self._closed:
                raise _closed_store() from None
            raise

    def _open(self, kind: str, method: str) -> tuple[Any, tuple[tuple[str, str], ...]]:
        """Returns the callable of a method, and the headers of its calls."""
        target, calls = self._target, self._calls
        if target is None or self._process != os.getpid() or (kind, method) not in calls:
            with self._lock:
                target, calls = self._connect(), self._calls
                if (kind, method) not in calls:
                    calls[kind, method] = getattr(self._grpc, kind)(method)
        return calls[kind, method], target.headers

    def _connect(self) -> Target:
        if self._closed:
            raise _closed_store()
        if self._target is not None and self._process == os.getpid():
            return self._target
        target = self.target()
        if target.tls is None:
            self._grpc = grpc.insecure_channel(target.address, _options(target))
        else:
            self._grpc = grpc.secure_channel(target.address, _credentials(target.tls), _options(target))
        self._target, self._calls, self._process = target, {}, os.getpid()
        return target

    def _move(self) -> None:
        """Follows a server that may be elsewhere."""
        target = self.target()
        with self._lock:
            if target != self._target:  # calls under way keep the old connection until they end
                self._target, self._grpc, self._calls = None, None, {}


class AsyncChannel(_Failures):
    """A connection for asyncio. It opens anew in each event loop that uses it."""

    def __init__(self, endpoint: Endpoint, options: Options) -> None:
        """Makes a connection that opens with its first call."""
        self._endpoint = endpoint
        self.options = options
        self._target: Target | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._grpc: grpc.aio.Channel | None = None
        self._calls: dict[object, Any] = {}
        self._closed = False

    async def target(self) -> Target:
        """Returns where the server answers now, for other kinds of connection. Not to be kept."""
        if isinstance(self._endpoint, Address):
            return self.options.target(self._endpoint.address())
        return self.options.target(await asyncio.to_thread(self._endpoint.address))

    async def call(
        self,
        method: str,
        request: Message,
        response: type[M],
        *,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> M:
        """Makes a call and returns its answer, as ``Channel.call`` does."""
        return await self.call_raw(
            method, request.SerializeToString(), response.FromString, timeout=timeout, repeat=repeat
        )

    async def call_raw(
        self,
        method: str,
        request: bytes,
        decode: Callable[[bytes], T],
        *,
        timeout: float | None = None,
        repeat: bool = True,
    ) -> T:
        """Makes a call whose request is bytes and whose answer ``decode`` reads."""
        attempts = _Attempts(self.options.timeout if timeout is None else timeout, repeat=repeat)
        while True:
            call, headers = await self._open("unary_unary", method)
            try:
                answer: bytes = await call(request, timeout=attempts.timeout(), metadata=headers)
            except grpc.aio.UsageError:  # as above
                if self._closed:
                    raise _closed_store() from None
                raise
            except grpc.RpcError as e:
                status = _errors.status_of(e)
                pause = attempts.again(status)
                if lost(status):
                    await self._move()
                if pause is None:
                    raise self._error(status, attempts.limit, attempts.end) from None
                await asyncio.sleep(pause)
            else:
                return decode(answer)

    async def stream(
        self, method: str, request: Message, response: type[M], *, timeout: float | None = None
    ) -> AsyncIterator[M]:
        """Makes a call and yields its answers. It is made once, takes as long as it takes, and ends with its reader."""
        call, headers = await self._open("unary_stream", method)
        answers = call(request.SerializeToString(), timeout=timeout, metadata=headers)
        try:
            async for answer in answers:
                yield response.FromString(answer)
        except grpc.RpcError as e:
            status = _errors.status_of(e)
            if lost(status):
                await self._move()
            raise self._error(status, timeout) from None
        finally:
            answers.cancel()

    async def close(self) -> None:
        """Closes the connection and what was started for it. Calls under way end."""
        import asyncio

        self._closed = True
        if self._grpc is not None:
            await self._grpc.close(None)
        self._grpc, self._calls = None, {}
        await asyncio.to_thread(self._endpoint.close)

    async def _open(self, kind: str, method: str) -> tuple[Any, tuple[tuple[str, str], ...]]:
        """Returns the callable of a method, and the headers of its calls."""
        if self._closed:
            raise _closed_store()
        if self._target is None or self._loop is not asyncio.get_running_loop():
            self._target = None
            target = await self.target()
            if self._target is None:  # nobody was faster
                self._loop = asyncio.get_running_loop()
                if target.tls is None:
                    self._grpc = grpc.aio.insecure_channel(target.address, _options(target))
                else:
                    self._grpc = grpc.aio.secure_channel(target.address, _credentials(target.tls), _options(target))
                self._target, self._calls = target, {}
        if (kind, method) not in self._calls:
            self._calls[kind, method] = getattr(self._grpc, kind)(method)
        return self._calls[kind, method], self._target.headers

    async def _move(self) -> None:
        """Follows a server that may be elsewhere."""
        target = await self.target()
        if target != self._target:  # calls under way keep the old connection until they end
            self._target, self._grpc, self._calls = None, None, {}
