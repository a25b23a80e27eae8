# cython: annotation_typing=False
"""Reads from sockets whose peers talk often, past their transports: many in one C call.

A transport asks its protocol for a buffer, reads, and hands over what came, with two visits to the
interpreter for each read. Who has sent some small messages is read from here instead, while its
transport is paused; everything unusual (the end, an error, a read that fills its part of the buffer, a
pause) goes back to the transport, which finds it again. All that was read in one call is a turn of its
own: it is answered when all of it has been handed over.
"""

from __future__ import annotations

import logging
import select
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastws.direct import SLOTS, receive_many

if TYPE_CHECKING:
    import asyncio

    from fastws.connection import Connection
    from fastws.flusher import Flusher

__all__ = ["OFTEN", "Poller"]

log = logging.getLogger("fastws.error")

#: Who has sent so many small reads talks often: what it costs to come here is worth it.
OFTEN = 8

#: Calls in a row before the rest of the loop has its turn.
ROUNDS = 4


class Poller:
    """One per event loop; everything here runs on that loop. ``buffer`` may be used by others between turns.

    Needs ``receive_many``, which is there where C modules are and epoll is.
    """

    __slots__ = ("_buffer", "_connections", "_epoll", "_fd", "_flusher", "_loop", "_slots")

    def __init__(self, loop: asyncio.AbstractEventLoop, flusher: Flusher, buffer: memoryview) -> None:
        self._loop = loop
        self._flusher = flusher
        size = len(buffer) // SLOTS
        self._buffer = buffer
        self._slots = [buffer[index * size : (index + 1) * size] for index in range(SLOTS)]
        self._connections: dict[int, Connection] = {}
        #: Only while there is somebody to read from: an idle loop keeps neither a reader nor a file.
        self._epoll: Any = None
        self._fd = -1

    def add(self, connection: Connection, fd: int) -> bool:
        """Read from ``fd`` for ``connection`` from now on; False where that cannot be had."""
        try:
            if self._epoll is None:
                self._open()
            # By edges: a read that does not fill its part has emptied the socket, and the kernel need not
            # look again. Only the end may come behind without an edge of its own, so it is asked for.
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        except (OSError, NotImplementedError):  # no descriptor left; a loop without readers
            self._close_if_empty()
            return False
        self._connections[fd] = connection
        return True

    def remove(self, connection: Connection, fd: int) -> None:
        """Read from ``fd`` no more; when it has become another's, that one's stays."""
        if self._connections.get(fd) is not connection:
            return
        del self._connections[fd]
        with suppress(OSError):  # closed already, by a transport that has not told us yet
            self._epoll.unregister(fd)
        self._close_if_empty()

    def _open(self) -> None:
        epoll = select.epoll()
        self._loop.add_reader(epoll.fileno(), self.poll)
        self._epoll = epoll
        self._fd = epoll.fileno()

    def _close_if_empty(self) -> None:
        if self._epoll is not None and not self._connections:
            self._loop.remove_reader(self._fd)
            self._epoll.close()
            self._epoll = None
            self._fd = -1

    def poll(self) -> None:
        """Read what there is, and answer it."""
        assert receive_many is not None  # who makes a poller has asked
        most = 2 * SLOTS
        for _ in range(ROUNDS):
            if self._fd < 0:
                return
            got = receive_many(self._fd, self._buffer)
            if not got:
                return
            self._hand_over(got)
            if len(got) < most:
                return

    def _hand_over(self, got: list[int]) -> None:
        # First of all, whose it is: the handler of one may end another, or have it go back.
        connections = [self._connections.get(fd) for fd in got[::2]]
        ends_turn = self._flusher.begin()
        try:
            for index, connection in enumerate(connections):
                size = got[2 * index + 1]
                if connection is not None and size >= 0:
                    try:
                        connection.polled(self._slots[index], size)
                    except Exception:  # its end, and nobody else's
                        log.exception("reading from %r failed", connection.peer)
                        connection.abort()
        finally:
            if ends_turn:
                self._flusher.flush()
