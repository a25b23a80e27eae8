"""A connect() that is cancelled, and a block that is left: no task and no socket goes on."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

import fastws
from fastws.client.happy_eyeballs import create_connection
from fastws.client.proxy import _TunnelProtocol
from fastws.errors import ProxyError
from fastws.protocol.http.connect import Tunnel
from tests.client.loops import both_loops
from tests.client.peers import echo, listening
from tests.kit import until
from tests.kit.process import open_files

pytestmark = pytest.mark.live


class Lasting:
    """A coroutine handler that goes on when its WebSocket has closed, and takes its time when cancelled."""

    def __init__(self, turns: int = 3) -> None:
        self.turns = turns
        self.begun = self.ended = 0

    async def __call__(self, ws: fastws.WebSocket) -> None:
        self.begun += 1
        try:
            await asyncio.sleep(3600)
        finally:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            self.ended += 1


async def opened(*args: Any, **options: Any) -> fastws.WebSocket:
    return await fastws.connect(*args, **options)


@pytest.mark.parametrize("streaming", [False, True])
@both_loops
async def test_cancelled_in_the_turn_in_which_it_opens(streaming: bool) -> None:
    class Cancelling(Lasting):
        async def __call__(self, ws: fastws.WebSocket) -> None:
            connecting.cancel()
            await super().__call__(ws)

    handler = Cancelling()
    async with fastws.serve(echo, "127.0.0.1") as server:
        connecting = asyncio.ensure_future(
            opened(f"ws://127.0.0.1:{server.port}/", handler=handler, streaming=streaming)
        )
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert (handler.begun, handler.ended) == (1, 1)


@both_loops
async def test_cancelled_there_it_ends_no_other_handler() -> None:
    """Not that of a WebSocket that the same connect() opened before."""
    ended: list[str] = []

    async def handler(ws: fastws.WebSocket) -> None:
        name = "second" if connecting else "first"
        if connecting:
            connecting[0].cancel()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(name)

    connecting: list[asyncio.Task[fastws.WebSocket]] = []
    async with fastws.serve(echo, "127.0.0.1") as server:
        connect = fastws.connect(f"ws://127.0.0.1:{server.port}/", handler=handler)
        before = asyncio.all_tasks()
        ws = await connect
        await ws.close()
        first = next(task for task in asyncio.all_tasks() - before if "_run" in repr(task))

        async def again() -> fastws.WebSocket:
            return await connect

        connecting.append(asyncio.ensure_future(again()))
        with pytest.raises(asyncio.CancelledError):
            await connecting[0]
        assert ended == ["second"]
        first.cancel()
        await asyncio.wait([first])


@both_loops
async def test_the_handler_has_ended_when_the_block_is_left() -> None:
    handler = Lasting()
    async with fastws.serve(echo, "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with fastws.connect(url, handler=handler, timeouts={"close": 0.1}) as ws:
            await asyncio.sleep(0)
        assert ws.closed
        assert (handler.begun, handler.ended) == (1, 1)
        async for _ in fastws.connect(url, handler=handler, timeouts={"close": 0.1}):
            break
        await until(lambda: handler.ended == 2)  # the loop's block is closed by the generator's hooks


@both_loops
async def test_a_handler_that_ends_by_itself_is_not_cancelled() -> None:
    heard: list[object] = []

    async def handler(ws: fastws.WebSocket) -> None:
        async for message in ws:
            heard.append(message)
        for _ in range(3):
            await asyncio.sleep(0)
        heard.append("end")

    async with fastws.serve(echo, "127.0.0.1") as server:
        async with fastws.connect(f"ws://127.0.0.1:{server.port}/", handler=handler):
            pass
        assert heard == ["end"]


@both_loops
async def test_a_block_that_is_cancelled_while_it_waits_for_the_handler() -> None:
    handler = Lasting()
    left = asyncio.Event()

    async def block(url: str) -> None:
        async with fastws.connect(url, handler=handler):
            left.set()

    async with fastws.serve(echo, "127.0.0.1") as server:
        task = asyncio.ensure_future(block(f"ws://127.0.0.1:{server.port}/"))
        await left.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (handler.begun, handler.ended) == (1, 1)


@both_loops
async def test_a_handler_that_refuses_to_end_is_left_in_time() -> None:
    release = asyncio.Event()

    async def handler(ws: fastws.WebSocket) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with fastws.serve(echo, "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with fastws.connect(url, handler=handler, timeouts={"close": 0.05}) as ws:
            pass
        assert ws.closed
        release.set()


@both_loops
async def test_a_block_that_its_own_handler_leaves() -> None:
    """It cannot wait for itself."""
    entered, done = asyncio.Event(), asyncio.Event()

    async def handler(ws: fastws.WebSocket) -> None:
        await entered.wait()
        await connect.__aexit__(None, None, None)
        done.set()

    async with fastws.serve(echo, "127.0.0.1") as server:
        connect = fastws.connect(f"ws://127.0.0.1:{server.port}/", handler=handler)
        await connect.__aenter__()
        entered.set()
        await done.wait()


@both_loops
async def test_cancelled_when_the_race_of_addresses_is_won() -> None:
    loop = asyncio.get_running_loop()
    real = loop.sock_connect
    tried = 0

    async def sock_connect(sock: socket.socket, address: Any) -> None:
        nonlocal tried
        tried += 1
        if tried > 1:
            await real(sock, address)
            return
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:  # it has lost
            connecting.cancel()
            await asyncio.sleep(0)
            raise

    async def getaddrinfo(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))] * 2

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with pytest.MonkeyPatch.context() as monkeypatch:
        async with listening(silent) as port:
            monkeypatch.setattr(loop, "sock_connect", sock_connect)
            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            connecting = asyncio.ensure_future(
                create_connection(loop, asyncio.Protocol, "server.test", port, stagger=0.0)
            )
            with pytest.raises(asyncio.CancelledError):
                await connecting
            await until(lambda: not any(_goes_to(each, port) for each in gc.get_objects()))
    assert tried == 2


def _goes_to(sock: object, port: int) -> bool:
    """Whether something is an open socket whose peer has this port."""
    if type(sock) is not socket.socket or sock.fileno() < 0:
        return False
    try:
        peer = sock.getpeername()
    except OSError:
        return False
    return bool(peer[1:2] == (port,))


@both_loops
async def test_the_end_of_a_proxy_that_nobody_awaits() -> None:
    """connect() was cancelled before the proxy's connection was told; asyncio would log the exception."""
    protocol = _TunnelProtocol(Tunnel("a:1"), None)
    protocol.connection_lost(None)
    assert isinstance(protocol.answered.exception(), ProxyError)
    silent = _TunnelProtocol(Tunnel("a:1"), None)
    silent.connection_lost(None)
    del silent
    gc.collect()  # the loop's handler of exceptions has heard nothing: see ``both_loops``


@pytest.mark.parametrize("turns", range(12))
@both_loops
async def test_cancelled_on_the_way_to_a_proxy(turns: int) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with listening(hang_up) as port:
        before = open_files()
        task = asyncio.ensure_future(opened("ws://server.test/", proxy=f"http://127.0.0.1:{port}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ProxyError)):
            await task
        del task
        gc.collect()
        await until(lambda: open_files() <= before)
