"""A member that does not read: what waits, what is dropped, and that it is told exactly."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import fastws
from fastws.pubsub.bus.bus import Bus
from fastws.pubsub.bus.records import Decoder, Kind, hello
from tests.kit import until
from tests.kit.buses import Member, members

SIZE = 60_000


async def deaf(bus: Bus) -> socket.socket:
    """Return the end of a socket to a member that reads when the test does."""
    ours, theirs = socket.socketpair()
    bus.add_peer(ours, 9)
    await bus.start()
    theirs.settimeout(0)
    theirs.send(hello(9))
    return theirs


@pytest.mark.parametrize("messages", [20, 600])
async def test_who_does_not_read_misses_nothing_below_the_bound_and_is_told_above(messages: int) -> None:
    bus = Bus(1, max_waiting=6_000_000)
    member = Member(bus)
    sock = await deaf(bus)
    for number in range(messages):
        member.hub.publish("tu"[number % 2], f"{number:06}" + "x" * SIZE)
        bus.outgoing.flush()
    member.hub.publish("t", "last")
    got: dict[bytes, list[tuple[int, int, int]]] = {}
    decoder = Decoder()

    def read() -> bool:
        try:
            for record in decoder.feed(sock.recv(1 << 20)):
                if record.kind in (Kind.RUN, Kind.GAP):
                    got.setdefault(record.key, []).append((record.kind, record.number, record.amount))
        except BlockingIOError:
            pass
        total = sum(amount for records in got.values() for _, _, amount in records)
        assert total <= messages + 1
        return total == messages + 1

    await until(read)
    expected = {b"default\0t": 1, b"default\0u": 1}
    for key, records in got.items():
        for kind, number, amount in records:
            # A run's number is that of its first message, a gap's that of the next one.
            assert number == expected[key] + (amount if kind == Kind.GAP else 0)
            expected[key] += amount
    assert expected == {b"default\0t": messages // 2 + 2, b"default\0u": messages // 2 + 1}
    dropped = any(kind == Kind.GAP for records in got.values() for kind, _, _ in records)
    assert dropped == (messages == 600)
    sock.close()
    await bus.close()


async def test_listeners_and_counters_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async with members(2) as (one, two):
        assert one.bus is not None and two.bus is not None
        listener, other = two.listener("t"), two.listener("u")
        one.hub.publish("t", "1")
        await until(lambda: listener.take() == ["1"])
        [lane] = [lane for _, lane in one.bus.lanes.values()]
        one.bus.peers[0].dropped[lane] = 3
        lane.number += 3
        one.hub.publish("t", "5")
        await until(lambda: listener.take() == ["5"])
        assert (listener.gaps, other.gaps, two.bus.missed) == ([("t", 3, "bus")], [], 3)
        lane.number += 2
        lane.is_told = False
        one.bus._tick()
        await until(lambda: two.bus.missed == 5)  # type: ignore[union-attr]
        two.bus._tick()
        assert "missed 5 messages of process 0" in caplog.text


async def test_every_kind_of_application_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one turn more is published than the kernel and the bound take."""
    monkeypatch.setattr("fastws.pubsub.bus.peer.SOCKET_BUFFER_BYTES", 50_000)
    told: dict[str, list[tuple[str, int, str]]] = {}

    def teller(name: str) -> Callable[[str, int, str], object]:
        return lambda *gap: told.setdefault(name, []).append(gap)

    async with members(2, bus_options={"max_waiting": 100_000}) as (one, two), AsyncExitStack() as stack:
        hub = two.hub

        class Handler(fastws.Handler):
            def on_open(self, ws: fastws.WebSocket) -> None:
                hub.subscribe(ws, "t")

            def on_gap(self, ws: fastws.WebSocket, topic: str, missed: int, reason: str) -> None:
                teller("handler")(topic, missed, reason)
                ws.send_nowait(f"missed {missed}")

        async def coroutine(ws: fastws.WebSocket) -> None:
            with fastws.subscriber(ws, on_gap=teller("coroutine")) as me:
                assert not me.is_foreign
                hub.subscribe(me, "t")
                async for _ in ws:
                    pass

        async def starlette(websocket: WebSocket) -> None:
            await websocket.accept()
            with fastws.subscriber(websocket, on_gap=teller("starlette")) as me:
                hub.subscribe(me, "t")
                async for _ in websocket.iter_text():
                    pass

        async def in_aiohttp(request: web.Request) -> web.WebSocketResponse:
            websocket = web.WebSocketResponse()
            await websocket.prepare(request)
            with fastws.subscriber(websocket, on_gap=broken) as me:
                hub.subscribe(me, "t")
                async for _ in websocket:
                    pass
            return websocket

        def broken(topic: str, missed: int, reason: str) -> None:
            teller("aiohttp")(topic, missed, reason)
            raise ZeroDivisionError

        asgi = fastws.ASGI(Starlette(routes=[WebSocketRoute("/", starlette)]), lifespan="off")
        urls = []
        for app in (Handler(), coroutine, asgi):
            server = await stack.enter_async_context(fastws.serve(app, "127.0.0.1", 0))
            urls.append(f"ws://127.0.0.1:{server.port}/")
        aiohttp = web.Application()
        aiohttp.router.add_get("/", in_aiohttp)
        runner = web.AppRunner(aiohttp)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        urls.append(f"ws://127.0.0.1:{runner.addresses[0][1]}/")
        clients = [await stack.enter_async_context(fastws.connect(url)) for url in urls]
        await until(lambda: hub.count("t") == len(clients))
        assert one.bus is not None and two.bus is not None
        for number in range(40):
            one.hub.publish("t", f"{number}".ljust(20_000))
            one.bus.outgoing.flush()
        await until(lambda: two.bus.missed)  # type: ignore[union-attr]
        missed = two.bus.missed
        one.hub.publish("t", "last")
        for number, ws in enumerate(clients):
            heard = []
            while not heard or heard[-1] != "last":
                heard.append(str(await ws.recv()).strip())
            expected = [str(n) for n in range(40 - missed)]
            assert heard == [*expected, *([f"missed {missed}"] if number == 0 else []), "last"]
        assert told == {
            name: [("t", missed, "bus")] for name in ("handler", "coroutine", "starlette", "aiohttp")
        }
        assert caplog.text.count("on_gap of a subscriber failed") == 1


