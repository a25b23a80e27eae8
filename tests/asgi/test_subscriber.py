"""WebSockets of other frameworks in a hub: one line broadcasts, nobody waits, the slow are dealt with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

import fastws
from fastws.config import Limits, SlowConsumerPolicy
from tests.kit import until

pytestmark = pytest.mark.live


class Foreign:
    """A WebSocket as Starlette has it, whose ``send`` waits while ``gate`` is closed."""

    def __init__(self) -> None:
        self.scope = {"type": "websocket"}
        self.got: list[Any] = []
        self.closed: tuple[int, str] | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def send_text(self, message: str) -> None:
        await self.gate.wait()
        if self.closed:
            raise OSError("gone")
        self.got.append(message)

    send_bytes = send_text

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_messages_in_order_and_exclusion() -> None:
    hub = fastws.Hub()
    ann, bob = Foreign(), Foreign()
    with fastws.subscriber(ann) as a, fastws.subscriber(bob) as b:
        assert a.is_foreign
        for place in (a, b):
            hub.subscribe(place, "room")
        assert hub.publish("room", "one") == 2
        assert hub.publish("room", b"two", exclude=a) == 1
        await settle()
        hub.publish("room", "three")
        await settle()
        assert (ann.got, bob.got) == (["one", "three"], ["one", b"two", "three"])
        assert list(hub.topics(a)) == ["room"]
    assert hub.count("room") == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_merging_topics_merge_for_them_too() -> None:
    hub = fastws.Hub()
    hub.topic("chat", merge="\n")
    ann = Foreign()
    with fastws.subscriber(ann) as a:
        hub.subscribe(a, "chat")
        for text in ("one", "two"):
            hub.publish("chat", text)
        await settle()
    assert ann.got == ["one\ntwo"]


@pytest.mark.parametrize("policy", SlowConsumerPolicy)
async def test_a_slow_one_has_the_queue_and_the_policy_of_the_topic(policy: SlowConsumerPolicy) -> None:
    hub = fastws.Hub(policy=policy)
    ann, bob = Foreign(), Foreign()
    with fastws.subscriber(ann, limits=Limits(send_queue=3)) as a, fastws.subscriber(bob) as b:
        hub.subscribe(a, "room")
        hub.subscribe(b, "room")
        ann.gate.clear()
        for number in range(6):
            hub.publish("room", str(number))  # never waits
            await settle()
        assert bob.got == ["0", "1", "2", "3", "4", "5"]
        ann.gate.set()
        await settle()
        # The first was being sent; three waited behind it.
        kept = {
            SlowConsumerPolicy.DROP_NEWEST: "0123",
            SlowConsumerPolicy.DROP_OLDEST: "0345",
            SlowConsumerPolicy.EVICT: "",
        }
        assert ann.got == list(kept[policy])
        assert hub.count("room") == (1 if policy is SlowConsumerPolicy.EVICT else 2)
        assert ann.closed == ((1008, "too slow") if policy is SlowConsumerPolicy.EVICT else None)
        assert a.outbox.dropped == (0 if policy is SlowConsumerPolicy.EVICT else 2)


@pytest.mark.parametrize("hears", [False, True])
@pytest.mark.parametrize("policy", [None, "drop_oldest", "evict"])
async def test_a_slow_one_reads_the_history_of_the_topic(policy: str | None, hears: bool) -> None:
    """Where nobody is told the gap it is closed, unless the topic says that nobody has to know."""
    gaps: list[tuple[str, int, str]] = []
    goes_on = policy == "drop_oldest" or (policy is None and hears)
    hub = fastws.Hub()
    hub.topic("room", history=3, policy=policy)
    hub.publish("room", "before")
    ann, bob = Foreign(), Foreign()
    on_gap = (lambda *gap: gaps.append(gap)) if hears else None
    with fastws.subscriber(ann, on_gap=on_gap) as a, fastws.subscriber(bob) as b:
        hub.subscribe(a, "room", recent=1)
        hub.subscribe(b, "room")
        await settle()
        for rounds, missed in ((3, 0), (6, 2)):
            ann.got.clear()
            ann.gate.clear()
            for number in range(rounds):
                assert hub.publish("room", str(number)) == 2
                await settle()
            assert a.outbox.queued == 0
            ann.gate.set()
            await settle()
            # The first was being sent; the last three are kept.
            kept = ["0"] if missed and not goes_on else ["0", *"12345"[missed : rounds - 1]]
            assert ann.got == kept
        assert ann.closed == (None if goes_on else (1008, "too slow"))
        assert gaps == ([("room", 2, "slow")] if hears and goes_on else [])
        assert (hub.count("room"), a.outbox.dropped) == (1 + (ann.closed is None), 2)
    assert bob.got == [*"012", *"012345"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Panic(BaseException):
    """As that of pyo3, which is no ``Exception``."""


@pytest.mark.parametrize("error", [ValueError("x"), Panic("x"), asyncio.CancelledError()])
async def test_an_on_gap_that_fails_stops_nobody(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(topic: str, missed: int, reason: str) -> None:
        raise error

    me = fastws.subscriber(Foreign(), on_gap=broken)
    assert me.tell_gap("room", 1, "slow")
    assert caplog.messages == ["on_gap of a subscriber failed"]
    me.leave()


@pytest.mark.parametrize("on_gap", [Foreign.send_text, lambda topic: None])
async def test_an_on_gap_that_nobody_could_call(on_gap: Any) -> None:
    with pytest.raises(TypeError, match="on_gap="):
        fastws.subscriber(Foreign(), on_gap=on_gap)


async def test_one_whose_send_fails_leaves() -> None:
    hub = fastws.Hub()
    ann = Foreign()
    hub.subscribe(fastws.subscriber(ann), "room")
    ann.closed = (1006, "")
    hub.publish("room", "into nothing")
    await settle()
    assert hub.count("room") == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_that_cannot_be_closed_is_left_behind() -> None:
    hub = fastws.Hub()
    ann = Foreign()

    async def close(code: int, reason: str) -> None:
        raise OSError("gone")

    ann.close = close  # type: ignore[method-assign]
    with fastws.subscriber(ann, limits=Limits(send_queue=1)) as a:
        hub.subscribe(a, "room")
        ann.gate.clear()
        for number in range(4):
            hub.publish("room", str(number))
            await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("given", [object(), {"type": "websocket"}, None])
async def test_what_is_no_websocket(given: Any) -> None:
    with pytest.raises(TypeError, match="a subscriber is"):
        fastws.subscriber(given)


# -- where the socket is ours -----------------------------------------------------------------------


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    async with fastws.serve(fastws.ASGI(app, lifespan="off"), "127.0.0.1", access_log=False) as server:
        yield f"ws://127.0.0.1:{server.port}/"


async def test_ours_is_written_to_directly() -> None:
    hub, subscribers = fastws.Hub(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        with pytest.raises(RuntimeError, match="accept"):
            fastws.subscriber(scope, send)
        await send({"type": "websocket.accept"})
        with fastws.subscriber(scope, send) as me:
            subscribers.append(me)
            assert fastws.subscriber(me) is me
            hub.subscribe(me, "room")
            while (event := await receive())["type"] == "websocket.receive":
                # In the order of the calls, whichever way they go.
                await send({"type": "websocket.send", "text": "before"})
                hub.publish("room", event["text"])
                await send({"type": "websocket.send", "text": "behind"})

    async with served(app) as url, fastws.connect(url) as ws:
        await ws.send("hello")
        assert [await ws.recv() for _ in range(3)] == ["before", "hello", "behind"]
        assert not subscribers[0].is_foreign
        assert hub.count("room") == 1
    await settle()
    assert hub.count("room") == 0


async def test_a_foreign_send_of_plain_asgi() -> None:
    hub, sent = fastws.Hub(), []

    async def send(event: Any) -> None:
        sent.append(event)

    with fastws.subscriber({"type": "websocket", "extensions": {}}, send) as me:
        hub.subscribe(me, "room")
        hub.publish("room", "text")
        hub.publish("room", b"bytes")
        await settle()
    assert sent == [
        {"type": "websocket.send", "text": "text"},
        {"type": "websocket.send", "bytes": b"bytes"},
    ]


async def test_in_aiohttp() -> None:
    hub = fastws.Hub()

    async def handler(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        with fastws.subscriber(websocket) as me:
            hub.subscribe(me, "room")
            async for message in websocket:
                hub.publish("room", message.data)
        return websocket

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        async with fastws.connect(url) as one, fastws.connect(url) as two:
            await until(lambda: hub.count("room") == 2)
            await one.send("text")
            await one.send(b"bytes")
            for ws in (one, two):
                assert [await ws.recv(), await ws.recv()] == ["text", b"bytes"]
    finally:
        await runner.cleanup()
    assert hub.count("room") == 0


async def test_one_of_aiohttp_is_evicted() -> None:
    calls: list[Any] = []

    class Response(Foreign):
        async def send_str(self, message: str) -> None:
            await self.gate.wait()

        async def close(self, *, code: int, message: bytes) -> None:  # type: ignore[override]
            calls.append((code, message))

    Response.send_text = None  # type: ignore[assignment, method-assign]
    hub, ann = fastws.Hub(), Response()
    with fastws.subscriber(ann, limits=Limits(send_queue=1)) as a:
        hub.subscribe(a, "room")
        ann.gate.clear()
        for number in range(4):
            hub.publish("room", str(number))
            await settle()
    assert calls == [(1008, b"too slow")]


async def test_one_that_has_left_joins_nothing() -> None:
    hub, told = fastws.Hub(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        hub.subscribe(fastws.subscriber(scope, send), "room")
        told.set()

    async with served(app) as url:
        async with fastws.connect(url):
            pass
        async with asyncio.timeout(5):
            await told.wait()
    assert hub.count("room") == 0


async def test_where_a_topic_begins_is_told() -> None:
    synced: list[object] = []
    me = fastws.subscriber(Foreign(), on_sync=synced.append)
    assert me.tell_sync("here") and synced == ["here"]
    assert not fastws.subscriber(Foreign()).tell_sync("here")


async def test_an_on_sync_that_fails_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(synced: object) -> None:
        raise ValueError("x")

    assert fastws.subscriber(Foreign(), on_sync=broken).tell_sync("here")
    assert caplog.messages == ["on_sync of a subscriber failed"]


@pytest.mark.parametrize("on_sync", [Foreign.send_text, lambda: None])
async def test_an_on_sync_that_nobody_could_call(on_sync: Any) -> None:
    with pytest.raises(TypeError, match="on_sync="):
        fastws.subscriber(Foreign(), on_sync=on_sync)
