# cython: annotation_typing=False
"""When a connection reads: why it pauses, what waits meanwhile, and when the poller reads."""

from __future__ import annotations

from enum import IntFlag
from typing import Any

from fastws.connection.core import ConnectionCore
from fastws.loop.native import SLOTS, receive_many
from fastws.loop.state import READ_BUFFER_BYTES
from fastws.protocol.websocket.states import OPEN

__all__ = ["PauseReason", "Pausing"]

#: A read of fewer bytes fits in the poller's part of the buffer for one connection.
POLLED_READ_BYTES = READ_BUFFER_BYTES // SLOTS

#: After so many reads in a row that fit there, the poller reads this socket.
SMALL_READS_BEFORE_POLLING = 8


class PauseReason(IntFlag):
    """Why nothing is read at the moment. Reading goes on when no reason is left."""

    USER = 1  #: the application asked for it
    INBOX = 2  #: the inbox of a coroutine is full
    PEER = 4  #: the peer is slow: it does not read what we owe it
    TURN = 8  #: other connections have their turn of the loop first


PAUSE_USER, PAUSE_INBOX, PAUSE_PEER, PAUSE_TURN = map(int, PauseReason)


class Pausing(ConnectionCore):
    """The part that pauses and resumes reading."""

    __slots__ = ("_held_events", "_pause_reasons", "_polled_fd", "_small_reads")

    def _init_pausing(self) -> None:
        self._pause_reasons = 0
        #: What came before the pause and is not delivered yet, in order.
        self._held_events: list[Any] | None = None
        #: Small reads since the last large one.
        self._small_reads = 0
        #: The descriptor that the poller reads; -1 while the transport reads.
        self._polled_fd = -1

    def pause(self, reason: int) -> None:
        """Read nothing more for ``reason``, a ``PauseReason``, until :meth:`resume`. Twice does no harm."""
        if self._polled_fd >= 0:
            self._leave_poller()  # its transport is paused
        elif not self._pause_reasons and not self.transport.is_closing():
            self.transport.pause_reading()
        self._pause_reasons |= reason

    def resume(self, reasons: int) -> None:
        """Take ``reasons`` away; if none is left, deliver what was held back and read again."""
        if not self._pause_reasons & reasons:
            return
        self._pause_reasons &= ~reasons
        while self._held_events is not None and not self._pause_reasons:
            held, self._held_events = self._held_events, None
            self.deliver(held)
        if not self._pause_reasons and not self.transport.is_closing():
            self.transport.resume_reading()

    def resume_all(self) -> None:
        """Take every reason away."""
        self.resume(PAUSE_USER | PAUSE_INBOX | PAUSE_PEER | PAUSE_TURN)

    def hold_input(self) -> None:
        """Read nothing more for now; for the phase."""
        self.pause(PAUSE_PEER)

    def release_input(self) -> None:
        """End what :meth:`hold_input` began."""
        self.resume(PAUSE_PEER)

    def pause_user(self) -> None:
        self.pause(PAUSE_USER)

    def resume_user(self) -> None:
        self.resume(PAUSE_USER)

    def pause_inbox(self) -> None:
        self.pause(PAUSE_INBOX)

    def resume_inbox(self) -> None:
        self.resume(PAUSE_INBOX)

    def _pause_for_turn(self) -> None:
        """Pause until the other connections have had their turn of the loop."""
        if not self._pause_reasons & PAUSE_TURN:
            self.pause(PAUSE_TURN)
            self.loop_state.call_soon(self.resume, PAUSE_TURN)

    def _discard_input(self) -> None:
        """Read again whatever paused it, so that the end of TCP is seen; nothing is delivered any more."""
        self._held_events = None
        if self._pause_reasons or self._polled_fd >= 0:
            self._leave_poller()
            self._pause_reasons = 0
            self.transport.resume_reading()

    # -- the poller -----------------------------------------------------------------------------

    def _count_read(self, size: int) -> None:
        """Count a read by the transport; after 8 small reads in a row the poller reads this socket."""
        if size >= POLLED_READ_BYTES or self.outbox.fd < 0 or receive_many is None:
            self._small_reads = 0
            return
        self._small_reads += 1
        if self._small_reads >= SMALL_READS_BEFORE_POLLING:
            self._small_reads = 0
            if self.machine.state is OPEN and not self._pause_reasons and not self.transport.is_closing():
                self._enter_poller()

    def _enter_poller(self) -> None:
        """Have the poller read this socket, where it can."""
        poller = self.loop_state.poller_or_none()
        assert poller is not None  # there is receive_many
        sock = self.transport.get_extra_info("socket")
        self.transport.pause_reading()
        if poller.add(self, sock, self.host.callback_context()):
            self._polled_fd = self.outbox.fd
        else:
            self.transport.resume_reading()

    def _leave_poller(self) -> None:
        """Take the socket back from the poller; the transport stays paused."""
        if self._polled_fd >= 0:
            poller = self.loop_state.poller
            assert poller is not None
            poller.remove(self, self._polled_fd)
            self._polled_fd = -1