@pytest.mark.parametrize("bad", [b"rubbish" * 10, hello(8)])
async def test_who_sends_no_records_is_dropped_alone(bad: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with members(2) as (one, two):
        assert one.bus is not None
        ours, theirs = socket.socketpair()
        one.bus.add_peer(ours, 9)
        theirs.send(bad)
        await until(lambda: len(one.bus.peers) == 1)  # type: ignore[union-attr]
        assert caplog.text.count("process 9 is dropped") == 1
        listener = two.listener("t")
        one.hub.publish("t", "on")
        await until(lambda: listener.take() == ["on"])
        theirs.close()


async def test_above_so_many_peers_only_what_is_followed_is_sent() -> None:
    async with members(3, bus_options={"flooded_peers": 1}) as found:
        one, two, three = found
        listener = two.listener("t")
        assert one.bus is not None
        await until(lambda: sum(peer.follows == {b"default\0t"} for peer in one.bus.peers) == 1)  # type: ignore[union-attr]
        for text in ("1", "2"):
            one.hub.publish("t", text)
            one.hub.publish("nobody", text)
        texts: list[str] = []
        await until(lambda: texts.extend(listener.take()) or len(texts) == 2)
        late = three.listener("t")
        await until(lambda: all(peer.follows == {b"default\0t"} for peer in one.bus.peers))  # type: ignore[union-attr]
        one.hub.publish("t", "3")
        await until(lambda: late.take() == ["3"])
        assert (texts, late.gaps, listener.gaps) == (["1", "2"], [], [])
        for bus in (two.bus, three.bus):
            assert bus is not None
            assert not any(b"default\0nobody" in peer.incoming for peer in bus.peers)


async def test_two_hubs_of_one_name() -> None:
    bus = Bus(1)
    kept = Member(bus)
    with pytest.raises(ValueError, match=r"already.*Hub\(\"chat\"\)"):
        Member(bus)
    assert Member(None).hub.name == kept.hub.name


async def test_a_closed_bus_collects_nothing() -> None:
    async with members(2) as (one, two):
        assert one.bus is not None
        listener = one.listener("t")
        one.hub.publish("t", "before")
        await one.bus.close()
        for number in range(1000):
            one.hub.publish("t", str(number))
            one.hub.publish("nobody", "x" * 1000)
        await asyncio.to_thread(one.hub.publish_threadsafe, "t", "late")
        assert (one.bus.outgoing.runs, one.bus._early) == ([], [])
        heard: list[str] = []
        await until(lambda: heard.extend(listener.take()) or heard[-1:] == ["late"])
        assert heard == ["before", *map(str, range(1000)), "late"]
        assert two.hub.count("t") == 0
