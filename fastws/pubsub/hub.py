# cython: annotation_typing=False
"""Publish and subscribe: a message is encoded once, and joined once per topic and turn.

A hub makes batches and offers them to outboxes; it knows no socket and waits for nobody. Order, and
who shares which bytes, is the flusher's part (``flusher.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastws.config import Compression, SlowConsumerPolicy, checked_compression
from fastws.protocol.websocket.deflate import DeflateParams, DeflatePool
from fastws.protocol.websocket.frames import FIN, RSV1, Opcode, encode

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox
    from fastws.loop.turn import Flusher

__all__ = ["Hub", "Topic"]

#: A merged message ends at this many messages or bytes, and the next one begins.
MERGE_MESSAGES = 256
MERGE_BYTES = 64 * 1024

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


class Publication:
    """One published message and its frames, made when a variant is first asked for."""

    __slots__ = ("_frames", "message", "seq", "size", "topic")

    def __init__(self, topic: Topic, seq: int, message: str | bytes, plain: bytes) -> None:
        self.topic = topic
        self.seq = seq
        self.message = message
        self.size = len(plain)
        self._frames: bytes | dict[int, bytes] = plain

    def frame(self, variant: int) -> bytes:
        frames = self._frames
        if isinstance(frames, bytes):
            if variant == 0:
                return frames
            self._frames = frames = {0: frames}
        frame = frames.get(variant)
        if frame is None:
            frames[variant] = frame = self._compressed(frames[0], variant)
        return frame

    def _compressed(self, plain: bytes, variant: int) -> bytes:
        pool = self.topic.deflate
        payload = self.message.encode() if isinstance(self.message, str) else self.message
        if len(payload) < pool.compression.threshold:
            return plain
        opcode = TEXT if isinstance(self.message, str) else BINARY
        params = DeflateParams(
            server_no_context_takeover=True, client_no_context_takeover=True, server_max_window_bits=variant
        )
        deflater = pool.deflater(params, client=False)
        return encode(opcode, deflater(payload), None, FIN | RSV1)


class Topic:
    """A name that clients listen to. Declare one with :meth:`Hub.topic` to give it settings."""

    __slots__ = ("batch", "deflate", "merge", "name", "policy", "registry", "subscribers")

    def __init__(
        self,
        name: str,
        merge: str | None,
        policy: SlowConsumerPolicy,
        deflate: DeflatePool,
        registry: dict[str, Topic] | None = None,
    ) -> None:
        self.name = str.__str__(name)  # of a subclass, such as a StrEnum's member, its text
        self.merge = merge
        self.policy = policy
        self.deflate = deflate
        #: Where it leaves when nobody listens any more; None for a declared topic, which stays.
        self.registry = registry
        self.subscribers: dict[Outbox, None] = {}
        self.batch: list[Publication] = []

    def remove(self, outbox: Outbox) -> None:
        self.subscribers.pop(outbox, None)
        if not self.subscribers and self.registry is not None:
            self.registry.pop(self.name, None)

    def join(self, batch: list[Publication], variant: int) -> bytes:
        """Return the bytes of ``batch`` for every client of that variant."""
        if self.merge is not None and len(batch) > 1:
            batch = self.merged(batch)
        frames = []
        for entry in batch:  # no comprehension: in that its class would not be known where this is compiled
            frames.append(entry.frame(variant))
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def merged(self, batch: list[Publication]) -> list[Publication]:
        """Join messages into fewer, larger ones where the topic merges, as writePump does."""
        separator = self.merge
        if separator is None or len(batch) < 2:
            return batch
        merged: list[Publication] = []
        start = size = 0
        for index, entry in enumerate(batch):
            size += entry.size
            if index > start and (index - start >= MERGE_MESSAGES or size > MERGE_BYTES):
                merged.append(self._merge(batch[start:index], separator))
                start, size = index, entry.size
        merged.append(self._merge(batch[start:], separator))
        return merged

    def _merge(self, run: list[Publication], separator: str) -> Publication:
        if len(run) == 1:
            return run[0]
        text = separator.join([entry.message for entry in run])  # type: ignore[misc]
        return Publication(self, run[-1].seq, text, encode(TEXT, text))


class Hub:
    """Topics of one event loop.

    Every method belongs on that loop, except :meth:`publish_threadsafe`. A WebSocket leaves every
    topic by itself when its close begins.

    ``policy`` decides about a client whose send queue is over its limit (default: it is evicted
    with 1008). ``compression`` says from which size, and how hard, a message is compressed, once for
    all clients that negotiated permessage-deflate without context takeover.
    """

    def __init__(
        self,
        *,
        policy: SlowConsumerPolicy | str = SlowConsumerPolicy.EVICT,
        compression: Compression | None = None,
    ) -> None:
        self._policy = SlowConsumerPolicy(policy)
        self._deflate = DeflatePool(checked_compression(compression) or Compression())
        self._topics: dict[str, Topic] = {}
        self._flusher: Flusher | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def topic(
        self, name: str, *, merge: str | None = None, policy: SlowConsumerPolicy | str | None = None
    ) -> Topic:
        """Declare a topic that has settings of its own, before its first subscriber.

        ``merge="\\n"`` joins the text messages of one turn, and those that wait for a slow client,
        into ONE message with that separator: at most 256 messages or 64 KiB each. Binary messages
        on such a topic raise ``TypeError``. Raises ``ValueError`` if the topic exists already.
        """
        if not (merge is None or isinstance(merge, str)):
            raise TypeError(f"merge= is the text between two messages, not {type(merge).__name__}")
        if name in self._topics:
            raise ValueError(f"topic {name!r} exists already")
        chosen = self._policy if policy is None else SlowConsumerPolicy(policy)
        topic = Topic(name, merge, chosen, self._deflate)
        self._topics[name] = topic
        return topic

    def subscribe(self, ws: Any, topic: str) -> None:
        """Let ``ws`` have what is published to ``topic`` from now on. Twice does no harm.

        Does nothing when ``ws`` is already closing. Raises ``RuntimeError`` when ``ws`` belongs to
        another event loop than the hub's earlier subscribers, ``TypeError`` when it is neither a
        :class:`fastws.WebSocket` nor a :func:`fastws.subscriber`.
        """
        try:
            outbox: Outbox = ws.outbox
        except AttributeError:
            what = type(ws).__name__
            raise TypeError(f"a hub takes a fastws.WebSocket or fastws.subscriber(ws), not {what}") from None
        if not outbox.is_open:
            return
        flusher = outbox.flusher
        if self._flusher is not flusher:
            self._bind(flusher)
        found = self._find(topic)
        if found is None:
            found = Topic(topic, None, self._policy, self._deflate, self._topics)
            self._topics[topic] = found
        elif found.batch:
            outbox.settle(flusher)
            if not outbox.is_open:  # what it settled evicted it
                return  # type: ignore[unreachable]
        if outbox.topics is None:
            outbox.topics = {}
        outbox.topics[found] = None
        found.subscribers[outbox] = None

    def unsubscribe(self, ws: Any, topic: str) -> None:
        """End what :meth:`subscribe` began; what was published before still arrives."""
        outbox: Outbox = ws.outbox
        found = self._find(topic)
        if found is None or outbox not in found.subscribers:
            return
        if found.batch:
            outbox.settle(outbox.flusher)
        found.remove(outbox)
        if outbox.topics is not None:
            outbox.topics.pop(found, None)

    def publish(self, topic: str, message: str | bytes, *, exclude: Any = None) -> int:
        """Offer ``message`` to every client of ``topic``; return to how many.

        Never waits. The frames leave at the end of this turn of the loop, together with all else
        that is published in it; with 64 subscribers and more the turn goes on, for 5 ms at most, while
        looks at the sockets bring more to publish. Raises ``TypeError`` for a message that is
        neither ``str`` nor ``bytes`` (or is ``bytes`` on a topic that merges), and ``RuntimeError``
        in another thread, which is for :meth:`publish_threadsafe`.
        """
        found = self._find(topic)
        if found is None or not found.subscribers:
            # A mistake shall show before the first client does.
            if not isinstance(message, (str, bytes, bytearray, memoryview)):
                raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
            return 0
        flusher = self._flusher
        assert flusher is not None
        if isinstance(message, str):
            plain = encode(TEXT, message)
        elif found.merge is not None:
            raise TypeError(f"topic {topic!r} merges text; it takes str, not {type(message).__name__}")
        elif isinstance(message, (bytes, bytearray, memoryview)):
            message = bytes(message)
            plain = encode(BINARY, message)
        else:
            raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
        count = len(found.subscribers)
        outbox: Outbox | None = None
        if exclude is not None:
            outbox = exclude.outbox
            if outbox in found.subscribers:
                outbox.settle(flusher)
                count -= 1
            else:
                outbox = None
        if not found.batch:
            self._check_thread()
        seq = flusher.published(found)
        found.batch.append(Publication(found, seq, message, plain))
        if outbox is not None:
            outbox.cursor = seq
        return count

    def publish_threadsafe(self, topic: str, message: str | bytes) -> None:
        """Publish from any thread; the message goes out in a later turn of the hub's loop.

        Messages of one thread keep their order. Does nothing while the hub has had no subscriber yet.
        Raises ``TypeError`` for a message that is neither ``str`` nor ``bytes``, and ``RuntimeError``
        when the hub's loop is closed.
        """
        if not isinstance(message, str):
            if not isinstance(message, (bytes, bytearray, memoryview)):
                raise TypeError(f"a message is str or bytes, not {type(message).__name__}")
            message = bytes(message)  # what can be changed may be, before its turn
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.publish, topic, message)

    def count(self, topic: str) -> int:
        """Return how many clients listen to ``topic``."""
        found = self._find(topic)
        return len(found.subscribers) if found is not None else 0

    def topics(self, ws: Any) -> Iterable[str]:
        """Return the names of this hub's topics that ``ws`` listens to."""
        listened: dict[Topic, None] = ws.outbox.topics or {}
        return [topic.name for topic in listened if self._topics.get(topic.name) is topic]

    def _find(self, name: str) -> Topic | None:
        # A function, so that a compiled caller knows the type of what it returns.
        return self._topics.get(name)

    def _check_thread(self) -> None:
        """Raise in another thread than the loop's, which would not wake up: the message left when it pleases.

        Asked by the first publish of a turn, so that it costs little. A loop that does not run is anybody's.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop and self._loop is not None and self._loop.is_running():
            raise RuntimeError("a hub belongs to the thread of its loop; here use publish_threadsafe")

    def _bind(self, flusher: Flusher) -> None:
        if self._flusher is not None and any(topic.subscribers for topic in self._topics.values()):
            raise RuntimeError("a hub belongs to one event loop; use publish_threadsafe from another")
        self._flusher = flusher
        self._loop = asyncio.get_running_loop()


def leave_all(outbox: Outbox) -> None:
    """Take ``outbox`` out of every topic: its close begins."""
    topics = outbox.topics
    if topics is None:
        return
    outbox.topics = None
    for topic in topics:
        topic.remove(outbox)
