"""Who talks often is read past its transport: what that must not change, on real sockets and both loops."""

from __future__ import annotations

import asyncio
import select
import socket
from contextlib import AsyncExitStack
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fastws
from fastws import WebSocket
from fastws.connection.pausing import SMALL_READS_BEFORE_POLLING
from fastws.loop.native import SLOTS, receive_many
from fastws.loop.poller import Poller
from fastws.loop.state import READ_BUFFER_BYTES, loop_state_of
from fastws.pubsub.hub import Hub
from fastws.testing.wire import TEXT, frame, handshake
from tests.kit import until
from tests.loop.poller.talking import Run, Script, Talker, epolls, served, talking, transport_reads

if receive_many is None:
    pytest.skip("the C modules are not built, or there is no epoll", allow_module_level=True)


#: A read of so many bytes fills a connection's part of the buffer.
SLOT = READ_BUFFER_BYTES // SLOTS


def test_who_talks_often(run: Run) -> None:
    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server, often=False) as talker:
            for _ in range(SMALL_READS_BEFORE_POLLING - 2):  # the request was a read too
                await talker.echo()
            assert transport_reads(server) == [True]
            await talker.echo()
            assert transport_reads(server) == [False]
            handler.heard.clear()
            for number in range(100):
                await talker.echo(str(number))
            assert transport_reads(server) == [False]
            assert handler.heard == [str(number) for number in range(100)]

    run(main())


def test_many_at_a_time(run: Run) -> None:
    """More than one call reads, and more than come before the rest of the loop has its turn."""

    async def main() -> None:
        async with served(Script()) as server, AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(talking(server)) for _ in range(5 * SLOTS)]
            for number in range(3):
                for index, talker in enumerate(talkers):
                    await talker.say(f"{index} {number}")
                for index, talker in enumerate(talkers):
                    assert (await talker.hear()).text == f"{index} {number}"
            assert not any(transport_reads(server))

    run(main())


def test_answers_of_one_turn_leave_together(run: Run) -> None:
    async def main() -> None:
        async with served(Script()) as server, talking(server) as talker:
            await talker.write(frame(TEXT, "a") + frame(TEXT, "b"))
            assert await talker.read() == frame(TEXT, "a", mask=None) + frame(TEXT, "b", mask=None)

    run(main())


@pytest.mark.parametrize("size", [SLOT - 100, SLOT, 10 * SLOT, 1_000_000])
def test_large_messages_between(run: Run, size: int) -> None:
    async def main() -> None:
        async with served(Script()) as server, talking(server) as talker:
            sending = asyncio.ensure_future(talker.write(frame(TEXT, "x" * size) + frame(TEXT, "behind")))
            assert (await talker.hear()).payload == b"x" * size
            assert (await talker.hear()).payload == b"behind"
            await sending
            for _ in range(2 * SMALL_READS_BEFORE_POLLING):
                await talker.echo()
            assert transport_reads(server) == [False]

    run(main())


def test_a_message_in_many_pieces(run: Run) -> None:
    async def main() -> None:
        async with served(Script()) as server, talking(server) as talker:
            data = frame(TEXT, "in pieces") + frame(TEXT, "more")
            for byte in data:
                await talker.write(bytes([byte]))
                await asyncio.sleep(0)
            assert [(await talker.hear()).text for _ in range(2)] == ["in pieces", "more"]

    run(main())


@pytest.mark.parametrize("listeners", [1, 2])
def test_callbacks_keep_their_context(run: Run, listeners: int) -> None:
    """In asyncio each connection has its own; in uvloop those of a listener have one."""
    who: ContextVar[str] = ContextVar("who")

    async def main() -> None:
        def answer(ws: WebSocket, message: str | bytes) -> None:
            ws.send_nowait(who.get())

        class Greeting(Script):
            def on_open(self, ws: WebSocket) -> None:
                if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
                    return
                who.set(ws.request.query)

        async with AsyncExitStack() as stack:
            talkers: list[tuple[int, Talker]] = []
            for number in range(2):
                if listeners == 2 or not number:
                    who.set(f"listener {number}")
                    server = await stack.enter_async_context(served(Greeting(answer)))
                for _ in range(2):
                    one = talking(server, often=False, path=f"/?{len(talkers)}")
                    talkers.append((number, await stack.enter_async_context(one)))
            shared = not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
            for _ in range(3 * SMALL_READS_BEFORE_POLLING):
                for index, (number, talker) in enumerate(talkers):
                    await talker.say("who?")
                    mine = f"listener {number if listeners == 2 else 0}" if shared else str(index)
                    assert (await talker.hear()).text == mine

    run(main())


