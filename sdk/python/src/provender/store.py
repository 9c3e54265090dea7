"""A project's store, of calls that block."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from . import _local, _request, _training
from ._channel import TIMEOUT, Address, Channel, Endpoint, Options, PathLike
from ._errors import InvalidError
from ._features import Features
from ._instant import Instant
from ._operations import Operations
from ._progress import Progress
from ._request import Entities
from ._training import TrainingSet


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

    def training_set(
        self,
        spine: Any,
        *,
        time: str,
        service: str | None = None,
        features: Sequence[str] | None = None,
        time_unit: str | None = None,
        timezone: str | None = None,
        time_at: str | None = None,
        progress: Progress = None,
        timeout: float | None = None,
    ) -> TrainingSet:
        """Joins features onto a spine, each value as it was known at the row's time, never later.

        Rows in are rows out: same count, same order, duplicates kept, your columns and index unchanged, then the
        features. Only keys and times leave this process. An interrupt ends the server's work.

        Args:
            spine: One row per example: a frame of pandas or Polars, a table, reader or dataset of pyarrow, a relation
                of DuckDB, or the path of a Parquet, CSV or Arrow file.
            time: The column of the time at which the model would have been asked.
            service: A feature service. Either this or ``features``.
            features: Features as "view:feature". The spine then has the views' join keys under their own names.
            time_unit: The unit of integers in the time column: "s", "ms", "us" or "ns".
            timezone: The zone of times without one; None for UTC.
            time_at: The end of the day that a DATE means: "start" or "end".
            progress: True for a bar, False for none, None for one in a terminal or notebook, or a function that is told
                of each ``Step``.
            timeout: Seconds that it may take; None for as long as it takes.

        Example:
            >>> ts = store.training_set(flights, service="delay_model_v1", time="departs")
            >>> ts.data
        """
        return _training.training_set(
            self._channel,
            spine,
            service=service,
            features=features,
            time=time,
            time_unit=time_unit,
            timezone=timezone,
            time_at=time_at,
            progress=progress,
            timeout=timeout,
        )

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
    target: PathLike | None = None,
    *,
    env: str | None = None,
    token: str | None = None,
    tls_ca: PathLike | None = None,
    tls_cert: PathLike | None = None,
    tls_key: PathLike | None = None,
    tls_server_name: str | None = None,
    plaintext_token: bool | None = None,
    timeout: float | None = TIMEOUT,
) -> Store:
    """Connects to a project. The connection opens with the first call.

    Of a folder, that call uses the server or command that answers for the project on this machine, or starts a server
    that ends with the store.

    Args:
        target: A project folder; or a server, "host:port", "grpcs://host:port" for TLS, or "unix:path"; None for the
            server in PROVENDER_SERVER, else the current folder.
        env: The environment of a folder's provender.yaml; None for the one in PROVENDER_ENV.
        token: Sent with every call; None for PROVENDER_TOKEN, or what the file in PROVENDER_TOKEN_FILE holds.
        tls_ca: A file with the authorities that the server's certificate may be from; None for PROVENDER_TLS_CA, or the
            system's.
        tls_cert: A file with this client's certificate, where the server asks for one; None for PROVENDER_TLS_CERT.
        tls_key: A file with its key; None for PROVENDER_TLS_KEY.
        tls_server_name: The name in the server's certificate, where it is not the address's.
        plaintext_token: Lets the token leave this machine unencrypted: for networks that are by themselves. None for
            PROVENDER_PLAINTEXT_TOKEN.
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
    target: PathLike | None,
    *,
    env: str | None,
    token: str | None,
    tls_ca: PathLike | None,
    tls_cert: PathLike | None,
    tls_key: PathLike | None,
    tls_server_name: str | None,
    plaintext_token: bool | None,
    timeout: float | None,
) -> tuple[Endpoint, Options]:
    """Returns what ``connect`` makes a channel of."""
    place = _local.place_of(os.environ.get("PROVENDER_SERVER") or "." if target is None else target)
    endpoint = Address(place.address) if place.folder is None else _local.Local(place.folder, env)
    if env is not None and place.folder is None:
        raise InvalidError("env is for a project folder: a server has an environment already", field="env")
    options = Options.of(
        token=token,
        tls_ca=tls_ca,
        tls_cert=tls_cert,
        tls_key=tls_key,
        tls_server_name=tls_server_name,
        plaintext_token=plaintext_token,
        timeout=timeout,
    )
    return endpoint, options
