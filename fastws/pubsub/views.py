# cython: annotation_typing=False
"""A topic as the clients of feeds get it: each message as a JSON object that names its topic and position.

A *view* is beside its topic, with subscribers of its own. It gives them what the topic publishes, wrapped
once for all of them, and shares the topic's history, epoch and offsets: a client that is behind reads the
history, wrapped. A topic without a history has a view too. That keeps what clients that are slow have not
been given yet, in one place for all of them, and nothing while nobody is behind.

The objects are those of ``fastws.feed.protocol``.
"""

from __future__ import annotations

import math
from binascii import b2a_base64
from typing import TYPE_CHECKING, Any

from fastws.config import SlowConsumerPolicy
from fastws.connection.publication import Channel, Publication, payload_of
from fastws.json import dumps
from fastws.protocol.websocket.frames import FIN, Opcode, encode
from fastws.pubsub.history import History
from fastws.pubsub.notes import author_of, frame_of
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.topic import Topic

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox
    from fastws.pubsub.events import Position
    from fastws.pubsub.fanout import FanOut
    from fastws.pubsub.wishes import Wish

__all__ = ["View", "say", "view_of"]

TEXT = int(Opcode.TEXT)
TEXT_FRAME = FIN | TEXT
#: What a topic without a history keeps for its slow clients, all together.
BEHIND_MESSAGES = 256
BEHIND_BYTES = 2**20

#: What is said to one client of a feed. It is never dropped: where it cannot wait, the client is closed.
REPLIES = Channel(None, SlowConsumerPolicy.EVICT, None)


def say(outbox: Outbox, text: bytes) -> None:
    """Send one client of a feed a text message, behind what was published for it before."""
    outbox.must_wait()  # takes what was published
    outbox.deliver_batch(REPLIES, [Publication(REPLIES, 0, None, encode(TEXT, text))])


