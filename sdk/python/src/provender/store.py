"""A project's store, of calls that block."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from types import TracebackType

from . import _local, _request
from ._channel import TLS, Address, Channel, Endpoint, Options
from ._errors import InvalidError
from ._features import Features
from ._instant import Instant
from ._operations import Operations
from ._request import Entities


class Store(Operations):
    """A connection to one project. Safe between threads; closed at exit, and at the end of a ``with`` block."""

    def __init__(self, channel: Channel) -> None:
        """Makes a store of a connection. Use ``provender.connect``."""
        self._channel = channel
        self._folder = channel.folder
        self._closer = weakref.finalize(self, channel.close)

    def get_features(
        self,
        *,
        service: str | None = None,
        features: Sequence[str] | None = None,
        entities: Entities = None,
        event_times: bool = False,
        read_time: Instant | None = None,
        timeout: float | None = None,
    ) -> Features:
        """Looks up the newest values of features, one row per entity, in the entities' order.

        Args:
            service: A feature service's name. Either this or features.
            features: Features as "view:feature".
            entities: The keys: ``{"airport": ["JFK", "SFO"]}``, one mapping per entity, or a frame of pandas, Polars or
                Arrow with one column per key. A key is of integers or strings; None is no entity's. Nothing where all
                views are global.
            event_times: Asks for the event time of each row that was read.
            read_time: An instant to read at in place of the server's clock, for rehearsals on old data.
            timeout: Seconds that the call takes at most; None for the connection's.

        Example:
            >>> entities = {"origin": ["JFK"], "destination": ["SFO"]}
            >>> store.get_features(service="delay_model_v1", entities=entities).to_dict()
        """
        shape, keys = _request.shape(service, features), _request.keys(entities)
        request = _request.online(shape, keys, event_times=event_times, read_time=read_time)
        answer = self._channel.call_raw(_request.ONLINE, request, shape.decoder.decode, timeout=timeout)
        return Features(answer, keys)

    def get_historical_features(
        self,
        *,
        service: str | None = None,
        features: Sequence[str] | None = None,
        entities: Entities = None,
        at: Instant | None = None,
        timeout: float | None = None,
    ) -> Features:
        """Looks up features as they were known at an instant, from the files of the server's project.

        Args:
            service: A feature service's name. Either this or features.
            features: Features as "view:feature".
            entities: The keys, as ``get_features`` takes them.
            at: The instant; None for now.
            timeout: Seconds that the call takes at most; None for the connection's.
        """
        shape, keys = _request.shape(service, features), _request.keys(entities)
        request = _request.historical(shape, keys, at=at)
        answer = self._channel.call_raw(_request.HISTORICAL, request, shape.decoder.decode_historical, timeout=timeout)
        return Features(answer, keys)

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
    return Store(
        Channel(
            *connection(
                target,
                env=env,
                token=token,
                tls_ca=tls_ca,
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_server_name=tls_server_name,
                plaintext_token=plaintext_token,
                timeout=timeout,
            )
        )
    )


def connection(
    target: str | os.PathLike[str] | None,
    *,
    env: str | None,
    token: str | None,
    tls_ca: str | os.PathLike[str] | None,
    tls_cert: str | os.PathLike[str] | None,
    tls_key: str | os.PathLike[str] | None,
    tls_server_name: str | None,
    plaintext_token: bool,
    timeout: float | None,
) -> tuple[Endpoint, Options]:
    """Returns what ``connect`` makes a channel of."""
    place = _local.place_of(os.environ.get("PROVENDER_SERVER") or "." if target is None else target)
    endpoint = Address(place.address) if place.folder is None else _local.Local(place.folder, env)
    if env is not None and place.folder is None:
        raise InvalidError("env is for a project folder: a server has an environment already", field="env")
    tls = TLS.of(ca=tls_ca, certificate=tls_cert, key=tls_key, server_name=tls_server_name)
    return endpoint, Options(token=token, plaintext_token=plaintext_token, tls=tls, timeout=timeout)
