# cython: annotation_typing=False
"""Reads from sockets whose peers often send small messages: up to ``SLOTS`` of them in one call into C.

A transport asks its protocol for a buffer, reads, and hands over what came. That enters the interpreter twice
for each read. So the poller reads the sockets of busy connections itself, while their transports are paused.
A transport gets its socket back for everything unusual: the end of TCP, an error, a read that fills the
connection's part of the buffer, a pause. It finds there what the poller has left. All that one poll has read
is answered when all of it has been handed over.

Where a topic leaves messages of a flood out, waking up for one costs far more than what is done with it. So
its connection *rests*: its socket is in a second epoll set, at which the poller looks every few milliseconds.
What has come meanwhile is one read.
"""

from __future__ import annotations

import logging
import select
import socket
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from fastws.loop.native import SLOTS, receive_many
from fastws.loop.timers import Timed

if TYPE_CHECKING:
    import asyncio

    from fastws.loop.turn import Turn
    from fastws.loop.wakeups import Wakeups

__all__ = ["Polled", "Poller"]

log = logging.getLogger("fastws.error")

#: Calls into C of one poll. After them the rest of the loop has its turn, even if more could be read.
READS_PER_POLL = 4

#: After so many reads in a row of which nothing was left out, a connection rests no more.
READS_OF_WORTH = 8

#: When so many seconds have brought nothing, no connection rests any more.
REST_ENDS_SECONDS = 1.0


class Polled(Timed):
    """What the poller knows of a connection: a base for one that it may read for."""

    __slots__ = ()

    @property
    def peer(self) -> Any:
        """The peer's address, for the log."""
        raise NotImplementedError

    def polled(self, data: memoryview, size: int) -> None:
        """Take the first ``size`` bytes of ``data``, which is valid during this call only.

        ``size`` is 0 when the transport has to look: at the end of TCP, an error or urgent data.
        """
        raise NotImplementedError

    def abort(self) -> None:
        """End TCP at once."""
        raise NotImplementedError


class Member:
    """A connection that the poller reads for, and the context in which its callbacks run."""

    # A class, not a tuple: compiled, its fields have types that nobody has to check for each read.
    __slots__ = ("connection", "context", "events", "reads_of_worth", "rests")

    def __init__(self, connection: Any, context: Any, events: int) -> None:
        self.connection = connection
        self.context = context
        #: Of what the kernel shall tell.
        self.events = events
        #: True while its socket is in the second set; and its reads there since a message was left out.
        self.rests = False
        self.reads_of_worth = 0


#: In place of a connection that the poller reads no more, but of which the kernel had told before.
NO_MEMBER = Member(None, None, 0)


