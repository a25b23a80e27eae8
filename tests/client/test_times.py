"""The client's times, on a clock that the tests move: opening, closing, pings, waits between tries."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

import fastws
from fastws.testing import Clock, Recorder, pair
from tests.client.loops import both_loops
from tests.client.peers import answering, echo, listening
from tests.kit import until


@both_loops
async def test_the_time_to_open() -> None:
    async def undecided(request: fastws.Request) -> None:
        await asyncio.sleep(3600)

    clock = Clock()
    routes = [fastws.Route("/", echo, authorize=undecided)]
    link = pair(routes, clock=clock, client={"open_timeout": 3}, timeouts={"handshake": None})
    connecting = asyncio.ensure_future(link.__aenter__())
    await asyncio.sleep(0)
    await clock.advance(2.9)
    assert not connecting.done()
    await clock.advance(0.2)
    with pytest.raises(TimeoutError, match="no WebSocket within 3 s"):
        await connecting


@both_loops
async def test_the_time_to_close() -> None:
    """A server that never answers the close is cut, and the code is ours all the same."""
    clock = Clock()
    link = pair(echo, clock=clock, client={"timeouts": {"close": 5}})
    async with link as ws:
        link.server_end.stall(1000)
        closing = asyncio.ensure_future(ws.close(4000, "done"))
        await clock.advance(4.9)
        assert not closing.done()
        await clock.advance(0.3)
        await closing
        assert (ws.closed, ws.close_code, ws.close_reason) == (True, 4000, "done")


@both_loops
async def test_pings_of_the_client_measure_and_find_a_dead_server() -> None:
    clock = Clock()
    link = pair(
        echo,
        clock=clock,
        client={"timeouts": {"ping_interval": 10, "ping_timeout": 4}},
        timeouts={"ping_interval": None},
    )
    async with link as ws:
        await clock.advance(10.1)
        assert ws.latency == 0.0
        link.server_end.stall(1000)
        reading = asyncio.ensure_future(ws.recv())
        await clock.advance(12.0)
        assert not reading.done()
        await clock.advance(4.0)
        with pytest.raises(fastws.ConnectionClosedError) as caught:
            await reading
        assert (caught.value.code, caught.value.reason, caught.value.by_peer) == (1006, "ping timeout", False)


@both_loops
async def test_a_client_with_callbacks_is_told_when_it_may_write_again() -> None:
    client = Recorder()
    link = pair(echo, client={"handler": client}, capacity=1000, compression=None)
    async with link as ws:
        link.server_end.stall()
        assert ws.send_nowait(bytes(10)) is fastws.SendStatus.SENT
        await asyncio.sleep(0.01)
        assert ws.send_nowait(bytes(2000)) is fastws.SendStatus.QUEUED
        assert ws.buffered_amount > 2000
        link.server_end.read()
        await until(lambda: ("writable",) in client.events)
        await until(lambda: len(client.messages()) == 2)
    assert client.closes() == [(1000, "")]


@both_loops
async def test_waits_between_tries_are_those_of_the_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter is taken at its largest: 1, 2, 4 and again 4 seconds."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    tries: list[float] = []
    clock = Clock()
    loop = asyncio.get_running_loop()

    def note(exc: Exception) -> bool:
        tries.append(loop.time())
        return True

    async def keep_trying(url: str) -> None:
        async for _ in fastws.connect(url, retry=note, backoff=fastws.Backoff(1.0, 2.0, 4.0)):
            pytest.fail("connected")

    async with listening(answering(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")) as port:
        with clock:
            trying = asyncio.ensure_future(keep_trying(f"ws://127.0.0.1:{port}/"))
            for count, seconds in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0)):
                await until(lambda count=count: len(tries) == count and _waits(clock, 0.5))
                await clock.advance(seconds)
            await until(lambda: len(tries) == 5)
            trying.cancel()
            await asyncio.wait([trying])
    assert [after - before for before, after in itertools.pairwise(tries)] == [1.0, 2.0, 4.0, 4.0]


def _waits(clock: Clock, least: float) -> Any:
    """Whether the pause between two tries has begun; there are other timers, none of them as long."""
    return any(least <= each <= 4.0 for each in clock.timers)
