"""WebSocket clients that were not written here, behind one face: websockets, aiohttp, and ``ws`` of node."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import websockets
import websockets.asyncio.client

from tests.live.raw import frame
from tests.live.servers import Site

__all__ = ["CLIENTS", "Closed", "Foreign", "ForeignPeer", "Refused", "open_client"]

CLIENTS = ("websockets", "aiohttp", "ws")

#: Every wait ends.
SECONDS = 10.0


class Closed(Exception):
    """The WebSocket has ended; the code as this client sees it."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered the handshake with something other than 101."""

    def __init__(self, status: int, headers: Any) -> None:
        super().__init__(str(status))
        self.status = status
        self.headers = {name.lower(): value for name, value in dict(headers).items()}


class ForeignPeer(Protocol):
    """One WebSocket of a foreign client."""

    subprotocol: str | None

    async def send(self, message: str | bytes) -> None: ...
    async def send_fragments(self, parts: list[str]) -> None: ...
    async def receive(self) -> str | bytes:
        """The next message. Raises :class:`Closed` at the end."""

    async def ping(self, payload: bytes) -> None:
        """Send a ping and wait for a pong with the same payload."""

    async def close(self, code: int, reason: str = "") -> Closed:
        """Close, and return how the server answered."""

    def write_raw(self, data: bytes) -> None:
        """Put bytes on the wire that the library would not send."""

    def pause(self) -> None:
        """Read nothing more from the socket."""

    def resume(self) -> None: ...

    def abort(self) -> None:
        """End TCP without a close frame."""


class Foreign(Protocol):
    """A client library. ``pongs=False``: it leaves the server's pings without an answer."""

    name: str

    async def connect(
        self,
        site: Site,
        path: str,
        *,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        deflate: bool = False,
        pongs: bool = True,
    ) -> ForeignPeer: ...


async def ending(peer: ForeignPeer) -> Closed:
    """Read what is left; return how the WebSocket ended."""
    try:
        while True:
            await peer.receive()
    except Closed as closed:
        return closed


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
        assert connection is not None and connection.transport is not None
        self._ws = ws
        self._transport = connection.transport
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

    def end(self) -> None:
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

    def end(self) -> None:
        for peer in self._peers:
            peer.end()


# -- ws of node ---------------------------------------------------------------------------------


class NodePeer:
    def __init__(self, node: Node, conn: int) -> None:
        self._node = node
        self._conn = conn
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._early: list[str | bytes] = []
        self.subprotocol: str | None = None

    def happened(self, event: dict[str, Any]) -> None:
        self._events.put_nowait(event)

    async def opened(self) -> None:
        event = await self._next()
        if event["event"] == "refused":
            raise Refused(event["status"], event["headers"])
        assert event["event"] == "open", event
        self.subprotocol = event["protocol"] or None

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(SECONDS):
            return await self._events.get()

    def _say(self, verb: str, **rest: object) -> None:
        self._node.say(conn=self._conn, verb=verb, **rest)

    async def send(self, message: str | bytes) -> None:
        self._say("send", message=_to_json(message), fin=True)
        await self._node.drain()

    async def send_fragments(self, parts: list[str]) -> None:
        last = len(parts) - 1
        for index, part in enumerate(parts):
            self._say("send", message={"text": part}, fin=index == last)

    async def receive(self) -> str | bytes:
        if self._early:
            return self._early.pop(0)
        while True:
            event = await self._next()
            if event["event"] == "message":
                return _from_json(event)
            if event["event"] == "close":
                raise Closed(event["code"], event["reason"])

    async def ping(self, payload: bytes) -> None:
        self._say("ping", base64=base64.b64encode(payload).decode())
        while (event := await self._next())["event"] != "pong":
            assert event["event"] == "message", event
            self._early.append(_from_json(event))
        assert base64.b64decode(event["base64"]) == payload

    async def close(self, code: int, reason: str = "") -> Closed:
        self._say("close", code=code, reason=reason)
        return await ending(self)

    def write_raw(self, data: bytes) -> None:
        self._say("raw", base64=base64.b64encode(data).decode())

    def pause(self) -> None:
        self._say("pause")

    def resume(self) -> None:
        self._say("resume")

    def abort(self) -> None:
        self._say("terminate")


class Node:
    """A node process in which clients of ``ws`` run."""

    name = "ws"

    def __init__(self, process: asyncio.subprocess.Process, ca: Path) -> None:
        self._process = process
        self._ca = ca
        self._peers: dict[int, NodePeer] = {}
        self._numbers = itertools.count()

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
        number = next(self._numbers)
        peer = self._peers[number] = NodePeer(self, number)
        options: dict[str, Any] = {"perMessageDeflate": deflate, "autoPong": pongs}
        if origin:
            options["origin"] = origin
        if site.secure:
            options["ca"] = self._ca.read_text()
        self.say(conn=number, verb="open", url=site.ws(path), protocols=list(subprotocols), options=options)
        await peer.opened()
        return peer

    def say(self, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def drain(self) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.drain()

    async def listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            event = json.loads(line)
            self._peers[event["conn"]].happened(event)


def _to_json(message: str | bytes) -> dict[str, str]:
    if isinstance(message, str):
        return {"text": message}
    return {"base64": base64.b64encode(message).decode()}


def _from_json(message: dict[str, str]) -> str | bytes:
    return message["text"] if "text" in message else base64.b64decode(message["base64"])


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
                library.end()
    else:
        assert tools.node is not None
        async with node_process(tools) as node:
            yield node


@contextlib.asynccontextmanager
async def node_process(tools: Tools) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        "node",
        "client.js",
        cwd=tools.node,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    node = Node(process, tools.ca)
    listener = asyncio.create_task(node.listen())
    try:
        yield node
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(SECONDS):
            await process.wait()
        await listener
