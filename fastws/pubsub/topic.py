# cython: annotation_typing=False
"""A name that clients listen to, and what was published to it in this turn. It knows no outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.config import SlowConsumerPolicy
from fastws.connection.counters import UNCOUNTED
from fastws.connection.publication import Channel, Publication

if TYPE_CHECKING:
    from fastws.connection._counters import Counters
    from fastws.protocol.websocket.deflate import DeflatePool

__all__ = ["Topic"]


class Topic(Channel):
    """Declare one with :meth:`Hub.topic` to give it settings."""

    __slots__ = ("batch", "gate", "name", "presence", "registry", "subscribers", "tally", "view")

    def __init__(
        self,
        name: str,
        merge: str | None,
        policy: SlowConsumerPolicy | None,
        deflate: DeflatePool | None,
        registry: dict[str, Topic] | None = None,
    ) -> None:
        Channel.__init__(self, merge, policy, deflate)
        self.name = str.__str__(name)  # of a subclass, such as a StrEnum's member, its text
        #: Where it leaves when nobody listens any more; None for a declared topic, which stays.
        self.registry = registry
        #: Who listens (:class:`fastws.pubsub.fanout.Subscriber`), in the order of subscribing.
        self.subscribers: dict[Any, None] = {}
        #: What this turn has published, in order.
        self.batch: list[Publication] = []
        #: What the clients of feeds listen to (:class:`fastws.pubsub.views.View`); None while there are none.
        self.view: Any = None
        #: What collects and leaves out messages, and who listens at a pace of its own
        #: (:class:`fastws.pubsub.gate.Gate`); None where there is nothing of it.
        self.gate: Any = None
        #: Who is here (:class:`fastws.pubsub.presence.board.Board`); None where nobody is told.
        self.presence: Any = None
        #: Where its messages count: with those of its class.
        self.tally: Counters = UNCOUNTED

    def listeners(self) -> int:
        """Return how many clients listen."""
        return len(self.subscribers) + self.paced() + (0 if self.view is None else self.view.listeners())

    def is_heard(self) -> bool:
        """True when anybody listens."""
        return bool(self.subscribers or self.view) or self.paced() > 0

    def paced(self) -> int:
        """Return how many clients listen at a pace of their own."""
        return 0 if self.gate is None or self.gate.lane is None else len(self.gate.lane.cursors)

    def kept_bytes(self) -> int:
        """Return the bytes of what is kept."""
        return 0 if self.view is None else self.view.kept_bytes()

    def remove(self, subscriber: object) -> None:
        """Let ``subscriber`` listen no more."""
        self.subscribers.pop(subscriber, None)
        if not self.subscribers and self.registry is not None and self.view is None and not self.paced():
            self.registry.pop(self.name, None)
