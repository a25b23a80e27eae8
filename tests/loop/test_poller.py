"""Who talks often is read past its transport: what that must not change, on real sockets and both loops."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fastws
from fastws import Handler, Server, WebSocket
from fastws.connection.pausing import SMALL_READS_BEFORE_POLLING
from fastws.loop.native import SLOTS, receive_many
from fastws.loop.poller import Poller
from fastws.loop.state import READ_BUFFER_BYTES, loop_state_of
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CLOSE, TEXT, Frame, frame, handshake, read_frames

if receive_many is None:
    pytest.skip("the C modules are not built, or there is no epoll", allow_module_level=True)

#: A read of so many bytes fills a connection's part of the buffer.
SLOT = READ_BUFFER_BYTES // SLOTS

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a real loop, which shall report nothing; and no epoll may stay open."""
    if request.param == "uvloop":
        loop: Any = pytest.importorskip("uvloop").new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    before = epolls()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(asyncio.wait_for(coroutine, 20))

    run.loop = loop  # type: ignore[attr-defined]
    yield run
    assert epolls() == before
    loop.close()
    assert not errors


def epolls() -> int:
    folder = Path("/proc/self/fd")
    return sum("eventpoll" in os.readlink(each) for each in folder.iterdir() if each.is_symlink())


class Script(Handler):
    """Echoes, and keeps what it has heard; ``do`` may say what happens at a message."""

    def __init__(self, do: Callable[[WebSocket, str | bytes], object] | None = None) -> None:
        self.do = do
        self.sockets: list[WebSocket] = []
        self.heard: list[str | bytes] = []
        self.ends: list[int] = []

    def on_open(self, ws: WebSocket) -> None:
        self.sockets.append(ws)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self.heard.append(message)
        if self.do is None:
            ws.send_nowait(message)
        else:
            self.do(ws, message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self.ends.append(code)


class Talker:
    """A client made of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self._received = b""

    async def write(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def say(self, text: str) -> None:
        await self.write(frame(TEXT, text))

    async def hear(self) -> Frame:
        while True:
            frames, _ = read_frames(self._received)
            if frames:
                self._received = self._received[len(frame(frames[0].opcode, frames[0].payload, mask=None)) :]
                return frames[0]
            data = await self.read()
            assert data, "the server has ended"
            self._received += data

    async def read(self) -> bytes:
        return await self.loop.sock_recv(self.sock, 1 << 16)

    async def echo(self, text: str = "again") -> None:
        await self.say(text)
        assert (await self.hear()).payload == text.encode()


@asynccontextmanager
async def served(handler: Any, **settings: Any) -> AsyncIterator[Server]:
    async with fastws.serve(handler, "127.0.0.1", 0, access_log=False, **settings) as server:
        yield server


@asynccontextmanager
async def talking(server: Server, *, often: bool = True, path: str = "/") -> AsyncIterator[Talker]:
    """A client that has talked so often that the poller reads from it."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", server.port))
        talker = Talker(sock)
        await talker.write(handshake(path))
        assert (await talker.read()).startswith(b"HTTP/1.1 101")
        if often:
            for _ in range(SMALL_READS_BEFORE_POLLING):
                await talker.echo()
            assert not transport_reads(server)[-1]
        yield talker


def transport_reads(server: Server) -> list[bool]:
    """Of each connection, whether its transport reads: it does not while the poller does."""
    return [connection.transport.is_reading() for connection in server.connections]


async def until(true: Callable[[], object]) -> None:
    while not true():
        await asyncio.sleep(0.001)


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


def test_a_close_frame(run: Run) -> None:
    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            await talker.write(frame(TEXT, "last") + frame(CLOSE, struct.pack("!H", 1000)))
            assert (await talker.hear()).text == "last"
            assert (await talker.hear()).close_code == 1000
            assert await talker.read() == b""
            await until(lambda: not server.connections)
            assert handler.ends == [1000]

    run(main())


def test_a_frame_that_fails(run: Run) -> None:
    """Ours is read to its end, so that the close frame arrives."""

    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            await talker.write(frame(TEXT, "unmasked", mask=None))
            assert (await talker.hear()).close_code == 1002
            assert await talker.read() == b""
            await talker.write(bytes(100_000))
            talker.sock.shutdown(socket.SHUT_WR)
            await until(lambda: not server.connections)
            assert handler.ends == [1002]

    run(main())


@pytest.mark.parametrize("last", [b"", frame(TEXT, "last words")])
def test_the_end_of_tcp(run: Run, last: bytes) -> None:
    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            if last:
                await talker.write(last)
            talker.sock.shutdown(socket.SHUT_WR)
            await until(lambda: not server.connections)
            assert handler.ends == [1006]
            assert handler.heard[SMALL_READS_BEFORE_POLLING:] == (["last words"] if last else [])

    run(main())


