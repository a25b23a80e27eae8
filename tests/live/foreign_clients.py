"""websockets and aiohttp behind the face of ``foreign.py``; ``ws`` of node is in ``foreign_node.py``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import websockets
import websockets.asyncio.client

from tests.live.foreign import SECONDS, Closed, Foreign, ForeignPeer, Refused
from tests.live.foreign_node import node_process
from tests.live.raw import frame
from tests.live.servers import Site

__all__ = ["CLIENTS", "Tools", "open_client"]

CLIENTS = ("websockets", "aiohttp", "ws")


# -- websockets ---------------------------------------------------------------------------------


class WebsocketsPeer:
    def __init__(self, connection: websockets.asyncio.client.ClientConnection) -> None:
        self._connection = connection
        self.subprotocol: str | None = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def send_fragments(self, parts: list[str]) -> None:
        await self._connection.send(parts)

    async def receive(self) -> str | bytes:
        try:
            async with asyncio.timeout(SECONDS):
                return await self._connection.recv()
        except websockets.ConnectionClosed:
            raise self._closed() from None

    def _closed(self) -> Closed:
        code, reason = self._connection.close_code, self._connection.close_reason
        return Closed(code or 1006, reason or "")

    async def ping(self, payload: bytes) -> None:
        async with asyncio.timeout(SECONDS):
            await (await self._connection.ping(payload))

    async def close(self, code: int, reason: str = "") -> Closed:
        await self._connection.close(code, reason)
        received = self._connection.protocol.close_rcvd
        return Closed(received.code, received.reason) if received else Closed(1006)

    def write_raw(self, data: bytes) -> None:
        self._connection.transport.write(data)

    def pause(self) -> None:
        self._connection.transport.pause_reading()

    def resume(self) -> None:
        self._connection.transport.resume_reading()

    def abort(self) -> None:
        self._connection.transport.abort()


class Websockets:
    name = "websockets"

    def __init__(self) -> None:
        self._connections: list[websockets.asyncio.client.ClientConnection] = []

    async def connect(
        self,
        site: Site,
        path: str,
        *,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        deflate: bool = False,
        pongs: bool = True,
    ) -> ForeignPeer:
        assert pongs, "websockets always answers a ping"
        try:
            connection = await websockets.asyncio.client.connect(
                site.ws(path),
                ssl=site.tls,
                origin=websockets.Origin(origin) if origin else None,
                subprotocols=[websockets.Subprotocol(name) for name in subprotocols] or None,
                compression="deflate" if deflate else None,
                ping_interval=None,
                proxy=None,
            )
        except websockets.InvalidStatus as refused:
            response = refused.response
            raise Refused(response.status_code, response.headers) from None
        self._connections.append(connection)
        return WebsocketsPeer(connection)

    async def end(self) -> None:
        for connection in self._connections:
            connection.transport.abort()
            await connection.wait_closed()


# -- aiohttp ------------------------------------------------------------------------------------


class AiohttpPeer:
    def __init__(self, ws: aiohttp.ClientWebSocketResponse[bool], pongs: bool) -> None:
        connection = ws._response.connection
        assert connection is not None and connection.transport is not None and connection.protocol is not None
        self._ws = ws
        self._transport = connection.transport
        self._protocol = connection.protocol
        self._pongs = pongs
        self._early: list[str | bytes] = []
        self.subprotocol: str | None = ws.protocol

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._ws.send_str(message)
        else:
            await self._ws.send_bytes(message)

    async def send_fragments(self, parts: list[str]) -> None:
        # aiohttp has no fragments; its connection carries them all the same.
        last = len(parts) - 1
        for index, part in enumerate(parts):
            self.write_raw(frame(0 if index else 1, part.encode(), fin=index == last))

    async def receive(self) -> str | bytes:
        if self._early:
            return self._early.pop(0)
        while True:
            message = await self._ws.receive(SECONDS)
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                data: str | bytes = message.data
                return data
            if message.type is aiohttp.WSMsgType.PING and self._pongs:
                await self._ws.pong(message.data)
            elif message.type is aiohttp.WSMsgType.CLOSE:
                raise Closed(message.data or 1005, message.extra or "")
            elif message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                raise Closed(self._ws.close_code or 1006)

    async def ping(self, payload: bytes) -> None:
        await self._ws.ping(payload)
        while True:
            message = await self._ws.receive(SECONDS)
            if message.type is aiohttp.WSMsgType.PONG and message.data == payload:
                return
            assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
            self._early.append(message.data)

    async def close(self, code: int, reason: str = "") -> Closed:
        await self._ws.close(code=code, message=reason.encode())
        return Closed(self._ws.close_code or 1006)

    def write_raw(self, data: bytes) -> None:
        self._transport.write(data)

    def pause(self) -> None:
        self._transport.pause_reading()

    def resume(self) -> None:
        self._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    async def end(self) -> None:
        """Cut the connection and wait until its socket is closed.

        aiohttp itself does not wait: with TLS, or with data that the server does not read, the socket would
        outlive the loop, and the next test be told of it.
        """
        self._transport.abort()
        async with asyncio.timeout(SECONDS):
            while self._protocol.transport is not None:
                await asyncio.sleep(0)
        self._ws._response.close()


class Aiohttp:
    name = "aiohttp"

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._peers: list[AiohttpPeer] = []

    async def connect(
        self,
        site: Site,
        path: str,
        *,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        deflate: bool = False,
        pongs: bool = True,
    ) -> ForeignPeer:
        try:
            ws = await self._session.ws_connect(
                site.http(path),
                ssl=site.tls or False,
                origin=origin,
                protocols=list(subprotocols),
                compress=15 if deflate else 0,
                autoping=False,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as refused:
            raise Refused(refused.status, refused.headers or {}) from None
        peer = AiohttpPeer(ws, pongs)
        self._peers.append(peer)
        return peer

    async def end(self) -> None:
        for peer in self._peers:
            await peer.end()


@dataclass(frozen=True)
class Tools:
    """What the clients need: the folder in which ``ws`` is installed, and whom to trust."""

    node: Path | None
    ca: Path


@contextlib.asynccontextmanager
async def open_client(name: str, tools: Tools) -> AsyncIterator[Foreign]:
    """The client library of that name, ready to connect; closed with all that it opened."""
    if name == "websockets":
        client = Websockets()
        try:
            yield client
        finally:
            await client.end()
    elif name == "aiohttp":
        async with aiohttp.ClientSession() as session:
            library = Aiohttp(session)
            try:
                yield library
            finally:
                await library.end()
    else:
        assert tools.node is not None
        async with node_process(tools.node, tools.ca) as node:
            yield node
