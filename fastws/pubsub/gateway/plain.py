"""Plain topics of a node: what it publishes is numbered, and the numbers of what comes are compared.

Each topic of a node has numbers of its own, without holes. Who has followed it before knows from them what is
a double and what is missing. A topic that was silent for long is forgotten; when it is used again its numbers
begin anew, in another *life*. The lives of one gateway have the same upper half: where that changes, the node
has another gateway, and nobody knows what the last one had not handed on.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import suppress

from fastws.pubsub.brokers.base import Broker, name_of, names_in
from fastws.pubsub.brokers.envelope import NODE_BYTES, Blob, blobs, encode_blob, kept_of, read_blob
from fastws.pubsub.bus.records import BadRecord

__all__ = ["Plain"]

log = logging.getLogger("fastws.error")

#: A topic that was silent for so many seconds is forgotten; who receives it remembers it for longer.
FORGET_TICKS, REMEMBER_TICKS = 60, 180
#: After so many seconds a last number is said again that the broker has refused.
AGAIN_TICKS = 5


#: Half of a life.
LIFE_BITS = 16


class Way:
    """A topic of this node on its way out."""

    __slots__ = ("is_told", "life", "number", "silent_ticks", "wait_ticks")

    def __init__(self, life: int) -> None:
        self.life = life
        #: The number of the next message.
        self.number = 1
        #: Whether the last number has been said again, and for how many seconds nothing was published.
        self.is_told = True
        self.silent_ticks = 0
        #: For so many seconds it is not said.
        self.wait_ticks = 0


class Source:
    """A topic of another node."""

    __slots__ = ("expected", "life", "silent_ticks")

    def __init__(self, blob: Blob) -> None:
        self.life = blob.life
        self.expected = blob.number
        self.silent_ticks = 0


class Plain:
    """Everything here runs on one loop.

    Args:
        broker: What joins the nodes.
        relay: Called with the names of hub and topic, and with the messages that another node has published.
        skip: Called with these names and how many of its messages do not come; None: nobody knows.
        node: The node's name on the wire, the same for each gateway that it has. Default: a new one.
    """

    def __init__(
        self,
        broker: Broker,
        relay: Callable[[str, str, list[bytes]], None],
        skip: Callable[[str, str, int | None], None],
        node: bytes | None = None,
    ) -> None:
        self._broker = broker
        self._relay = relay
        self._skip = skip
        self.node = node or secrets.token_bytes(NODE_BYTES)
        self._gateway = secrets.randbits(LIFE_BITS) << LIFE_BITS
        self._lives = 0
        self._ways: dict[str, Way] = {}
        #: By the name of the topic, and by node.
        self._sources: dict[str, dict[bytes, Source]] = {}
        #: Messages, since the last line of the log: of other nodes that did not come; of this one that were
        #: dropped unsent, of which the first number is not known; and that were too large.
        self._missed = 0
        self._dropped = 0
        self._too_large = 0
        #: The names of topics in which something came, since the last look, that makes no sense.
        self._strange: set[str] = set()
        #: How many of other nodes have not come, in all.
        self.missed = 0

    # -- what leaves ----------------------------------------------------------------------------

    def publish(self, hub: str, topic: str, body: bytes, count: int) -> None:
        """Let other nodes have a run of this one."""
        name = name_of(hub, topic)
        way = self._way_of(name)
        for skipped, bodies in blobs(body, count, self._broker.max_bytes):
            if skipped:
                self._too_large += skipped
                way.number += skipped
            if bodies:
                self._broker.publish(name, encode_blob(self.node, way.life, way.number, bodies))
                way.number += len(bodies)
        way.is_told = False
        way.silent_ticks = way.wait_ticks = 0

    def missed_here(self, hub: str, topic: str, missed: int) -> None:
        """A worker of this node has published messages that the gateway has not got."""
        way = self._way_of(name_of(hub, topic))
        way.number += missed
        way.is_told = False

    def dropped(self, name: str) -> None:
        """A blob of a topic waited for too long, or was refused. The next number tells."""
        way = self._ways.get(name)
        if way is not None and way.is_told:  # it was that number
            way.wait_ticks = AGAIN_TICKS
        else:
            self._dropped += 1
        if way is not None:
            way.is_told = False
            way.silent_ticks = 0

    def _way_of(self, name: str) -> Way:
        way = self._ways.get(name)
        if way is None:
            self._lives = (self._lives + 1) % 2**LIFE_BITS
            way = self._ways[name] = Way(self._gateway + self._lives)
        return way

    # -- what comes -----------------------------------------------------------------------------

    def followed(self, name: str) -> None:
        """Somebody here follows a topic that nobody did. Nobody misses what came meanwhile."""
        self._sources.pop(name, None)

    def take(self, name: str, data: bytes) -> None:
        """Take a blob of any node, this one too."""
        try:
            hub, topic = names_in(name)
            blob = read_blob(data)
            if blob.node == self.node:
                return
            missed, bodies = self._compare(name, blob)
            frames = [kept_of(body) for body in bodies]
        except (BadRecord, ValueError) as error:
            self._take_strange(name, str(error))
            return
        if missed:
            self._missed += missed
            self.missed += missed
        if missed is None or missed:
            self._skip(hub, topic, missed)
        if frames:
            self._relay(hub, topic, frames)

    def _take_strange(self, name: str, reason: str) -> None:
        """It may have been messages of a node of another version: tell it, once in a second."""
        if name not in self._strange:
            self._strange.add(name)
            log.error("broker %s: topic %s holds what is no message: %s", self._broker.label, name, reason)
            with suppress(ValueError):
                self._skip(*names_in(name), None)

    def _compare(self, name: str, blob: Blob) -> tuple[int | None, list[bytes]]:
        """Return how many messages are missing before those that are new, and them."""
        sources = self._sources.setdefault(name, {})
        source = sources.get(blob.node)
        if source is None or blob.life != source.life:
            is_other = source is not None and (blob.life ^ source.life) >> LIFE_BITS
            source = sources[blob.node] = Source(blob)
            if is_other:
                source.expected += len(blob.bodies)
                return None, blob.bodies
        source.silent_ticks = 0
        known = source.expected - blob.number
        end = blob.number + len(blob.bodies)
        if end <= source.expected:
            return 0, []
        source.expected = end
        return (-known, blob.bodies) if known < 0 else (0, blob.bodies[known:])

    # -- once a second --------------------------------------------------------------------------

    def tick(self, *, is_ready: bool) -> None:
        """Say last numbers again, so that a lost end is told; forget what was silent for long; log."""
        for name, way in list(self._ways.items()) if is_ready else ():
            way.silent_ticks += 1
            if way.wait_ticks:
                way.wait_ticks -= 1
            elif not way.is_told:
                way.is_told = True
                self._broker.publish(name, encode_blob(self.node, way.life, way.number))
            elif way.silent_ticks >= FORGET_TICKS:
                del self._ways[name]
        for name, sources in list(self._sources.items()):
            for node, source in list(sources.items()):
                source.silent_ticks += 1
                if source.silent_ticks >= REMEMBER_TICKS:
                    del sources[node]
            if not sources:
                del self._sources[name]
        self._strange.clear()
        self._say()

    def _say(self) -> None:
        label = self._broker.label
        if self._missed:
            log.error("broker %s: missed %d messages of other nodes", label, self._missed)
        if self._dropped:
            text = "broker %s: %d runs of messages were dropped: too much waits, or they were refused"
            log.error(text, label, self._dropped)
        if self._too_large:
            most = self._broker.max_bytes
            text = "broker %s: %d messages were dropped: a message may have about %d bytes there"
            log.error(text, label, self._too_large, most)
        self._missed = self._dropped = self._too_large = 0