def test_a_reset(run: Run) -> None:
    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            talker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            talker.sock.close()
            await until(lambda: not server.connections)
            assert handler.ends == [1006]

    run(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_our_end(run: Run, how: str) -> None:
    async def main() -> None:
        handler = Script()
        async with served(handler) as server, talking(server) as talker:
            if how == "abort":
                next(iter(server.connections)).abort()
            else:
                handler.sockets[0].close_nowait(1000, "enough")
                assert (await talker.hear()).close_reason == "enough"
                await talker.write(frame(CLOSE, struct.pack("!H", 1000)))
            await until(lambda: not server.connections)
            assert handler.ends == [1000 if how == "close" else 1006]

    run(main())


def test_a_descriptor_that_became_anothers(run: Run) -> None:
    """Who comes next gets the number of who left; it is read from as anybody else."""

    async def main() -> None:
        handler = Script()
        async with served(handler) as server:
            for _ in range(3):
                async with talking(server) as talker:
                    await talker.echo("mine")
                    next(iter(server.connections)).abort()
                await until(lambda: not server.connections)

    run(main())


Act = Callable[[WebSocket, Server], None]


def told_together(run: Run, do: Act, *, lost: bool = False, failed: bool = False) -> list[str | bytes]:
    """Two clients say "go" and "then", both are read by one call; what the first "go" has done to the other.

    Returns what was heard.
    """
    handler = Script()

    async def main() -> None:
        async with served(handler) as server, talking(server) as first, talking(server) as second:

            def on_message(ws: WebSocket, message: str | bytes) -> None:
                if handler.heard.count("go") == 1 and message == "go":
                    [other] = [one for one in handler.sockets if one is not ws]
                    do(other, server)
                elif message != "go":
                    ws.send_nowait(message)

            handler.do = on_message
            handler.heard.clear()
            # Without a turn of the loop between the two.
            for talker in (first, second):
                talker.sock.send(frame(TEXT, "go") + frame(TEXT, "then"))
            if lost:
                await until(lambda: len(server.connections) == 1)
                assert handler.ends == [1006]
            elif failed:
                assert (await first.hear()).close_code == 1011
                assert (await second.hear()).text == "then"
            else:
                for talker in (first, second):
                    assert (await talker.hear()).text == "then"
                    await talker.echo()

    run(main())
    return [message for message in handler.heard if message != "again"]


def test_two_together(run: Run) -> None:
    assert told_together(run, lambda other, server: None) == ["go", "then", "go", "then"]


def test_one_pauses_the_other(run: Run) -> None:
    def pause(other: WebSocket, server: Server) -> None:
        other.pause_reading()
        asyncio.get_running_loop().call_later(0.05, other.resume_reading)

    assert told_together(run, pause) == ["go", "then", "go", "then"]


def test_one_pauses_the_other_for_a_moment(run: Run) -> None:
    def pause(other: WebSocket, server: Server) -> None:
        other.pause_reading()
        other.resume_reading()

    assert told_together(run, pause) == ["go", "then", "go", "then"]


def test_one_cuts_the_other(run: Run) -> None:
    def cut(other: WebSocket, server: Server) -> None:
        [connection] = [one for one in server.connections if one.ws is other]
        connection.abort()

    assert told_together(run, cut, lost=True) == ["go", "then"]


def test_a_cancelled_task_that_one_asks_costs_the_other_nothing(run: Run) -> None:
    """It raises what is no ``Exception``, and its WebSocket closes with 1011."""

    def ask(other: WebSocket, server: Server) -> None:
        raise asyncio.CancelledError

    assert told_together(run, ask, failed=True) == ["go", "go", "then"]


def test_an_exit_comes_when_all_have_been_heard(run: Any) -> None:
    def leave(other: WebSocket, server: Server) -> None:
        raise SystemExit(3)

    def run_and_go_on(coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = run.loop.create_task(coroutine)
        with pytest.raises(SystemExit):
            run.loop.run_until_complete(task)
        return run.loop.run_until_complete(asyncio.wait_for(task, 20))

    assert told_together(run_and_go_on, leave, lost=True) == ["go", "go", "then"]


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


def test_an_exit_in_one_coroutine_costs_the_other_nothing(run: Any) -> None:
    heard: list[str | bytes] = []
    leaver: asyncio.Task[Any] | None = None

    async def handler(ws: WebSocket) -> None:
        nonlocal leaver
        async for message in ws:
            heard.append(message)
            if message == "leave":
                leaver = asyncio.current_task()
                raise SystemExit(3)
            await ws.send(message)

    async def main() -> None:
        async with served(handler) as server, talking(server) as first, talking(server) as second:
            # Without a turn of the loop between the two.
            first.sock.send(frame(TEXT, "leave"))
            second.sock.send(frame(TEXT, "stay"))
            assert (await second.hear()).text == "stay"
            await second.echo()

    task = run.loop.create_task(main())
    with pytest.raises(SystemExit):
        run.loop.run_until_complete(task)
    run.loop.run_until_complete(asyncio.wait_for(task, 20))
    assert {"leave", "stay"} < set(heard)
    assert leaver is not None and isinstance(leaver.exception(), SystemExit)


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


def test_an_error_of_ours_ends_one_connection(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with served(Script()) as server, talking(server) as first, talking(server) as second:
            with monkeypatch.context() as patch:

                def broken(_: object) -> None:
                    raise ValueError("broken")

                patch.setattr(server, "websocket_closed", broken)
                first.sock.send(frame(CLOSE, b""))
                await second.echo()
                await until(lambda: len(server.connections) == 1)
            await second.echo()
        assert "reading from ('127.0.0.1'" in caplog.text

    run(main())
