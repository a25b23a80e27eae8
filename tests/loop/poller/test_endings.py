"""How a connection ends that the poller reads, and what one of two read together does to the other."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fastws import Server, WebSocket
from fastws.connection.pausing import SMALL_READS_BEFORE_POLLING
from fastws.testing.wire import CLOSE, TEXT, frame
from tests.kit import until
from tests.loop.poller.talking import Run, Script, served, talking


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
