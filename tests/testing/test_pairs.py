"""A server and a client in memory: their block, their ends, their clock."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

import fastws
from fastws.testing import Clock, ManualLoop, Recorder, live, pair, until
from tests.client.loops import both_loops

MIB = 1024 * 1024


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


class TestBlock:
    @both_loops
    async def test_messages_go_there_and_back(self) -> None:
        async with pair(echo) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            await ws.send(b"x" * 3 * MIB)
            with pytest.raises(fastws.ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.code == 1009

    @both_loops
    async def test_what_it_is_given_goes_to_both_sides(self) -> None:
        seen: list[Any] = []

        async def room(ws: fastws.WebSocket) -> None:
            assert ws.request is not None
            seen.append((ws.request.path_params["name"], ws.request.headers["x-name"], ws.subprotocol))

        routes = [fastws.Route("/room/{name}", room, subprotocols=["chat"])]
        link = pair(
            routes,
            "/room/blue?x=1",
            client={"headers": {"X-Name": "n"}, "subprotocols": ["chat"]},
            headers=[("X-Server", "mine")],
        )
        async with link as ws:
            assert ws.response is not None
            assert ws.response.headers["x-server"] == "mine"
            await ws.wait_closed()
        assert seen == [("blue", "n", "chat")]

    @both_loops
    async def test_more_clients(self) -> None:
        hub = fastws.Hub()

        async def listen(ws: fastws.WebSocket) -> None:
            hub.subscribe(ws, "all")
            await ws.wait_closed()

        link = pair(listen)
        async with link as one:
            two = await link.connect("/other")
            await until(lambda: hub.count("all") == 2, "two subscribers")
            assert hub.publish("all", "news") == 2
            assert [await one.recv(), await two.recv()] == ["news", "news"]
            assert len(link.server.connections) == 2
            assert link.ends(1)[0].transport.other is link.ends(1)[1].transport
        assert hub.count("all") == 0

    @both_loops
    async def test_a_refusal_leaves_nothing(self) -> None:
        link = pair([fastws.Route("/", echo)], "/nothing")
        with pytest.raises(fastws.HandshakeRefused) as caught:
            await link.__aenter__()
        assert caught.value.response.status == 404
        with pytest.raises(RuntimeError, match="inside"):
            link.server  # noqa: B018

    @both_loops
    async def test_a_handler_that_never_returns_is_cancelled(self) -> None:
        ended: list[str] = []

        async def never(ws: fastws.WebSocket) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        async with pair(never) as ws:
            await ws.send("hello")
        assert ended == ["cancelled"]

    async def test_only_inside_of_its_block(self) -> None:
        link = pair(echo)
        for ask in (lambda: link.server, lambda: link.client_end, lambda: link.server_end):
            with pytest.raises(RuntimeError):
                ask()
        with pytest.raises(RuntimeError):
            await link.connect()
        async with link:
            with pytest.raises(RuntimeError, match="once at a time"):
                await link.__aenter__()
            with pytest.raises(RuntimeError, match="number 1"):
                link.ends(1)
        async with link as ws:
            await ws.send("again")
            assert await ws.recv() == "again"

    def test_on_a_manual_loop(self, fastws_loop: ManualLoop) -> None:
        async def main() -> float:
            async with pair(echo) as ws:
                await asyncio.sleep(3600)
                await ws.send("hello")
                assert await ws.recv() == "hello"
                assert ws.latency is not None
            return fastws_loop.time()

        assert fastws_loop.run(main()) >= 4600

    @both_loops
    async def test_a_live_server(self) -> None:
        site = live(echo)
        with pytest.raises(RuntimeError, match="inside"):
            site.url  # noqa: B018
        async with site, fastws.connect(site.url) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            assert site.url == f"ws://127.0.0.1:{site.server.port}"


class TestEnds:
    @both_loops
    async def test_a_client_that_stalls_is_slow(self) -> None:
        recorder = Recorder()
        link = pair(recorder, limits={"send_queue": 2})
        async with link:
            link.client_end.stall()
            sent = [recorder.ws.send_nowait("x") for _ in range(5)]
            # What is sent in one turn meets the socket at its end.
            await asyncio.sleep(0)
            sent += [recorder.ws.send_nowait("y" * 1000) for _ in range(4)]
            assert fastws.SendStatus.SENT in sent
            assert sent[-1] is fastws.SendStatus.DROPPED
            assert recorder.ws.buffered_amount > 1000
            link.client_end.read()
            await until(lambda: ("writable",) in recorder.events, "on_writable")
            assert recorder.ws.buffered_amount == 0

    @both_loops
    async def test_a_slow_client_gets_everything_in_its_time(self) -> None:
        async def push(ws: fastws.WebSocket) -> None:
            for number in range(10):
                await ws.send(str(number) * 1000)
            await ws.wait_closed()

        clock = Clock()
        link = pair(push, clock=clock, capacity=1000)
        async with link as ws:
            link.client_end.read_slowly(500, 1.0)
            got: list[str | bytes] = []

            async def collect() -> None:
                got.extend([await ws.recv() for _ in range(10)])

            task = asyncio.ensure_future(collect())
            await clock.advance(8)
            assert len(got) == 0
            await clock.advance(4)
            assert not task.done()
            await clock.advance(20)
            await task
            assert [message[0] for message in got] == list("0123456789")
            link.client_end.read()

    @both_loops
    async def test_a_client_that_vanishes_is_noticed_by_its_pong(self) -> None:
        recorder = Recorder()
        clock = Clock()
        link = pair(recorder, clock=clock, timeouts={"ping_interval": 20, "ping_timeout": 5})
        async with link:
            await clock.advance(19)
            link.client_end.vanish()
            await clock.advance(5)
            assert recorder.closes() == []
            await clock.advance(2)
            assert [code for code, _ in recorder.closes()] == [1006]

    @both_loops
    async def test_a_server_that_vanishes_is_noticed_by_the_client(self) -> None:
        clock = Clock()
        link = pair(echo, clock=clock, client={"timeouts": {"ping_interval": 10, "ping_timeout": 5}})
        async with link as ws:
            link.server_end.vanish()
            await clock.advance(16)
            with pytest.raises(fastws.ConnectionClosedError):
                await ws.recv()

    @both_loops
    async def test_a_server_that_stalls_makes_the_client_wait(self) -> None:
        link = pair(echo, capacity=1000)
        async with link as ws:
            link.server_end.stall()
            message = os.urandom(100_000)
            sending = asyncio.ensure_future(ws.send(message))
            await asyncio.sleep(0.02)
            assert not sending.done()
            link.server_end.read(50_000)
            await asyncio.sleep(0.02)
            assert not sending.done()
            link.server_end.read()
            await sending
            assert await ws.recv() == message

    @both_loops
    async def test_a_reset(self) -> None:
        recorder = Recorder()
        link = pair(recorder)
        async with link as ws:
            link.client_end.reset()
            await ws.wait_closed()
            await until(recorder.closes, "on_close")
            assert recorder.closes()[0][0] == 1006


async def test_a_timer_that_is_set_again_because_it_fires_early_by_a_rounding_waits_for_its_time() -> None:
    times: list[float] = []
    with Clock() as clock:
        loop = asyncio.get_running_loop()
        due = clock.time() + 0.1 + 1e-9

        def fire() -> None:
            times.append(loop.time())
            if loop.time() < due and len(times) < 10:
                loop.call_at(due, fire)

        loop.call_at(due, fire)
        loop.call_at(clock.time() + 0.1, int)
        await clock.advance(0.2)
    assert times[-1] >= due
    assert len(times) <= 2


class TestClock:
    @both_loops
    async def test_pings_and_latency(self) -> None:
        clock = Clock()
        async with pair(echo, clock=clock) as ws:
            assert ws.latency is None
            await clock.advance(19.9)
            assert ws.latency is None
            await clock.advance(0.2)
            assert ws.latency == 0.0

    @both_loops
    async def test_the_write_limit(self) -> None:
        recorder = Recorder()
        clock = Clock()
        link = pair(recorder, clock=clock, timeouts={"write": 10, "ping_interval": None})
        async with link:
            link.client_end.stall()
            recorder.ws.send_nowait("x" * 100)
            await clock.advance(9.9)
            assert recorder.closes() == []
            await clock.advance(0.2)
            assert [code for code, _ in recorder.closes()] == [1006]

    @both_loops
    async def test_the_handshake_and_asyncio_itself(self) -> None:
        async def decide(request: fastws.Request) -> None:
            await asyncio.sleep(60)

        clock = Clock()
        link = pair([fastws.Route("/", echo, authorize=decide)], clock=clock, timeouts={"handshake": 5})
        connecting = asyncio.ensure_future(link.__aenter__())
        await asyncio.sleep(0)
        await clock.advance(4.9)
        assert not connecting.done()
        await clock.advance(0.2)
        with pytest.raises(fastws.HandshakeRefused) as caught:
            await connecting
        assert caught.value.response.status == 503

    @both_loops
    async def test_the_loop_has_its_time_back(self) -> None:
        loop = asyncio.get_running_loop()
        before = {name: getattr(loop, name) for name in ("time", "call_at", "call_later")}
        clock = Clock()
        with clock:
            woken = asyncio.ensure_future(asyncio.sleep(0.02))
            with clock:
                start = loop.time()
                await clock.advance(0.01)
            assert loop.time() == start + 0.01
            assert clock.timers == [pytest.approx(0.01)]
            with pytest.raises(ValueError, match="forward"):
                await clock.advance(-1)
            assert not woken.done()
        assert {name: getattr(loop, name) for name in before} == before
        await woken

    async def test_one_loop_at_a_time(self) -> None:
        clock = Clock()

        async def enter() -> None:
            with clock:
                pass

        with clock:
            with pytest.raises(RuntimeError, match="one event loop"):
                await asyncio.to_thread(lambda: asyncio.run(enter()))
            cancelled = asyncio.get_running_loop().call_later(1, pytest.fail)
            cancelled.cancel()
            await clock.advance(2)

    def test_a_manual_loop_has_its_own(self, fastws_loop: ManualLoop) -> None:
        with pytest.raises(TypeError, match="advance"):
            Clock().__enter__()


async def test_a_pair_runs_the_hooks_of_an_application() -> None:
    told: list[str] = []

    async def echo(ws: fastws.WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    app = fastws.Application(
        echo,
        on_startup=[lambda server: told.append("began")],
        on_shutdown=[lambda server: told.append("ended")],
    )
    async with pair(app) as ws:
        await ws.send("hello")
        assert (await ws.recv(), told) == ("hello", ["began"])
    assert told == ["began", "ended"]
