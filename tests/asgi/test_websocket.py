"""What an ASGI application does wrong with a WebSocket, and what its client and its ``receive`` are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fastws
from fastws.asgi.scope import ClientDisconnected
from tests.kit import until
from tests.kit.served import Panic

pytestmark = pytest.mark.live

ACCEPT = {"type": "websocket.accept"}
TEXT = {"type": "websocket.send", "text": "x"}
START = {"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-tea", b"green")]}
BODY = {"type": "websocket.http.response.body", "body": b"short", "more_body": True}


@asynccontextmanager
async def served(app: Any, **options: Any) -> AsyncIterator[tuple[str, fastws.Server]]:
    asgi = fastws.ASGI(app, lifespan="off", **options)
    async with fastws.serve(asgi, "127.0.0.1", access_log=False) as server:
        yield f"ws://127.0.0.1:{server.port}/", server
    assert not asgi.tasks


def sending(*events: Any) -> Any:
    """An application that sends these; an exception among them is raised."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for event in events:
            if isinstance(event, BaseException):
                raise event
            await send(event)

    return app


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([], 500),
        ([ValueError("meant to")], 500),
        ([Panic("meant to")], 500),
        ([asyncio.CancelledError("of another task")], 500),
        ([TEXT], 500),
        ([{"type": "websocket.accept", "subprotocol": "no token"}], 500),
        ([{"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]}], 500),
        ([{"type": "websocket.accept", "headers": [(b"upgrade", b"h2c")]}], 500),
        ([START], 500),
        *(([{**START, "status": status}], 500) for status in (0, 100, 101, 199, 600, 700, 1000)),
        ([{**START, "headers": [(b"x", b"a\r\nb: c")]}, {**BODY, "more_body": False}], 500),
        ([START, BODY, TEXT], 500),
        ([START, BODY, {**BODY, "more_body": False}], 418),
        ([{"type": "websocket.close"}], 403),
        ([{"type": "websocket.close"}, ACCEPT], 403),
    ],
)
async def test_before_it_accepts(events: list[Any], status: int) -> None:
    async with served(sending(*events)) as (url, _):
        with pytest.raises(fastws.HandshakeRefused) as refused:
            await fastws.connect(url)
    response = refused.value.response
    assert response.status == status
    if status == 418:
        assert (response.headers["x-tea"], response.body) == ("green", b"shortshort")


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([], 1000),
        ([ValueError("meant to")], 1011),
        ([Panic("meant to")], 1011),
        ([asyncio.CancelledError("of another task")], 1011),
        ([ACCEPT], 1011),
        ([{"type": "websocket.send", "text": 1}], 1011),
        ([{"type": "websocket.send", "bytes": ["frag", "ments"]}], 1011),
        ([{"type": "websocket.send"}], 1011),
        ([{"type": "websocket.close", "code": 1006}], 1011),
        ([{"type": "websocket.close", "code": 4000, "reason": "x" * 124}], 1011),
        ([{"type": "websocket.close", "code": None, "reason": None}], 1000),
        ([{"type": "websocket.close", "code": 4000}, TEXT], 4000),
        ([{"type": "websocket.close", "code": 4000}, {"type": "websocket.close"}], 4000),
    ],
)
async def test_behind_it(events: list[Any], code: int) -> None:
    async with served(sending(ACCEPT, *events)) as (url, _), fastws.connect(url) as ws:
        async with asyncio.timeout(10):
            with pytest.raises(fastws.ConnectionClosed) as closed:
                await ws.recv()
    assert closed.value.code == code


async def test_two_readers_share_the_messages() -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def read(number: int) -> None:
            while True:
                event = await receive()
                events.append((number, event.get("text", event["type"])))
                if event["type"] == "websocket.disconnect":
                    return

        assert (await receive())["type"] == "websocket.connect"
        undecided = [asyncio.create_task(read(number)) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        await send(ACCEPT)
        await asyncio.sleep(0)
        undecided[0].cancel()  # the next in line takes its place
        await asyncio.wait(undecided)

    async with served(app) as (url, _), fastws.connect(url) as ws:
        for number in range(20):
            await ws.send(str(number))
    assert [text for _, text in events if text.isdigit()] == [str(number) for number in range(20)]
    assert sorted(number for number, text in events if text == "websocket.disconnect") == [2, 3]


async def test_a_client_that_leaves_is_not_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Frameworks raise an exception of their own; see ``is_disconnect``."""

    class WebSocketDisconnect(Exception):
        """As Starlette's."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        raise WebSocketDisconnect

    async with served(app) as (url, _), fastws.connect(url):
        pass
    assert caplog.records == []


async def test_one_that_never_answers() -> None:
    noted: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        noted.append(await receive())
        noted.append(await receive())
        with pytest.raises(RuntimeError, match="nothing"):
            await send(ACCEPT)

    async with served(app, timeouts={"handshake": 0.1}) as (url, _):
        with pytest.raises(fastws.HandshakeRefused) as refused:
            await fastws.connect(url)
    assert refused.value.response.status == 503
    assert [event["type"] for event in noted] == ["websocket.connect", "websocket.disconnect"]
    assert noted[1]["code"] == 1006


async def test_a_client_that_leaves_before_the_answer() -> None:
    noted: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        noted.append(await receive())
        noted.append(await receive())
        await send({"type": "websocket.close"})  # does no harm
        with pytest.raises(ClientDisconnected):
            await send(ACCEPT)
        noted.append("told")

    async with served(app) as (url, _):
        connecting = asyncio.create_task(fastws.connect(url).__aenter__())
        await until(lambda: noted)
        connecting.cancel()
        await until(lambda: "told" in noted)
    assert noted[1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


async def test_an_answer_while_the_server_stops_is_503() -> None:
    go, asked = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.set()
        await go.wait()
        await send(ACCEPT)

    async with served(app) as (url, server):
        connecting = asyncio.create_task(fastws.connect(url).__aenter__())
        await asked.wait()
        stopping = asyncio.create_task(server.shutdown(5))
        await asyncio.sleep(0.05)
        go.set()
        with pytest.raises(fastws.HandshakeRefused) as refused:
            await connecting
        await stopping
    assert refused.value.response.status == 503


async def test_the_stop_closes_with_1001_and_cancels_who_goes_on() -> None:
    ended: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(ACCEPT)
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with served(app) as (url, server), fastws.connect(url) as ws:
        stopping = asyncio.create_task(server.shutdown(0.5))
        with pytest.raises(fastws.ConnectionClosed) as closed:
            await ws.recv()
        await stopping
    assert (closed.value.code, ended) == (1001, ["cancelled"])


async def test_frames_before_the_answer_are_kept_and_bounded() -> None:
    got: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await asyncio.sleep(0.2)
        await send(ACCEPT)
        while (event := await receive())["type"] == "websocket.receive":
            got.append(event["text"])

    async with served(app) as (_, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        for _ in range(100_000):
            writer.write(b"\x81\x81\x00\x00\x00\x00x")
        writer.write(b"\x88\x80\x00\x00\x00\x00")
        async with asyncio.timeout(20):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            await reader.read()
        writer.close()
    assert len(got) == 100_000
