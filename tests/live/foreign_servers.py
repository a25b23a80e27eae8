"""Echo servers that were not written here, for our client: websockets, aiohttp, and ``ws`` of node.

A text ``close CODE REASON`` makes each of them close so.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import websockets
from aiohttp import web
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from tests.kit import until

__all__ = ["SERVERS", "ForeignServer", "open_server"]

SERVERS = ("websockets", "aiohttp", "ws")
SUBPROTOCOL = "chat.v2"
SECONDS = 10.0


@dataclass
class ForeignServer:
    url: str
    #: The codes with which its WebSockets were closed, as it sees them.
    codes: list[int] = field(default_factory=list)

    async def closed(self) -> int:
        """The code of the first close."""
        await until(lambda: self.codes)
        return self.codes[0]


def told_to_close(message: object) -> tuple[int, str] | None:
    found = re.fullmatch(r"close (\d+) (.*)", message) if isinstance(message, str) else None
    return (int(found[1]), found[2]) if found else None


def server_tls(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    return context


@contextlib.asynccontextmanager
async def open_server(
    name: str, certificates: Path | None, node: Path | None
) -> AsyncIterator[ForeignServer]:
    """Run the server of that library; with ``certificates``, over TLS."""
    if name == "websockets":
        opened = _websockets(certificates)
    elif name == "aiohttp":
        opened = _aiohttp(certificates)
    else:
        assert node is not None
        opened = _ws(certificates, node)
    async with opened as server:
        yield server


def _url(port: int, certificates: Path | None) -> str:
    return f"{'wss' if certificates else 'ws'}://127.0.0.1:{port}/"


@contextlib.asynccontextmanager
async def _websockets(certificates: Path | None) -> AsyncIterator[ForeignServer]:
    server = ForeignServer("")

    async def echo(connection: ServerConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            async for message in connection:
                if told := told_to_close(message):
                    await connection.close(*told)
                else:
                    await connection.send(message)
        await connection.wait_closed()
        server.codes.append(connection.close_code or 1006)

    def choose(connection: ServerConnection, offered: Sequence[websockets.Subprotocol]) -> Any:
        return SUBPROTOCOL if SUBPROTOCOL in offered else None

    tls = server_tls(certificates) if certificates else None
    async with serve_websockets(echo, "127.0.0.1", 0, ssl=tls, select_subprotocol=choose) as listening:
        server.url = _url(next(iter(listening.sockets)).getsockname()[1], certificates)
        yield server


@contextlib.asynccontextmanager
async def _aiohttp(certificates: Path | None) -> AsyncIterator[ForeignServer]:
    server = ForeignServer("")

    async def echo(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(protocols=(SUBPROTOCOL,))
        await ws.prepare(request)
        async for message in ws:
            if message.type is aiohttp.WSMsgType.BINARY:
                await ws.send_bytes(message.data)
            elif told := told_to_close(message.data):
                await ws.close(code=told[0], message=told[1].encode())
            else:
                await ws.send_str(message.data)
        server.codes.append(ws.close_code or 1006)
        return ws

    app = web.Application()
    app.router.add_get("/", echo)
    runner: Any = web.AppRunner(app)
    await runner.setup()
    tls = server_tls(certificates) if certificates else None
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    try:
        await site.start()
        server.url = _url(runner.addresses[0][1], certificates)
        yield server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _ws(certificates: Path | None, node: Path) -> AsyncIterator[ForeignServer]:
    files = [certificates / "server.pem", certificates / "server-key.pem"] if certificates else []
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "node", "server.js", *map(str, files), cwd=node, stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None and process.stdout is not None
    async with asyncio.timeout(SECONDS):
        port = int((await process.stdout.readline()).split()[1])
    server = ForeignServer(_url(port, certificates))

    async def listen(output: asyncio.StreamReader) -> None:
        async for line in output:
            server.codes.append(int(line.split()[1]))

    listener = asyncio.create_task(listen(process.stdout))
    try:
        yield server
    finally:
        process.stdin.close()
        async with asyncio.timeout(SECONDS):
            await process.wait()
        await listener
