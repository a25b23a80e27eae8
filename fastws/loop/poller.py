# cython: annotation_typing=False
"""Reads from sockets whose peers talk often, past their transports: many in one C call.

A transport asks its protocol for a buffer, reads, and hands over what came, with two visits to the
interpreter for each read. Who has sent some small messages is read from here instead, while its
transport is paused; everything unusual (the end, an error, a read that fills its part of the buffer, a
pause) goes back to the transport, which finds it again. All that one poll reads is answered when it has been
handed over.
"""

from __future__ import annotations

import logging
import select
import socket
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from fastws.loop.native import SLOTS, receive_many

if TYPE_CHECKING:
    import asyncio

    from fastws.connection.connection import Connection
    from fastws.loop.turn import Turn
    from fastws.loop.wakeups import Wakeups

__all__ = ["Poller"]

log = logging.getLogger("fastws.error")

#: Who left when the kernel had told of him already.
NOBODY: tuple[Any, Any] = (None, None)

#: Calls in a row before the rest of the loop has its turn.
ROUNDS = 4


class Poller:
    """One per event loop; everything here runs on that loop.

    ``buffer`` is used only within :meth:`poll`, while nothing else reads. Needs ``receive_many``, which is
    there where C modules are and epoll is.
    """

    __slots__ = (
        "_buffer",
        "_epoll",
        "_fd",
        "_keepers",
        "_loop",
        "_members",
        "_slots",
        "_turn",
        "_wakeups",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, turn: Turn, wakeups: Wakeups, buffer: memoryview
    ) -> None:
        self._loop = loop
        self._turn = turn
        self._wakeups = wakeups
        size = len(buffer) // SLOTS
        self._buffer = buffer
        self._slots = [buffer[index * size : (index + 1) * size] for index in range(SLOTS)]
        #: By descriptor: who is read from, and in which context its callbacks run.
        self._members: dict[int, tuple[Connection, Context]] = {}
        #: Only while somebody keeps it or is read from: else the loop keeps neither a reader nor a file.
        self._epoll: Any = None
        self._fd = -1
        self._keepers = 0

    def keep(self) -> None:
        """Have the epoll set open until :meth:`release`, so that it takes a descriptor now and none later."""
        self._keepers += 1
        with suppress(OSError, NotImplementedError):  # then the first to talk often may find one, or nobody
            self._open()

    def release(self) -> None:
        self._keepers -= 1
        self._close_if_unused()

    def add(self, connection: Connection, sock: Any, context: Context) -> bool:
        """Read from ``sock`` for ``connection`` from now on; False where that cannot be had."""
        fd = sock.fileno()
        # Of TCP by edges: a read that does not fill its part has emptied the socket, and the kernel need
        # not look again. Only urgent data stops one, and the end may come behind without an edge of its
        # own, so both are asked for. Among processes descriptors that are sent along stop a read, too.
        events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLPRI
        if sock.family != socket.AF_UNIX:
            events |= select.EPOLLET
        try:
            self._open()
            self._epoll.register(fd, events)
        except (OSError, NotImplementedError):  # no descriptor left; a loop without readers
            self._close_if_unused()
            return False
        self._members[fd] = (connection, context)
        return True

    def remove(self, connection: Connection, fd: int) -> None:
        """Read from ``fd`` no more; when it has become another's, that one's stays."""
        member = self._members.get(fd)
        if member is None or member[0] is not connection:
            return
        del self._members[fd]
        with suppress(OSError):  # closed already, by a transport that has not told us yet
            self._epoll.unregister(fd)
        self._close_if_unused()

    def _open(self) -> None:
        if self._epoll is not None:
            return
        epoll = select.epoll()
        # In a context of its own, that keeps alive what nobody put there.
        Context().run(self._loop.add_reader, epoll.fileno(), self.poll)
        self._epoll = epoll
        self._fd = epoll.fileno()

    def _close_if_unused(self) -> None:
        if self._epoll is not None and not self._members and not self._keepers:
            self._loop.remove_reader(self._fd)
            self._epoll.close()
            self._epoll = None
            self._fd = -1

    def poll(self) -> None:
        """Read what there is, hand it over, go on with the tasks that waited for it, and have it answered."""
        assert receive_many is not None  # who makes a poller has asked
        most = 2 * SLOTS
        fatal: BaseException | None = None
        ends_turn = self._turn.begin()
        try:
            for _ in range(ROUNDS):
                if self._fd < 0:
                    break
                got = receive_many(self._fd, self._buffer)
                if got:
                    self._wakeups.begin()
                    try:
                        self._hand_over(got)
                    finally:
                        fatal = self._wakeups.end()
                if fatal is not None:
                    raise fatal
                if len(got) < most:
                    break
        finally:
            if ends_turn:
                self._turn.end()

    def _hand_over(self, got: list[int]) -> None:
        """Give each its bytes, whatever becomes of the others: they are in no socket any more."""
        # First of all, whose they are: the handler of one may end another, or have it go back.
        members = [self._members.get(fd, NOBODY) for fd in got[::2]]
        fatal: BaseException | None = None
        start = 0
        while start < len(members):
            # Those that share a context go together.
            member, end = members[start], start + 1
            while end < len(members) and members[end][1] is member[1]:
                end += 1
            if member[0] is not None:
                fatal = member[1].run(self._hand_over_some, members, got, start, end) or fatal
            start = end
        if fatal is not None:
            raise fatal

    def _hand_over_some(
        self, members: list[tuple[Any, Any]], got: list[int], start: int, end: int
    ) -> BaseException | None:
        fatal: BaseException | None = None
        for index in range(start, end):
            size = got[2 * index + 1]
            if size < 0:
                continue
            connection = members[index][0]
            try:
                connection.polled(self._slots[index], size)
            except BaseException as exc:  # the end of this one, and of nobody else
                log.exception("reading from %r failed", connection.peer)
                connection.abort()
                if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                    fatal = exc
        return fatal
