"""What a user holds: the whole way on real loops, receiving, closing, attributes."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

import orjson
import pytest

import fastws
from fastws import (
    ConcurrencyError,
    ConnectionClosedError,
    SendStatus,
    WebSocket,
)
from fastws.testing.wire import CLOSE, CONTINUATION, TEXT
from tests.conftest import Run
from tests.kit import ManualLoop, Pair, Recorder, frame
from tests.kit.served import NO_PINGS, QUIET, collect, opened, stall

# -- the whole way, on real loops ---------------------------------------------------------------


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def talk(
    handler: Callable[[WebSocket], Any], path: str = "/", **settings: Any
) -> tuple[Any, WebSocket]:
    server = await fastws.serve(handler, **{**QUIET, **settings})
    return server, await fastws.connect(f"ws://server:{server.port}{path}")


class TestOnBothLoops:
    def test_echo(self, run: Run) -> None:
        async def scenario() -> None:
            server, ws = await talk(echo)
            for message in ("", "text", b"", b"\x00\xff", "ü" * 70_000):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.close()
            assert (ws.close_code, ws.close_reason, ws.closed) == (1000, "", True)
            await server.shutdown()

        run(scenario())

    def test_json(self, run: Run) -> None:
        async def scenario() -> None:
            server, ws = await talk(echo)
            await ws.send_json({"a": [1, None, "ü"]})
            assert ws.send_json_nowait([]) is SendStatus.SENT
            assert [await ws.recv_json(), await ws.recv_json()] == [{"a": [1, None, "ü"]}, []]
            with pytest.raises(TypeError):
                await ws.send_json({1, 2})
            with pytest.raises(TypeError):
                ws.send_json_nowait({1, 2})
            ws.send_nowait("no json")
            with pytest.raises(orjson.JSONDecodeError):
                await ws.recv_json()
            await server.shutdown()
            await ws.wait_closed()

        run(scenario())

    def test_a_slow_reader_makes_the_sender_wait(self, run: Run) -> None:
        async def scenario() -> None:
            sent: list[int] = []

            async def flood(ws: WebSocket) -> None:
                for number in range(100):
                    await ws.send(str(number % 10) * 50_000)
                    sent.append(number)

            async def slow_client(ws: WebSocket) -> int:
                ws.pause_reading()
                for _ in range(20):
                    await asyncio.sleep(0)
                assert len(sent) < 50
                ws.resume_reading()
                count = 0
                async for message in ws:
                    assert message == str(count % 10) * 50_000
                    count += 1
                return count

            server, ws = await talk(flood)
            assert await slow_client(ws) == 100
            await server.shutdown()

        run(scenario())

    def test_concurrent_senders_do_not_mix(self, run: Run) -> None:
        async def scenario() -> None:
            async def many(ws: WebSocket) -> None:
                async with asyncio.TaskGroup() as group:
                    for letter in "abc":
                        group.create_task(ws.send([letter * 3 for _ in range(10)]))
                        group.create_task(ws.send(letter * 100))

            server, ws = await talk(many)
            got = [message async for message in ws]
            assert sorted(got) == sorted(
                [letter * 30 for letter in "abc"] + [letter * 100 for letter in "abc"]
            )
            await server.shutdown()

        run(scenario())

    def test_one_reader_at_a_time(self, run: Run) -> None:
        async def scenario() -> None:
            server, ws = await talk(echo)
            reader = asyncio.create_task(ws.recv())
            await asyncio.sleep(0)
            with pytest.raises(ConcurrencyError):
                await ws.recv()
            reader.cancel()
            await asyncio.wait([reader])
            await ws.send("x")
            assert await ws.recv() == "x"
            await server.shutdown()

        run(scenario())

    def test_the_end_wakes_everybody(self, run: Run) -> None:
        async def scenario() -> None:
            async def leave(ws: WebSocket) -> None:
                await ws.recv()
                await ws.close(4000, "enough")

            server, ws = await talk(leave)
            reader = asyncio.create_task(ws.recv())
            pinger = asyncio.create_task(ws.ping())
            assert await pinger >= 0
            pinger = asyncio.create_task(ws.ping())
            ws.send_nowait("go")
            with pytest.raises(ConnectionClosedError, match="closed by the peer with 4000 'enough'"):
                await reader
            assert await pinger >= 0
            with pytest.raises(ConnectionClosedError):
                await ws.recv()
            with pytest.raises(ConnectionClosedError):
                async for _ in ws:
                    pass
            with pytest.raises(ConnectionClosedError):
                await ws.send("late")
            with pytest.raises(ConnectionClosedError):
                await ws.ping()
            assert ws.send_nowait("late") is SendStatus.CLOSED
            await server.shutdown()

        run(scenario())


class TestStreaming:
    """``fastws.streaming``; its parts are the subject of other tests."""

    def test_parts(self, loop: ManualLoop) -> None:
        parts: list[Any] = []

        async def collect_parts(ws: WebSocket) -> None:
            async for part in ws.recv_streaming():
                parts.append(part)

        client = opened(loop, fastws.streaming(collect_parts))
        client.send(frame(TEXT, "a", fin=False) + frame(CONTINUATION, "b"))
        loop.settle()
        assert "".join(parts) == "ab"

    def test_too_large_for_recv(self, loop: ManualLoop) -> None:
        async def whole(ws: WebSocket) -> None:
            await ws.recv()

        client = opened(loop, fastws.streaming(whole), limits={"max_message_size": 10})
        client.send(frame(TEXT, "x" * 8, fin=False) + frame(CONTINUATION, "y" * 8))
        loop.settle()
        assert client.frames()[-1].close_code == 1009

    def test_callbacks(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, fastws.streaming(handler))
        client.send(frame(TEXT, "a", fin=False))
        client.send(frame(CONTINUATION, "b"))
        assert [part.final for part in handler.messages()] == [False, True]  # type: ignore[union-attr]


class TestReceiving:
    def test_callbacks_have_no_recv(self, loop: ManualLoop) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(RuntimeError, match="on_message"):
            loop.run(ws.recv())
        with pytest.raises(RuntimeError, match="on_message"):
            ws.recv_streaming()

    def test_a_full_inbox_stops_reading(self, loop: ManualLoop) -> None:
        got: list[Any] = []
        go_on = loop.create_future()

        async def later(ws: WebSocket) -> None:
            await go_on
            async for message in ws:
                got.append(message)

        client = opened(loop, later, limits={"receive_queue": 4})
        for number in range(10):
            client.text(str(number))
        assert not client.transport.is_reading()
        assert client.transport.unread
        go_on.set_result(None)
        loop.settle()
        assert client.transport.is_reading()
        assert got == [str(number) for number in range(10)]

    def test_what_came_before_the_close_is_read_after_it(self, loop: ManualLoop) -> None:
        got: list[Any] = []

        async def later(ws: WebSocket) -> None:
            await asyncio.sleep(1)
            async for message in ws:
                got.append(message)
            got.append(ws.close_code)

        client = opened(loop, later)
        client.send(frame(TEXT, "a") + frame(TEXT, "b") + frame(CLOSE, b"\x03\xe9"))
        loop.advance(2)
        assert got == ["a", "b", 1001]

    def test_streaming_a_whole_message(self, loop: ManualLoop) -> None:
        parts: list[Any] = []

        async def one(ws: WebSocket) -> None:
            async for part in ws.recv_streaming():
                parts.append(part)

        client = opened(loop, one)
        client.text("whole")
        loop.settle()
        assert parts == ["whole"]

    def test_paused_by_hand(self, loop: ManualLoop) -> None:
        client, ws, handler = collect(loop)
        ws.pause_reading()
        ws.pause_reading()
        client.text("waits")
        loop.settle()
        assert handler.messages() == []
        ws.resume_reading()
        ws.resume_reading()
        loop.settle()
        assert handler.messages() == ["waits"]


class TestClosing:
    def test_both_sides(self, loop: ManualLoop) -> None:
        pair = Pair(loop, Recorder(), client={"timeouts": NO_PINGS}, **QUIET)
        assert (pair.ws.close_code, pair.ws.close_reason, pair.ws.closed) == (None, None, False)
        loop.run(pair.ws.close(4001, "bye"))
        assert (pair.ws.close_code, pair.ws.close_reason, pair.ws.closed) == (4001, "bye", True)
        loop.run(pair.ws.close())
        assert pair.ws.close_code == 4001
        assert pair.client.lost
        assert pair.server.lost

    def test_what_was_accepted_goes_first(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        stall(loop, client, ws)
        ws.send_nowait("accepted")
        ws.close_nowait(1000, "bye")
        loop.settle()
        client.read()
        assert [one.payload for one in client.frames()] == [b"stalls", b"accepted", b"\x03\xe8bye"]

    @pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1000, "x" * 124), (999, "")])
    def test_what_may_not_be_sent(self, loop: ManualLoop, code: int, reason: str) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(ValueError, match="close"):
            ws.close_nowait(code, reason)
        assert not ws.closed

    @pytest.mark.parametrize(("code", "reason"), [("1000", ""), (1000, None), (4000.0, ""), (None, "")])
    def test_what_is_neither_code_nor_reason(self, loop: ManualLoop, code: Any, reason: Any) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError, match="a close has a code"):
            loop.run(ws.close(code, reason))
        assert not ws.closed

    def test_a_code_and_a_reason_of_an_enumeration(self, loop: ManualLoop) -> None:
        class Why(enum.StrEnum):
            DONE = "done"

        _, ws, _ = collect(loop)
        ws.close_nowait(enum.IntEnum("Code", {"OWN": 4000}).OWN, Why.DONE)  # type: ignore[attr-defined]
        assert (ws.close_code, ws.close_reason) == (4000, "done")

    def test_waiting_may_be_cancelled(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        waiting = [loop.create_task(ws.wait_closed()) for _ in range(2)]
        loop.settle()
        waiting[0].cancel()
        client.close()
        loop.settle()
        assert waiting[0].cancelled()
        assert waiting[1].done()


class TestAttributes:
    def test_server_side(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop, "Cookie: a=b")
        assert ws.request is not None
        assert (ws.request.path, ws.request.cookies, ws.response) == ("/", {"a": "b"}, None)
        assert ws.subprotocol is None
        assert ws.peer == ("192.0.2.1", 50000)
        assert repr(ws) == "<WebSocket / OPEN>"
        ws.request.path = "/a\n21:00:00 info \x1b[31m\u202e"
        assert repr(ws) == r"<WebSocket /a\n21:00:00 info \x1b[31m\u202e OPEN>"
        ws.request.path = "/"
        ws.state["user"] = 7
        assert ws.state == {"user": 7}
        client.close()
        loop.settle()
        assert repr(ws) == "<WebSocket / CLOSED>"

    def test_client_side(self, loop: ManualLoop) -> None:
        pair = Pair(loop, Recorder(), **QUIET)
        assert pair.ws.request is None
        assert pair.ws.response is not None
        assert pair.ws.response.status == 101
        assert repr(pair.ws) == "<WebSocket client OPEN>"
        pair.shutdown()
