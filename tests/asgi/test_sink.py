"""A sink as the transport of an outbox: what the outbox asks of it, without a hub's rules."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws.asgi.sink import Sink, SinkHost, open_sink
from fastws.config import Limits


class Publication:
    """As much of a publication as a host encodes."""

    def __init__(self, message: str) -> None:
        self.message = message


class Framework:
    """The ``send`` and ``close`` of a framework; ``send`` waits while ``gate`` is closed."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed: list[tuple[int, str]] = []
        self.gate = asyncio.Event()

    async def send(self, message: Any) -> None:
        await self.gate.wait()
        self.sent.append(message)

    async def close(self, code: int, reason: str) -> None:
        self.closed.append((code, reason))

    def sink(self) -> Sink:
        return open_sink(self.send, self.close, Limits())


def write(sink: Sink, message: str) -> None:
    """As an outbox whose socket takes bytes: have its host encode, then write what that returned."""
    publication: Any = Publication(message)
    sink.write(SinkHost(sink).encode_publication(publication))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_refuses_bytes_until_send_has_returned() -> None:
    framework = Framework()
    sink = framework.sink()
    assert not sink.outbox.is_direct()
    write(sink, "one")
    assert sink.outbox.blocked
    assert sink.outbox.buffered_amount == 3
    await settle()
    assert sink.outbox.blocked
    assert sink.outbox.buffered_amount == 0, "the framework does not say what it holds"
    framework.gate.set()
    await settle()
    assert framework.sent == ["one"]
    assert not sink.outbox.blocked
    sink.end()


async def test_an_abort_ends_it_and_leaves_the_websocket_alone() -> None:
    framework = Framework()
    sink = framework.sink()
    write(sink, "never sent")
    await settle()
    assert not sink.is_closing()
    sink.abort()
    assert sink.is_closing()
    framework.gate.set()
    await settle()
    assert (framework.sent, framework.closed) == ([], [])
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_eviction_while_nothing_is_sent_closes() -> None:
    """Who has to come back for what is kept no more is not slow at that moment."""
    framework = Framework()
    sink = framework.sink()
    SinkHost(sink).evict("too slow")
    await settle()
    assert sink.is_closing()
    assert framework.closed == [(1008, "too slow")]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_eviction_gives_up_the_send_that_waits_and_closes() -> None:
    framework = Framework()
    sink = framework.sink()
    write(sink, "never sent")
    await settle()
    SinkHost(sink).evict("too slow")
    framework.gate.set()
    await settle()
    assert (framework.sent, framework.closed) == ([], [(1008, "too slow")])
