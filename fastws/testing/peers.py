"""Clients and servers made of bytes; and a handler that notes what it is told."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws.connection.handlers import Handler
from fastws.connection.websocket import WebSocket
from fastws.server.server import Server
from fastws.testing import wire
from fastws.testing.loop import ManualLoop
from fastws.testing.transport import MemoryTransport
from fastws.testing.wire import Frame, HTTPAnswer

__all__ = ["RawClient", "RawServer", "Recorder"]


class Recorder(Handler):
    """A handler that notes what happens to the WebSockets of a route.

    ``events`` has a tuple for each callback, in order: ``("open",)``, ``("message", message)``,
    ``("close", code, reason)``, ``("writable",)``. ``sockets`` has the WebSockets in the order of opening.

    Args:
        echo: Send each message back. Default False.
    """

    def __init__(self, *, echo: bool = False) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.sockets: list[WebSocket] = []
        self.echo = echo

    @property
    def ws(self) -> WebSocket:
        """The WebSocket that was opened last. ``IndexError`` when there is none."""
        return self.sockets[-1]

    def messages(self) -> list[str | bytes]:
        """What each ``on_message`` was given."""
        return [event[1] for event in self.events if event[0] == "message"]

    def closes(self) -> list[tuple[int, str]]:
        """Code and reason of each ``on_close``."""
        return [event[1:] for event in self.events if event[0] == "close"]

    def on_open(self, ws: WebSocket) -> None:
        self.sockets.append(ws)
        self.events.append(("open",))

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self.events.append(("message", message))
        if self.echo:
            ws.send_nowait(message)

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self.events.append(("close", code, reason))

    def on_writable(self, ws: WebSocket) -> None:
        self.events.append(("writable",))


class RawClient:
    """A client made of bytes, connected in memory to a server that listens.

    The server reads at once what ``send`` sends. ``response`` and ``frames`` take what the server wrote.
    ``stall``, ``read`` and ``read_slowly`` make a slow peer, ``vanish`` one that is gone without a word.

    Args:
        server: A server that listens in ``loop.network``.
        loop: The server's loop.
        options: Keyword arguments of the server's end (:class:`MemoryTransport`).

    Raises:
        ConnectionRefusedError: ``server`` does not listen.
    """

    def __init__(self, server: Server, loop: ManualLoop, **options: Any) -> None:
        self.loop = loop
        self.transport: MemoryTransport = loop.network.listener(server.port).accept(**options)
        self._received = b""

    @property
    def connection(self) -> Any:
        """The server's connection."""
        return self.transport.get_protocol()

    # -- what it sends --------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Let bytes arrive at the server, as they are."""
        self.transport.feed(data)

    def get(self, target: str = "/", *headers: str, method: str = "GET") -> None:
        """Send an HTTP request without a body; each of ``headers`` is a whole line, ``"Name: value"``."""
        lines = [f"{method} {target} HTTP/1.1", "Host: server.example", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def upgrade(self, path: str = "/", *headers: str, early: bytes = b"") -> HTTPAnswer:
        """Send a request to upgrade and return the answer.

        Args:
            path: Path and query.
            headers: Whole lines to add, ``"Name: value"``.
            early: Bytes behind the request, in the same read.
        """
        self.send(wire.handshake(path, *headers) + early)
        self.loop.settle()
        return self.response()

    def text(self, message: str) -> None:
        """Send a text message in one frame."""
        self.send(wire.frame(wire.TEXT, message))

    def binary(self, message: bytes) -> None:
        """Send a binary message in one frame."""
        self.send(wire.frame(wire.BINARY, message))

    def ping(self, payload: bytes = b"") -> None:
        """Send a PING; the answer is among the ``frames``."""
        self.send(wire.frame(wire.PING, payload))

    def pong(self, payload: bytes = b"") -> None:
        """Send a PONG, whether the server has sent a PING or not."""
        self.send(wire.frame(wire.PONG, payload))

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame, with an empty payload when ``code`` is None."""
        payload = b"" if code is None else code.to_bytes(2, "big") + reason.encode()
        self.send(wire.frame(wire.CLOSE, payload))

    # -- what it gets ---------------------------------------------------------------------------

    def response(self, *, head_only: bool = False) -> HTTPAnswer:
        """Take one HTTP response out of what the server wrote. Raises ``ValueError`` unless it is whole.

        Args:
            head_only: The request was HEAD, so the response has no body. Default False.
        """
        self._collect()
        answer, self._received = wire.read_response(self._received, head_only=head_only)
        return answer

    def responses(self) -> list[HTTPAnswer]:
        """Take all responses. Raises ``ValueError`` unless they are whole."""
        answers = []
        while self.pending():
            answers.append(self.response())
        return answers

    def frames(self) -> list[Frame]:
        """Take the whole frames that the server wrote since the last call."""
        self._collect()
        frames, self._received = wire.read_frames(self._received)
        return frames

    def texts(self) -> list[str]:
        """As ``frames``, their texts. Raises ``AssertionError`` unless all are whole text messages."""
        frames = self.frames()
        assert all(one.opcode == wire.TEXT and one.fin for one in frames), frames
        return [one.text for one in frames]

    def pending(self) -> bytes:
        """Return what the server wrote and the test has not taken."""
        self._collect()
        return self._received

    def _collect(self) -> None:
        self._received += self.transport.take_sent()

    # -- how it reads ---------------------------------------------------------------------------

    def stall(self, room: int = 0) -> None:
        """Read nothing more; ``room`` bytes still fit between."""
        self.transport.room = room

    def read(self, count: int | None = None) -> None:
        """After a stall: read ``count`` bytes more, or everything from now on."""
        self.transport.take(count)

    def read_slowly(self, count: int, seconds: float) -> None:
        """Read ``count`` bytes every so many seconds, until the connection ends."""
        if self.transport.lost:
            return
        self.transport.take(count)
        self.loop.call_later(seconds, self.read_slowly, count, seconds)

    def vanish(self) -> None:
        """Go without a word: neither data nor an end come; 256 KiB still fit between."""
        self.transport.vanish()


class RawServer:
    """A server made of bytes, which ``fastws.connect`` reaches in memory at ``ws://server:80/``.

    Args:
        loop: The loop of the client.
        port: The port of the URL. Default 80.
    """

    class _Protocol(asyncio.Protocol):
        def __init__(self, server: RawServer) -> None:
            self._server = server

        def connection_made(self, transport: Any) -> None:
            self._server.transport = transport

        def data_received(self, data: bytes) -> None:
            self._server.received += data

        def eof_received(self) -> bool:
            self._server.ended = True
            return True

        def connection_lost(self, exc: Exception | None) -> None:
            self._server.ended = True

    def __init__(self, loop: ManualLoop, port: int = 80) -> None:
        self.loop = loop
        self.received = b""
        #: The client has ended its side, or the connection.
        self.ended = False
        self.transport: Any = None
        loop.run(loop.network.create_server(lambda: self._Protocol(self), port=port))

    def send(self, data: bytes) -> None:
        """Write bytes, as they are, and let the client read them."""
        self.transport.write(data)
        self.loop.settle()

    def accept(self, *headers: str, early: bytes = b"") -> str:
        """Answer the request with a valid 101.

        Args:
            headers: Whole lines to add, ``"Name: value"``.
            early: Bytes behind the response, in the same read.

        Returns:
            The head of the request.
        """
        head, separator, rest = self.received.partition(b"\r\n\r\n")
        assert separator, self.received
        self.received = rest
        request = head.decode()
        key = next(line.split(": ")[1] for line in request.split("\r\n") if "-Key: " in line)
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {wire.accept_token(key)}",
            *headers,
        ]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + early)
        return request

    def frames(self) -> list[Frame]:
        """Take the whole frames that the client wrote since the last call."""
        frames, self.received = wire.read_frames(self.received)
        return frames
