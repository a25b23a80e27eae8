"""``fastws.serve`` inside another program: it leaves the loop as it found it."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import threading
from collections.abc import Awaitable, Callable

import pytest

import fastws
from tests.client.loops import both_loops
from tests.client.peers import connected
from tests.kit.process import open_files, rss

pytestmark = pytest.mark.live


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def say(port: int, message: str = "hello") -> str | bytes:
    async with fastws.connect(f"ws://127.0.0.1:{port}/") as ws:
        await ws.send(message)
        return await ws.recv()


@pytest.mark.slow
@both_loops
async def test_a_thousand_starts_and_stops_leave_nothing() -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    async def rounds(count: int) -> None:
        for number in range(count):
            async with fastws.serve(echo, "127.0.0.1", access_log=False) as server:
                if number % 10 == 0:
                    assert await say(server.port) == "hello"

    await rounds(50)
    gc.collect()
    descriptors, memory = open_files(), rss()
    await rounds(1000)
    await asyncio.sleep(0.05)
    gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert open_files() == descriptors
    assert rss() - memory < 5 * 1024 * 1024
    assert {number: signal.getsignal(number) for number in handlers} == handlers


@both_loops
async def test_beside_another_server_of_the_same_loop() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    neighbour = await asyncio.start_server(other, "127.0.0.1", 0)
    async with fastws.serve(echo, "127.0.0.1") as one, fastws.serve(echo, "127.0.0.1") as two:
        assert [await say(one.port), await say(two.port)] == ["hello", "hello"]
    reader, writer = await asyncio.open_connection(*neighbour.sockets[0].getsockname())
    writer.write(b"still here\n")
    assert await reader.readline() == b"still here\n"
    writer.close()
    neighbour.close()


@both_loops
async def test_on_a_socket_that_it_is_given() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    async with fastws.serve(echo, sock=sock) as server:
        assert server.port == sock.getsockname()[1]
        assert await say(server.port) == "hello"
    assert sock.fileno() == -1


class LoopInThread:
    """A second loop, in a thread of its own."""

    def __init__(self, main: Callable[[], Awaitable[None]]) -> None:
        self._main = main
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            asyncio.run(asyncio.wait_for(self._main(), 20))  # type: ignore[arg-type]
        except BaseException as exc:
            self._error = exc

    async def __aenter__(self) -> LoopInThread:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._thread.join)
        if self._error is not None:
            raise self._error


@both_loops
async def test_a_second_loop_in_a_thread_has_a_server_of_its_own() -> None:
    async def main() -> None:
        async with fastws.serve(echo, "127.0.0.1") as server:
            for number in range(50):
                assert await say(server.port, str(number)) == str(number)

    async with LoopInThread(main), fastws.serve(echo, "127.0.0.1") as server:
        for number in range(50):
            assert await say(server.port, str(number)) == str(number)


@both_loops
async def test_publishing_from_the_loop_of_another_thread() -> None:
    hub = fastws.Hub()

    async def listen(ws: fastws.WebSocket) -> None:
        hub.subscribe(ws, "news")
        await ws.send("ready")
        await ws.wait_closed()

    async def main() -> None:
        for number in range(100):
            hub.publish_threadsafe("news", str(number))
            await asyncio.sleep(0)

    hub.publish_threadsafe("news", "to nobody")
    async with connected(listen) as ws:
        assert await ws.recv() == "ready"
        async with LoopInThread(main):
            assert [await ws.recv() for _ in range(100)] == [str(number) for number in range(100)]
