"""A project's store, of calls that block."""

from __future__ import annotations

import os
import weakref
from types import TracebackType

from . import _local
from ._channel import TLS, Address, Channel, Endpoint, Options
from ._errors import InvalidError


class Store:
    """A connection to one project. Safe between threads; closed at exit, and at the end of a ``with`` block."""

    def __init__(self, channel: Channel) -> None:
        """Makes a store of a connection. Use ``provender.connect``."""
        self._channel = channel
        self._closer = weakref.finalize(self, channel.close)

    def close(self) -> None:
        """Closes the connection. A local server that it started ends."""
        self._closer()

    def __enter__(self) -> Store:
        """Returns the store, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the store."""
        self.close()


def connect(
    target: str | os.PathLike[str] | None = None,
    *,
    env: str | None = None,
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    tls_server_name: str | None = None,
    plaintext_token: bool = False,
    timeout: float | None = 30.0,
) -> Store:
    """Connects to a project. The connection opens with the first call.

    Of a folder, that call uses the server or command that answers for the project on this machine, or starts a server
    that ends with the store.

    Args:
        target: A project folder; or a server, "host:port", "grpcs://host:port" for TLS, or "unix:path"; None for the
            server in PROVENDER_SERVER, else the current folder.
        env: The environment of a folder's provender.yaml; None for the one in PROVENDER_ENV.
        token: Sent with every call; None for the one in PROVENDER_TOKEN.
        tls_ca: A file with the authorities that the server's certificate may be from; None for the system's.
        tls_cert: A file with this client's certificate, where the server asks for one.
        tls_key: Its key.
        tls_server_name: The name in the server's certificate, where it is not the address's.
        plaintext_token: Lets the token leave this machine unencrypted: for networks that are by themselves.
        timeout: Seconds that a call takes at most where it does not say otherwise; None for as long as it takes.
    """
    endpoint = endpoint_of(target, env)
    tls = TLS.of(ca=tls_ca, certificate=tls_cert, key=tls_key, server_name=tls_server_name)
    options = Options(token=token, plaintext_token=plaintext_token, tls=tls, timeout=timeout)
    return Store(Channel(endpoint, options))


def endpoint_of(target: str | os.PathLike[str] | None, env: str | None) -> Endpoint:
    """Returns the endpoint that arguments of ``connect`` name."""
    place = _local.place_of(os.environ.get("PROVENDER_SERVER") or "." if target is None else target)
    if place.folder is not None:
        return _local.Local(place.folder, env)
    if env is not None:
        raise InvalidError("env is for a project folder: a server has an environment already", field="env")
    return Address(place.address)