class Poller:
    """One per event loop; everything here runs on that loop.

    ``buffer`` is used only within :meth:`poll`, while nothing else reads. It needs ``receive_many``, which
    exists where the C modules were built and the system has epoll.
    """

    __slots__ = (
        "_buffer",
        "_epoll",
        "_fd",
        "_keepers",
        "_looks_in_vain",
        "_loop",
        "_members",
        "_rest_seconds",
        "_resting",
        "_resting_epoll",
        "_resting_fd",
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
        #: By descriptor.
        self._members: dict[int, Member] = {}
        #: Open only while there is a member or a keeper: otherwise the loop has neither a reader nor a file.
        self._epoll: Any = None
        self._fd = -1
        self._keepers = 0
        #: The second set, open while somebody rests; how many do.
        self._resting_epoll: Any = None
        self._resting_fd = -1
        self._resting = 0
        #: The time between two looks at it, and how many in a row have found nothing.
        self._rest_seconds = 0.0
        self._looks_in_vain = 0

    def keep(self) -> None:
        """Keep the epoll set open until :meth:`release`: it takes its descriptor now, and none later."""
        self._keepers += 1
        # Without a descriptor now: the first busy connection tries again, or its transport goes on reading.
        with suppress(OSError, NotImplementedError):
            self._open()

    def release(self) -> None:
        """End what one :meth:`keep` began."""
        self._keepers -= 1
        self._close_if_unused()

    def add(self, connection: Polled, sock: Any, context: Context) -> bool:
        """Read ``sock`` for ``connection`` from now on, and call it in ``context``.

        Returns False where that is impossible: no descriptor is left, or the loop has no readers.
        """
        fd = sock.fileno()
        # TCP is watched by edges: a read that does not fill its part has emptied the socket, and the kernel
        # need not look again. Only urgent data stops a read early, and the end of TCP may come behind it
        # without an edge of its own, so both are asked for. On a Unix socket a read also stops at descriptors
        # that were sent along: these sockets are watched by level.
        events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLPRI
        if sock.family != socket.AF_UNIX:
            events |= select.EPOLLET
        try:
            self._open()
            self._epoll.register(fd, events)
        except (OSError, NotImplementedError):
            self._close_if_unused()
            return False
        self._members[fd] = Member(connection, context, events)
        return True

    def remove(self, connection: Polled, fd: int) -> None:
        """Read ``fd`` no more; does nothing when the descriptor belongs to another connection by now."""
        member = self._members.get(fd)
        if member is None or member.connection is not connection:
            return
        del self._members[fd]
        with suppress(OSError):  # the transport has closed it already, and has not told us yet
            (self._resting_epoll if member.rests else self._epoll).unregister(fd)
        if member.rests:
            self._rested(member)
        self._close_if_unused()

    def _open(self) -> None:
        if self._epoll is not None:
            return
        epoll = select.epoll()
        # In an empty context: the reader would keep alive what the current one holds.
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
        """Read what there is, hand it over, resume the coroutines that waited for it, write the answers."""
        self._read(self._fd)

    def _read(self, epoll_fd: int) -> int:
        """Do that for one of the two sets; return how many reads it were."""
        assert receive_many is not None  # who makes a poller has checked that
        most = 2 * SLOTS
        reads = 0
        fatal: BaseException | None = None
        ends_turn = self._turn.begin()
        try:
            for _ in range(READS_PER_POLL):
                if epoll_fd not in (self._fd, self._resting_fd):  # it was closed meanwhile
                    break
                got = receive_many(epoll_fd, self._buffer)
                reads += len(got) // 2
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
        return reads

    def _hand_over(self, got: list[int]) -> None:
        """Give each connection its bytes, whatever the others raise: the bytes are in no socket any more."""
        # Look all of them up first: a handler may end another connection, or hand it back to its transport.
        members = [self._members.get(fd, NO_MEMBER) for fd in got[::2]]
        fatal: BaseException | None = None
        start = 0
        while start < len(members):
            # Those that share a context are called in one run of it.
            member, end = members[start], start + 1
            while end < len(members):
                other = members[end]
                if other.context is not member.context:
                    break
                end += 1
            if member.connection is not None:
                fatal = member.context.run(self._hand_over_some, members, got, start, end) or fatal
            start = end
        if fatal is not None:
            raise fatal

    def _hand_over_some(
        self, members: list[Member], got: list[int], start: int, end: int
    ) -> BaseException | None:
        """Hand over the reads from ``start`` to ``end``; return what has to end the loop."""
        fatal: BaseException | None = None
        turn = self._turn
        for index in range(start, end):
            size = got[2 * index + 1]
            if size < 0:
                continue
            member = members[index]
            connection = member.connection
            turn.rest_seconds = 0.0
            try:
                connection.polled(self._slots[index], size)
            except BaseException as exc:  # ends this connection, and no other
                log.exception("reading from %r failed", connection.peer)
                connection.abort()
                if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                    fatal = exc
            if turn.rest_seconds or member.rests:
                self._judge(member, got[2 * index], turn.rest_seconds)
        return fatal

    # -- rest -----------------------------------------------------------------------------------

    def _judge(self, member: Member, fd: int, rest_seconds: float) -> None:
        """Decide by its last read whether a connection rests: 0.0 when nothing of it was left out."""
        if self._members.get(fd) is not member:  # it has left the poller
            return
        if not rest_seconds:
            member.reads_of_worth += 1
            if member.reads_of_worth >= READS_OF_WORTH:
                self._wake(member, fd)
            return
        member.reads_of_worth = 0
        self._rest_seconds = min(rest_seconds, self._rest_seconds) if self._resting else rest_seconds
        if not member.rests:
            self._rest(member, fd)

    def _rest(self, member: Member, fd: int) -> None:
        """Move a socket to the second set; without a descriptor for that set nobody rests."""
        if self._resting_epoll is None:
            try:
                self._resting_epoll = select.epoll()
            except OSError:
                return
            self._resting_fd = self._resting_epoll.fileno()
            self._looks_in_vain = 0
            self._look_later()
        self._epoll.unregister(fd)
        member.rests = True
        self._resting += 1
        self._register(member, fd, self._resting_epoll)

    def _wake(self, member: Member, fd: int) -> None:
        """Move a socket back to the first set."""
        self._resting_epoll.unregister(fd)
        self._rested(member)
        self._register(member, fd, self._epoll)

    def _register(self, member: Member, fd: int, target: Any) -> None:
        """Add a socket to a set, which tells at once what has come already."""
        try:
            target.register(fd, member.events)
        except OSError:  # the kernel has no memory for it
            member.connection.polled(self._buffer[:0], 0)  # its transport reads from now on

    def _rested(self, member: Member) -> None:
        """Count one less; the second set ends with the last."""
        member.rests = False
        self._resting -= 1
        if not self._resting:
            self._resting_epoll.close()
            self._resting_epoll = None
            self._resting_fd = -1

    def _look_later(self) -> None:
        # In an empty context, as poll.
        self._loop.call_later(self._rest_seconds, self._look, self._resting_epoll, context=Context())

    def _look(self, epoll: Any) -> None:
        """Read what has come to those who rest."""
        if epoll is not self._resting_epoll:  # nobody of that set rests any more
            return
        reads = 0
        try:
            reads = self._read(self._resting_fd)
        finally:
            self._looks_in_vain = 0 if reads else self._looks_in_vain + 1
            if self._looks_in_vain * self._rest_seconds >= REST_ENDS_SECONDS:
                for fd, member in list(self._members.items()):
                    if member.rests:
                        self._wake(member, fd)
            if epoll is self._resting_epoll:
                if reads < READS_PER_POLL * SLOTS:
                    self._look_later()
                else:  # there may be more, and the loop has had its turn
                    self._loop.call_soon(self._look, epoll, context=Context())
