"""A project's store for asyncio.

Example:
    >>> async with provender.aio.connect("127.0.0.1:6565") as store:
    ...     features = await store.get_features(service="delay_model_v1", entities=entities)
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from . import _request
from ._channel import TIMEOUT, AsyncChannel, PathLike
from ._features import Features
from ._instant import Instant
from ._request import Entities
from .store import connection


class AsyncStore:
    """A connection to one project. A call that is cancelled ends, on the server too."""

    def __init__(self, channel: AsyncChannel) -> None:
        """Makes a store of a connection. Use ``provender.aio.connect``."""
        self._channel = channel

    async def get_features(
        self,
        *,
        service: str | None = None,
        features: Sequence[str] | None = None,
        entities: Entities = None,
        event_times: bool = False,
        read_time: Instant | None = None,
        timeout: float | None = None,
    ) -> Features:
        """Looks up the newest values of features, as ``Store.get_features`` does."""
        shape, keys = _request.shape(service, features), _request.keys(entities)
        request = _request.online(shape, keys, event_times=event_times, read_time=read_time)
        answer = await self._channel.call_raw(_request.ONLINE, request, shape.decoder.decode, timeout=timeout)
        return Features(answer, keys)

    async def get_historical_features(
        self,
        *,
        service: str | None = None,
        features: Sequence[str] | None = None,
        entities: Entities = None,
        at: Instant | None = None,
        timeout: float | None = None,
    ) -> Features:
        """Looks up features as they were known at an instant, as ``Store.get_historical_features`` does."""
        shape, keys = _request.shape(service, features), _request.keys(entities)
        request = _request.historical(shape, keys, at=at)
        answer = await self._channel.call_raw(
            _request.HISTORICAL, request, shape.decoder.decode_historical, timeout=timeout
        )
        return Features(answer, keys)

    async def close(self) -> None:
        """Closes the connection. A local server that it started ends."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncStore:
        """Returns the store, to be closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the store."""
        await self.close()


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
) -> AsyncStore:
    """Connects to a project, with the arguments of ``provender.connect``. The connection opens with the first call."""
    return AsyncStore(
        AsyncChannel(
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