@pytest.mark.parametrize("size", [20, 2 * SLOTS, 3 * SLOTS + 5])
def test_what_one_turn_publishes_is_joined(run: Run, size: int) -> None:
    """However many calls read it: with so few clients a turn does not wait for more."""

    async def main() -> None:
        hub = Hub()

        class Room(Script):
            def on_open(self, ws: WebSocket) -> None:
                super().on_open(ws)
                hub.subscribe(ws, "room")

        handler = Room()
        async with served(handler) as server, AsyncExitStack() as stack:
            talkers = [await stack.enter_async_context(talking(server)) for _ in range(size)]
            assert not any(transport_reads(server))
            joins = 0

            def publish(ws: WebSocket, message: str | bytes) -> None:
                hub.publish("room", "x")

            handler.do = publish
            for talker in talkers:
                talker.sock.send(frame(TEXT, "go"))
            data = b""
            while len(data) < 3 * size:
                joins += 1
                data += await talkers[0].read()
            assert joins == 1

    run(main())


def test_urgent_data(run: Run) -> None:
    """A read stops at it, without a word that there is more behind."""

    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            talker.sock.send(frame(TEXT, "one"))
            talker.sock.send(b"!", socket.MSG_OOB)
            talker.sock.send(frame(TEXT, "two"))
            assert [(await talker.hear()).text for _ in range(2)] == ["one", "two"]

    run(main())


def test_descriptors_that_come_along(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        async with fastws.serve(Script(), unix=path, access_log=False) as server:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, path)
                talker = Talker(sock)
                await talker.write(handshake())
                await talker.read()
                for _ in range(SMALL_READS_BEFORE_POLLING):
                    await talker.echo()
                assert transport_reads(server) == [False]
                socket.send_fds(sock, [frame(TEXT, "one")], [sock.fileno()])
                sock.send(frame(TEXT, "two"))
                assert [(await talker.hear()).text for _ in range(2)] == ["one", "two"]

    run(main())


def test_an_application_that_pauses(run: Run) -> None:
    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            [ws] = handler.sockets
            ws.pause_reading()
            await talker.say("waits")
            await asyncio.sleep(0.05)
            assert handler.heard[SMALL_READS_BEFORE_POLLING:] == []
            ws.resume_reading()
            assert (await talker.hear()).text == "waits"
            assert transport_reads(server) == [True]
            for _ in range(SMALL_READS_BEFORE_POLLING):
                await talker.echo()
            assert transport_reads(server) == [False]

    run(main())


def test_a_coroutine(run: Run) -> None:
    """Its inbox is small: reading stops and goes on."""

    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with served(echo, limits={"receive_queue": 2}) as server, talking(server) as talker:
            for number in range(300):
                await talker.say(str(number))
            assert [(await talker.hear()).text for _ in range(300)] == [str(number) for number in range(300)]

    run(main())


def test_no_descriptor_is_left_for_an_epoll(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        def none_left() -> None:
            raise OSError(24, "Too many open files")

        async with AsyncExitStack() as stack:
            with monkeypatch.context() as patch:
                patch.setattr(select, "epoll", none_left)
                server = await stack.enter_async_context(served(Script()))
                talker = await stack.enter_async_context(talking(server, often=False))
                for _ in range(3 * SMALL_READS_BEFORE_POLLING):
                    await talker.echo()
                assert transport_reads(server) == [True]
            for _ in range(SMALL_READS_BEFORE_POLLING):
                await talker.echo()
            assert transport_reads(server) == [False]

    run(main())


def test_a_server_has_its_epoll_from_the_beginning_to_the_end(run: Run) -> None:
    """So that who counts the files of a process finds as many before it has talked often as after."""

    async def main() -> None:
        before = epolls()
        async with served(Script()) as server:
            assert epolls() == before + 1
            async with talking(server):
                assert epolls() == before + 1
            await until(lambda: not server.connections)
            assert epolls() == before + 1
        assert epolls() == before

    run(main())


def test_a_loop_without_readers(run: Run) -> None:
    async def main() -> None:
        def add_reader(*_: object) -> None:
            raise NotImplementedError

        context = loop_state_of(asyncio.get_running_loop())
        loop: Any = SimpleNamespace(add_reader=add_reader)
        context.poller = Poller(loop, context.turn, context.wakeups, memoryview(bytearray(SLOTS)))
        async with served(Script()) as server, talking(server, often=False) as talker:
            for _ in range(2 * SMALL_READS_BEFORE_POLLING):
                await talker.echo()
            assert transport_reads(server) == [True]

    run(main())


def test_a_client(run: Run) -> None:
    """Both ends are ours, and in one loop."""

    async def main() -> None:
        async with (
            served(Script()) as server,
            fastws.connect(f"ws://127.0.0.1:{server.port}/") as ws,
        ):
            for number in range(100):
                await ws.send(str(number))
                assert await ws.recv() == str(number)
            assert transport_reads(server) == [False]

    run(main())
