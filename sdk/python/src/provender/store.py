"""A project's store, of calls that block."""

from __future__ import annotations

import os
import weakref
from types import TracebackType

from ._channel import TLS, Address, Channel, Options


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
    token: str | None = None,
    tls_ca: str | os.PathLike[str] | None = None,
    tls_cert: str | os.PathLike[str] | None = None,
    tls_key: str | os.PathLike[str] | None = None,
    tls_server_name: str | None = None,
    plaintext_token: bool = False,
    timeout: float | None = 30.0,
) -> Store:
    """Connects to a server. The connection opens with the first call.

    Args:
        target: "host:port", "grpcs://host:port" for TLS, or "unix:path"; None for the address in PROVENDER_SERVER.
        token: Sent with every call; None for the one in PROVENDER_TOKEN.
        tls_ca: A file with the authorities that the server's certificate may be from; None for the system's.
        tls_cert: A file with this client's certificate, where the server asks for one.
        tls_key: Its key.
        tls_server_name: The name in the server's certificate, where it is not the address's.
        plaintext_token: Lets the token leave this machine unencrypted: for networks that are by themselves.
        timeout: Seconds that a call takes at most where it does not say otherwise; None for as long as it takes.
    """
    place = os.fspath(target) if target is not None else os.environ.get("PROVENDER_SERVER", ".")
    tls = TLS.of(ca=tls_ca, certificate=tls_cert, key=tls_key, server_name=tls_server_name)
    options = Options(token=token, plaintext_token=plaintext_token, tls=tls, timeout=timeout)
    return Store(Channel(Address(place), options))
