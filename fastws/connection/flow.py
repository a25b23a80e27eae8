"""How well a peer takes what it is sent, what became of a message, and what an outbox asks of its host."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastws.connection.publication import Publication

__all__ = ["FlowState", "OutboxHost", "SendStatus"]


class FlowState(IntEnum):
    """How well a peer takes what it is sent; ``ws.flow``."""

    #: Its socket has taken all bytes.
    CLEAR = 0
    #: Its socket has refused bytes, and messages wait. It is read on: it may only be far away, or have been
    #: sent much at once.
    CONGESTED = 1
    #: Half of what may wait does, in messages or bytes, or it asks for pongs and does not read them. Nothing
    #: more is read from it until its socket has taken what waits; beyond the limits the policies decide.
    SLOW = 2


class SendStatus(IntEnum):
    """The verdict of a send that never waits: what became of the message."""

    #: The socket holds nothing back.
    SENT = 0
    #: Accepted; waits behind a slow socket, or until a fragmented message is complete.
    QUEUED = 1
    #: Not accepted: the queue of what waits is at its limit.
    DROPPED = 2
    #: Not accepted: the WebSocket is closing or closed.
    CLOSED = 3


class OutboxHost(Protocol):
    """What an outbox asks of its connection."""

    def encode_publication(self, publication: Publication) -> bytes:
        """Return a frame that only this peer can read."""

    def evict(self, reason: str) -> None:
        """Close a peer that is too slow."""

    def slow(self) -> None:
        """Read nothing more from a peer that is slow, until :meth:`drained`."""

    def keep_fresh(self) -> None:
        """Have the kernel hold little that was not sent yet: no newer value replaces what it holds."""

    def drained(self) -> None:
        """The socket has taken bytes again, or the end of a fragmented message has let others leave."""
