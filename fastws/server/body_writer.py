"""The one way in which the body of a response leaves in pieces while its sender waits for the client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from fastws.protocol.http.server import UNKNOWN

if TYPE_CHECKING:
    from fastws.connection.connection import Connection

__all__ = ["BodyWriter", "check_length"]

#: Bytes of a piece that ends the turn, so that the write at its end tells whether the socket took it.
LARGE_PIECE = 16 * 1024

#: For SO_LINGER: it is on, and lasts 0 s.
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class BodyWriter:
    """Writes pieces of a body to one connection. One coroutine writes; many may wait.

    Args:
        connection: where the head of the response was written.
        high_water: bytes that may wait for a socket that refuses, before :meth:`writable` waits.
    """

    __slots__ = ("_connection", "_high_water", "_last_size", "_waiters", "written")

    def __init__(self, connection: Connection, high_water: int) -> None:
        self._connection = connection
        self._high_water = high_water
        self._waiters: list[asyncio.Future[None]] | None = []
        #: Bytes of the body that were written; and those that the last piece took, with what frames it.
        self.written = 0
        self._last_size = 0

    def write(self, piece: bytes, *, more: bool) -> None:
        """Write a piece; without ``more`` the response is complete behind it.

        Raises:
            RuntimeError: the body is not as long as its Content-Length. Nothing of the piece is written.
        """
        http = self._connection.machine.http
        check_length(len(piece), http.length_left, more=more)
        data = http.send_body(piece)
        if not more:
            data += http.end_response()
        self.written += len(piece)
        self._last_size = len(data)
        if data:
            self._connection.outbox.write_http(data)

    async def writable(self, size: int) -> None:
        """Wait until the client has taken enough of what was written; ``size`` is that of the last piece."""
        outbox = self._connection.outbox
        # Where nothing was written nothing else ends the turn: a write has found the client gone, which the
        # loop has yet to tell, or there is no body, as for HEAD.
        is_void = not outbox.is_open or not self._last_size
        if is_void or (not outbox.blocked and (size >= LARGE_PIECE or outbox.is_filling())):
            await asyncio.sleep(0)
        while self._waiters is not None and outbox.blocked and outbox.buffered_amount > self._high_water:
            waiter = self._connection.loop_state.create_future()
            self._waiters.append(waiter)
            await waiter

    def cut(self) -> None:
        """End the connection, so that the client sees that a part is missing (RFC 9112, section 8).

        What was written before still leaves, where the socket takes it. A body that ends with the connection
        would seem to be whole: that one ends with a reset.
        """
        connection = self._connection
        connection.outbox.flush()
        sock = connection.transport.get_extra_info("socket")
        if connection.machine.http.ends_with_connection and hasattr(sock, "setsockopt"):
            with contextlib.suppress(OSError):  # the client has gone already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        connection.abort()

    def drained(self) -> None:
        """The socket has taken what it refused: those who wait look again."""
        if self._waiters is not None:
            waiters, self._waiters = self._waiters, []
            _wake(waiters)

    def end(self) -> None:
        """Let nobody wait any more: the response is complete or given up. Twice does no harm."""
        waiters, self._waiters = self._waiters, None
        _wake(waiters or [])


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def check_length(size: int, left: int, *, more: bool) -> None:
    """Raise ``RuntimeError`` for ``size`` bytes of a body that do not fit what its Content-Length leaves."""
    if left == UNKNOWN:
        return
    if size > left:
        raise RuntimeError("the body is longer than its Content-Length")
    if size < left and not more:
        raise RuntimeError("the body is shorter than its Content-Length")