class View(SequencedTopic):
    """What one topic publishes, for the clients of feeds. It lasts as long as it has subscribers."""

    __slots__ = ("_asked", "_at", "_head", "_replay", "has_history", "joining", "source", "wishes")

    def __init__(self, source: Topic) -> None:
        Topic.__init__(self, source.name, None, source.policy, source.deflate)
        self.sequenced = True
        self.behind = {}
        self.followers = []
        self.is_shared = False
        self.is_live = True
        #: Those that wait until it is known where they begin (:mod:`fastws.pubsub.keeper.shared_topic`).
        self.wishes: dict[Any, Wish] = {}
        self.source: Any = source
        self.tally = source.tally
        #: Those that have not been told yet that they have caught up.
        self.joining: dict[Any, None] = {}
        #: True: messages have positions, and the history is the topic's.
        self.has_history = source.sequenced
        #: What an object begins with; and one with a position, up to its number.
        self._head = b'{"t":' + dumps(self.name)
        self._at = b""
        #: The last replay, for the next client that comes back to the same place: its offset and messages.
        self._asked: tuple[int, int] = (0, 0)
        self._replay: list[bytes] = []
        if self.has_history:
            self.begin_epoch()
        else:
            self.history = History(BEHIND_MESSAGES, BEHIND_BYTES, math.inf)
            self.epoch = ""

    def begin_epoch(self) -> None:
        """Its topic begins another life."""
        self.history = self.source.history
        self.epoch = self.source.epoch
        self._at = self._head + b',"at":"' + self.epoch.encode() + b":"
        self._asked = 0, 0
        self._replay = []

    def offer(self, kept: bytes, fan_out: FanOut) -> None:
        """Give what the topic has published now to who keeps up."""
        history = self.history
        if self.has_history:
            if self.subscribers:
                self._add(self._wrapped(kept, history.next - 1), fan_out)
            return
        frame = self._wrapped(kept, 0)
        self._keep(frame, fan_out)
        if self.gate is not None:
            self.gate.lane.offer(frame)

    def offer_gap(self, missed: int | None, reason: str, fan_out: FanOut) -> None:
        """Tell everybody that messages do not come."""
        told = list(self.gate.lane.cursors) if self.paced() else []
        if self.has_history:
            told += [*self.subscribers, *self.behind]
        else:
            self._keep(encode(TEXT, self._gap(missed, reason)), fan_out)
        for subscriber in told:
            self.tell_gap(subscriber, missed, reason)

    def _keep(self, frame: bytes, fan_out: FanOut) -> None:
        if self.behind:
            self.history.append(frame, 0.0)
        if self.subscribers:
            self._add(frame, fan_out)

    def _add(self, frame: bytes, fan_out: FanOut) -> None:
        seq = fan_out.add(self)
        self.batch.append(Publication(self, seq, None, frame))

    def clients(self) -> list[Any]:
        """Return who listens."""
        paced = self.gate.lane.cursors if self.paced() else ()
        return [*self.subscribers, *self.behind, *paced]

    # -- the objects ----------------------------------------------------------------------------

    def _wrapped(self, kept: bytes, offset: int) -> bytes:
        """Return the frame of a message; where it is in the topic's history, with the position behind it."""
        author = author_of(kept)
        frame = frame_of(kept)
        payload = payload_of(frame)
        parts = [self._at, str(offset).encode(), b'"'] if self._at and offset else [self._head]
        if author:
            parts += (b',"u":', dumps(author.decode("utf-8", "replace")))
        if frame[0] != TEXT_FRAME:
            parts += (b',"b":"', b2a_base64(payload, newline=False), b'"}')
        elif author is None:
            parts += (b',"d":', dumps(payload.decode("utf-8", "replace")), b"}")
        else:  # it is JSON
            parts += (b',"d":', payload, b"}")
        return encode(TEXT, b"".join(parts))

    def _gap(self, missed: int | None, reason: str) -> bytes:
        return self._head + b',"gap":' + dumps({"missed": missed, "reason": reason}) + b"}"

    def frames(self, offset: int, max_bytes: int, max_messages: int) -> list[bytes]:
        kept = self.history.frames(offset, max_bytes, max_messages)
        if not self.has_history:
            return kept
        asked = offset, len(kept)
        if asked != self._asked:
            self._replay = [self._wrapped(each, offset + index) for index, each in enumerate(kept)]
            self._asked = asked
        return self._replay

    def offset_of(self, publication: Publication) -> int:
        if not (self.has_history or self.behind):  # the first one: from now on this turn is kept
            self.history.forget()
            for each in self.batch:
                self.history.append(each.frame(0), 0.0)
        return SequencedTopic.offset_of(self, publication)

    # -- what is told to one client -------------------------------------------------------------

    def tell_gap(self, subscriber: Any, missed: int | None, reason: str) -> bool:
        say(subscriber.outbox, self._gap(missed, reason))
        return True

    def kept_bytes(self) -> int:
        return 0 if self.has_history else self.history.size

    def caught_up(self, subscriber: Any) -> None:
        self._forget_unwanted()
        if subscriber in self.joining:
            del self.joining[subscriber]
            self.tell_live(subscriber)
        presence = self.source.presence
        if presence is not None:
            presence.caught_up(subscriber)

    def is_heard_by(self, subscriber: Any) -> bool:
        """True when this client listens."""
        is_paced = self.gate is not None and subscriber in self.gate.lane.cursors
        return is_paced or subscriber in self.subscribers or subscriber in self.behind

    def show(self, subscriber: Any, kept: bytes) -> None:
        """Send one client a message that is not published, and has no position."""
        outbox = subscriber.outbox
        outbox.must_wait()  # takes what was published
        outbox.deliver_batch(REPLIES, [Publication(REPLIES, 0, None, self._wrapped(kept, 0))])

    def tell_live(self, subscriber: Any) -> None:
        """Tell a client that it has all that was published."""
        at: Position | None = self.position(self.history.next - 1) if self.has_history else None
        live = dumps(None if at is None else str(at))
        say(subscriber.outbox, self._head + b',"live":' + live + b"}")

    def can_sync(self, since: Position | None) -> bool:
        return not self.has_history or bool(self.source.can_sync(since))

    def wait(self, who: Any, wish: Wish) -> None:
        self.wishes[who] = wish
        self.source.want_copy(who)

    # -- a part of its topic --------------------------------------------------------------------

    def keep(self, frame: bytes) -> None:
        raise NotImplementedError("its topic keeps messages")

    def expire(self) -> None:
        if self.has_history:
            self.source.expire()

    def use(self) -> None:
        if self.has_history:
            self.source.use()

    def rest(self) -> None:
        """Leave the topic when nobody listens any more."""
        if not (self.subscribers or self.behind or self.paced()) and self.source.view is self:
            self.source.view = None
            self.source.remove(None)

    def remove(self, subscriber: object) -> None:
        self.joining.pop(subscriber, None)
        self.wishes.pop(subscriber, None)
        SequencedTopic.remove(self, subscriber)
        self._forget_unwanted()

    def _forget_unwanted(self) -> None:
        """Keep nothing when nobody is behind."""
        if not (self.has_history or self.behind):
            self.history.forget()


def view_of(topic: Topic) -> View:
    """Return the view of a topic, made where it has none."""
    if topic.view is None:
        topic.view = View(topic)
    view: View = topic.view
    return view
