# cython: annotation_typing=False
"""What waits because a socket has refused bytes, and how well its peer takes what it is sent.

This part of an outbox keeps the backlog and the state (:class:`fastws.connection.flow.FlowState`); what goes
into the backlog, and what leaves it, is decided in :mod:`fastws.connection.outbox`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.config import Limits
from fastws.connection.backlog import Backlog
from fastws.connection.counters import UNCOUNTED
from fastws.connection.flow import FlowState
from fastws.connection.writer import Writer

if TYPE_CHECKING:
    from fastws.connection.publication import Publication

__all__ = ["CLEAR", "CONGESTED", "SLOW", "Congestion"]

CLEAR, CONGESTED, SLOW = map(int, FlowState)


class Congestion(Writer):
    """The part of an outbox that lets messages wait. The outbox sets its fields, which saves a call."""

    __slots__ = ("_backlog", "_host", "flow", "fragmenting", "frame_variant", "limits", "peak_queue")

    #: An ``OutboxHost``.
    _host: Any
    _backlog: Backlog | None
    #: How much may wait: ``send_queue`` and ``send_queue_bytes``.
    limits: Limits
    #: Which bytes of a publication fit; see :mod:`fastws.connection.publication`.
    frame_variant: int
    #: A fragmented message is under way: other messages wait until it is complete.
    fragmenting: bool
    #: How well the peer takes what it is sent, a ``FlowState``.
    flow: int
    #: The most messages that have waited at a time.
    peak_queue: int

    def pause(self) -> None:
        """The socket has refused bytes."""
        self.blocked = True
        if self.flow == CLEAR:
            self.flow = CONGESTED
            if self._backlog is not None and self._backlog.is_large(self.limits):
                self._become_slow()

    def _wait(self, item: bytes | Publication, size: int) -> None:
        if self._backlog is None:
            self._backlog = Backlog(self.turn.clock())
        self._backlog.append(item, size)
        if len(self._backlog) > self.peak_queue:
            self.peak_queue = len(self._backlog)
        self.counters.row.queue_bytes += size
        if self.flow == CONGESTED and self._backlog.is_large(self.limits):
            self._become_slow()

    def _become_slow(self) -> None:
        if self.flow != SLOW:
            self.flow = SLOW
            self._host.slow()

    def keep_fresh(self) -> None:
        """Have the socket refuse early, for a peer that follows what is replaced by newer values."""
        self._host.keep_fresh()

    def is_full(self, size: int) -> bool:
        """True when a message of ``size`` bytes is over the limits."""
        return self._backlog is not None and self._backlog.is_full(self.limits, size)

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return len(self._backlog) if self._backlog is not None else 0

    @property
    def queue_bytes(self) -> int:
        """Bytes of the messages that wait."""
        return self._backlog.size if self._backlog is not None else 0

    @property
    def waiting_since(self) -> float | None:
        """When the oldest message that waits began to, at the earliest; None where none does."""
        return self._backlog.since if self._backlog is not None else None

    def publications(self) -> list[Publication]:
        """Return what topics have published and waits."""
        return self._backlog.publications() if self._backlog is not None else []

    @property
    def buffered_amount(self) -> int:
        """Bytes accepted that the socket has not taken yet."""
        held: int = self._transport.get_write_buffer_size() if self.blocked else 0
        return self.unwritten() + self.queue_bytes + held

    def discard(self) -> None:
        """Forget everything: the connection is lost."""
        Writer.discard(self)
        self.drop_backlog()

    def drop_backlog(self) -> None:
        """Throw away what waits."""
        if self._backlog is not None:
            self.counters.row.queue_bytes -= self._backlog.size
            self._backlog = None

    def end_count(self) -> None:
        """The WebSocket has ended: what still waits is no message of its client's any more."""
        if self._backlog is not None:
            self.counters.row.queue_bytes -= self._backlog.size
        self.counters = UNCOUNTED
