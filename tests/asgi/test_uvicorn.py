"""``uvicorn --ws fastws.uvicorn:FastWSProtocol``: what its options say, and its stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fastws.asgi.uvicorn import TRACE, _first_look
from fastws.uvicorn import FastWSProtocol
from tests.asgi.sites import running
from tests.kit import until

pytestmark = pytest.mark.live


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    if scope["path"].endswith("/never"):
        await receive()
        return
    if scope["path"].endswith("/refused"):
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[uvicorn.Server, str]]:
    """uvicorn in this loop, with our class."""
    config = uvicorn.Config(
        echo, port=0, ws=FastWSProtocol, lifespan="off", log_config=None, access_log=False, **options
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        async with asyncio.timeout(10):
            await task


async def test_nothing_is_left_of_a_connection() -> None:
    async with serving() as (server, url):
        for _ in range(3):
            async with connect(url, proxy=None) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
                (protocol,) = server.server_state.connections
                assert isinstance(protocol, FastWSProtocol)
                assert len(server.server_state.tasks) == 1
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)


async def test_the_largest_message() -> None:
    async with serving(ws_max_size=10) as (_, url), connect(url, proxy=None) as ws:
        await ws.send("x" * 10)
        assert await ws.recv() == "x" * 10
        await ws.send("x" * 11)
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 1009


@pytest.mark.parametrize(("offered", "agreed"), [(True, 1), (False, 0)])
async def test_compression(offered: bool, agreed: int) -> None:
    async with serving(ws_per_message_deflate=offered) as (_, url), connect(url, proxy=None) as ws:
        assert len(ws.protocol.extensions) == agreed


async def test_pings_find_the_dead() -> None:
    async with (
        serving(ws_ping_interval=0.1, ws_ping_timeout=0.1) as (server, url),
        connect(url, proxy=None, ping_interval=None, close_timeout=1) as ws,
    ):
        ws.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: not server.server_state.connections)
        ws.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert (ws.close_code, ws.close_reason) == (1011, "keepalive ping timeout")


@pytest.mark.parametrize("seconds", [0.1, 1, 3, 20])
def test_a_pong_has_the_time_that_uvicorn_gives_it(seconds: float) -> None:
    first = _first_look(seconds)
    assert first is not None and first > 0
    assert first + min(first / 2, 1.0) == pytest.approx(seconds)
    assert _first_look(None) is None


async def test_uvicorns_headers_are_on_every_answer() -> None:
    async with serving(headers=[("X-Mine", "1")]) as (_, url):
        async with connect(url, proxy=None) as ws:
            assert ws.response is not None
            headers = ws.response.headers
            assert (headers["Server"], headers["X-Mine"], "X-Server" in headers) == ("uvicorn", "1", False)
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, proxy=None, additional_headers={"Sec-WebSocket-Version": "12"}):
                pass
        assert refused.value.response.headers["X-Mine"] == "1"


async def test_a_page_of_another_site_may_connect_as_under_uvicorn() -> None:
    async with serving() as (_, url), connect(url, proxy=None, origin="https://elsewhere.test") as ws:  # type: ignore[arg-type]
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def test_root_path_and_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(TRACE)
    async with serving(root_path="/api") as (_, url), connect(f"{url}/a%20b?c=d", proxy=None):
        pass
    ours = [record for record in caplog.records if record.module == "uvicorn"]
    lines = [(record.levelno, record.getMessage()) for record in ours]
    client = next(text for _, text in lines if "connection made" in text).split()[0]
    assert lines == [
        (TRACE, f"{client} - WebSocket connection made"),
        (logging.INFO, f'{client} - "WebSocket /api/a%20b?c=d" [accepted]'),
        (logging.INFO, "connection open"),
        (logging.INFO, "connection closed"),
        (TRACE, f"{client} - WebSocket connection lost"),
    ]


async def test_the_stop_closes_with_1012_and_answers_who_waits() -> None:
    async with serving() as (server, url):
        waiting = asyncio.create_task(connect(f"{url}/never", proxy=None).__aenter__())
        async with connect(url, proxy=None) as ws:
            await until(lambda: len(server.server_state.connections) == 2)
            server.should_exit = True
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1012
        with pytest.raises(InvalidStatus) as refused:
            await waiting
        assert refused.value.response.status_code == 503


@pytest.mark.parametrize(
    ("path", "version", "status"),
    [("/refused", 13, 403), ("/", 12, 426)],
    ids=["by the application", "by us"],
)
async def test_the_stop_while_a_refused_client_keeps_its_connection(
    path: str, version: int, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as (server, url):
        reader, writer = await asyncio.open_connection(*url.removeprefix("ws://").split(":"))
        head = (
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\r\n"
        )
        writer.write(head.encode())
        assert (await reader.readline()).startswith(f"HTTP/1.1 {status} ".encode())
        assert len(server.server_state.connections) == 1
    assert not server.server_state.connections
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    writer.close()


def test_a_process_ends_as_uvicorn_does(tmp_path: Path) -> None:
    with running("plug-in", tmp_path) as site:
        pass
    assert site.process.returncode in (0, -signal.SIGTERM)
    assert "Finished server process" in site.text()
    assert "Traceback" not in site.text()
