"""Lookups with asyncio."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import PATIENCE, Project, Server, T
from test_channel import FOUND, LOOKUP, free_address, ready, silence

import provender
from provender import _channel
from provender._channel import Address, AsyncChannel, Options
from provender.v1 import operations_pb2


def test_same_as_blocking(server: Server, store: provender.Store) -> None:
    request: dict[str, Any] = {
        "service": "delay_model_v1",
        "entities": {"origin": ["JFK", "XXX", None], "destination": ["SFO"] * 3},
    }

    async def look_up() -> tuple[provender.Features, provender.Features]:
        async with provender.aio.connect(server.address) as store:
            online = store.get_features(**request, event_times=True)
            offline = store.get_historical_features(**request, at=T)
            return await online, await offline

    online, offline = asyncio.run(look_up())
    expected = store.get_features(**request, event_times=True)
    for features in (online, offline):
        assert features.to_arrow(keys=True) == expected.to_arrow(keys=True)
        assert features.statuses == expected.statuses
        assert features.event_times == expected.event_times


def test_many_at_a_time(server: Server) -> None:
    async def look_up() -> None:
        async with provender.aio.connect(server.address) as store:
            answers = await asyncio.gather(*(store.get_features(**LOOKUP) for _ in range(100)))
            assert all(features.to_dict() == FOUND for features in answers)

    asyncio.run(look_up())


def test_one_loop_after_another(server: Server) -> None:
    store = provender.aio.connect(server.address)
    for _ in range(3):

        async def look_up() -> dict[str, list[Any]]:
            return (await store.get_features(**LOOKUP)).to_dict()

        assert asyncio.run(look_up()) == FOUND
    asyncio.run(store.close())
    with pytest.raises(provender.InvalidError, match="closed"):
        asyncio.run(look_up())


def test_cancelled(project: Project) -> None:
    server = ready(project)

    async def look_up() -> None:
        async with provender.aio.connect(server.address) as store:
            assert (await store.get_features(**LOOKUP)).to_dict() == FOUND
            server.freeze()
            task = asyncio.create_task(store.get_features(**LOOKUP))
            done, _ = await asyncio.wait([task], timeout=0.1)
            assert not done
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, PATIENCE)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await store.get_features(**LOOKUP)
            server.thaw()
            assert (await store.get_features(**LOOKUP)).to_dict() == FOUND

    try:
        asyncio.run(look_up())
    finally:
        server.kill()


def test_cancelled_while_it_waits() -> None:
    """A call that waits to be made again is cancelled, too."""

    async def look_up() -> None:
        async with provender.aio.connect(free_address()) as store:
            task = asyncio.create_task(store.get_features(**LOOKUP))
            await asyncio.wait([task], timeout=0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(look_up())


def test_errors(server: Server) -> None:
    async def look_up() -> None:
        async with provender.aio.connect(server.address) as store:
            with pytest.raises(provender.NotFoundError, match='did you mean "delay_model_v1"'):
                await store.get_features(service="delay_model_vl", entities={})
            with pytest.raises(provender.InvalidError, match="convert"):
                await store.get_features(service="delay_model_v1", entities={"origin": [1.5]})
        with silence() as address:
            async with provender.aio.connect(address) as store:
                with pytest.raises(provender.DeadlineError, match=r"within 0\.2 seconds"):
                    await store.get_features(**LOOKUP, timeout=0.2)
        async with provender.aio.connect(free_address(), timeout=0.3) as store:
            with pytest.raises(provender.UnavailableError, match="no Provender server answers"):
                await store.get_features(**LOOKUP)

    asyncio.run(look_up())


def test_killed_and_restarted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_channel, "_REPEATS", 1000)  # however long the machine takes
    server = ready(project)

    async def look_up() -> None:
        nonlocal server
        async with provender.aio.connect(server.address, timeout=PATIENCE) as store:
            assert (await store.get_features(**LOOKUP)).to_dict() == FOUND
            server.kill()
            lookups = [asyncio.create_task(store.get_features(**LOOKUP)) for _ in range(4)]
            server = await asyncio.to_thread(project.serve, "--now", T, port=server.port)
            assert [features.to_dict() for features in await asyncio.gather(*lookups)] == [FOUND] * 4

    try:
        asyncio.run(look_up())
    finally:
        server.stop()


def test_stream(project: Project) -> None:
    """A stream's answers come one by one; who leaves early ends it."""
    project.run("apply", "--yes")
    server = project.serve("--now", T)
    method = "/provender.v1.OperationsService/Materialize"
    request = operations_pb2.MaterializeRequest(views=["airport_hourly"])
    request.to.FromJsonString(T)

    async def materialize() -> None:
        channel = AsyncChannel(Address(server.address), Options())
        answers = [a async for a in channel.stream(method, request, operations_pb2.MaterializeResponse)]
        assert answers
        assert answers[-1].HasField("run")
        async for _ in channel.stream(method, request, operations_pb2.MaterializeResponse):
            break
        bad = operations_pb2.MaterializeRequest(views=["airport_hurly"])
        with pytest.raises(provender.NotFoundError, match='did you mean "airport_hourly"'):
            _ = [a async for a in channel.stream(method, bad, operations_pb2.MaterializeResponse)]
        await channel.close()

    try:
        asyncio.run(materialize())
    finally:
        server.stop()
