# cython: annotation_typing=False
"""What waits to be written to one connection, and the verdict on what does not fit.

Four places, in the order in which they leave:

- ``_urgent``: PING and PONG that wait for a socket which refused bytes, the newest of each;
- ``_first`` and ``_more``: what this turn has said so far, to leave in one write;
- ``_queue``: messages that wait because the socket has refused bytes, or because a fragmented one
  is under way. Only this has limits, and only once the socket has refused bytes;
- ``_last``: the CLOSE frame, when it waits.

*Refused* is the one meaning of slow: ``pause_writing`` with a high-water mark of 0 says that the
transport holds something the socket did not take. A burst in one turn against a socket that still
takes bytes is not slow, however large.
"""

from __future__ import annotations

import logging
from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from fastws.config import Limits, SlowConsumerPolicy
from fastws.loop.native import Item, send_items
from fastws.protocol.websocket.frames import Opcode, encode

if TYPE_CHECKING:
    from fastws.loop.turn import Flusher
    from fastws.pubsub.hub import Publication, Topic

__all__ = ["Outbox", "SendStatus"]

log = logging.getLogger("fastws.error")

#: Joined into one write while a slow socket takes bytes again: enough to fill its buffer, little to copy.
DRAIN_BYTES = 256 * 1024

#: A message of so many bytes does not wait for those to others: it would leave the processor's cache.
LARGE_ANSWER = 4096

#: Messages of one turn after which a coroutine that sends lets it end.
TURN_MESSAGES = 64


class SendStatus(IntEnum):
    """The verdict of a send that never waits: what became of the message."""

    #: The socket holds nothing back.
    SENT = 0
    #: Accepted; waits behind a slow socket.
    QUEUED = 1
    #: Not accepted: the queue of a slow socket is at its limit.
    DROPPED = 2
    #: Not accepted: the WebSocket is closing or closed.
    CLOSED = 3


SENT = SendStatus.SENT
QUEUED = SendStatus.QUEUED
DROPPED = SendStatus.DROPPED
CLOSED = SendStatus.CLOSED
TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
DROP_NEWEST = SlowConsumerPolicy.DROP_NEWEST
DROP_OLDEST = SlowConsumerPolicy.DROP_OLDEST


class Owner(Protocol):
    """What an outbox asks of its connection."""

    def encode_publication(self, entry: Publication) -> bytes: ...
    def evict(self, reason: str) -> None: ...
    def drained(self) -> None: ...


class Outbox:
    """The sending half of one connection. ``fd`` is -1 where only the transport may write."""

    __slots__ = (
        "_first",
        "_last",
        "_more",
        "_owner",
        "_queue",
        "_transport",
        "_urgent",
        "corked",
        "cursor",
        "dropped",
        "fd",
        "flusher",
        "fragmenting",
        "is_open",
        "limits",
        "queue_bytes",
        "refused",
        "sent_bytes",
        "sent_messages",
        "topics",
        "turn",
        "variant",
    )

    def __init__(self, owner: Owner, transport: Any, flusher: Flusher, fd: int, limits: Limits) -> None:
        self._owner: Any = owner
        self._transport = transport
        self.flusher = flusher
        self.fd = fd
        #: How much may wait: ``send_queue`` and ``send_queue_bytes``.
        self.limits = limits
        self.is_open = True
        self.corked = False
        self.refused = False
        #: A fragmented message is under way: other messages wait in the queue until it is complete.
        self.fragmenting = False
        self._first: Item | None = None
        self._more: list[Item] | None = None
        self._queue: deque[bytes | Publication] | None = None
        self._last: bytes | None = None
        self._urgent: dict[int, bytes] | None = None
        self.queue_bytes = 0
        #: Which bytes of a broadcast fit: 0 plain, 9 to 15 compressed with that window, -1 its own.
        self.variant = 0
        self.turn = 0
        self.cursor = 0
        self.topics: dict[Topic, None] | None = None
        self.sent_messages = 0
        self.sent_bytes = 0
        self.dropped = 0

    def count_from_here(self) -> None:
        """Begin to count what is sent: the handshake's answer may still wait here, and does not count."""
        self.sent_messages = -self.queued
        self.sent_bytes = -self._unwritten()

    # -- what the application says --------------------------------------------------------------

    def push(self, frame: bytes, force: bool = False) -> SendStatus:
        """Take one frame of the application; ``force`` takes it over the limits too."""
        if self.topics is not None and self.flusher.dirty:
            self.settle(self.flusher)
        if not self.is_open:
            return CLOSED
        if self.refused or self.fragmenting:
            if not force and self.is_full(len(frame)):
                self.dropped += 1
                return DROPPED
            self._enqueue(frame, len(frame))
            return QUEUED
        self.sent_messages += 1
        self._append_frame(frame)
        return SENT

    def push_message(self, message: str | bytes | tuple[str | bytes, bytes]) -> SendStatus:
        """Take a message of which no frame is made before; only where :meth:`takes_messages`.

        Its header is written when the turn is, into the same buffer. With a key: where
        :meth:`is_direct`, and it is masked on its way to the socket.
        """
        if self.topics is not None and self.flusher.dirty:
            self.settle(self.flusher)
        if not self.is_open:
            return CLOSED
        self.sent_messages += 1
        self._append(message)
        return SENT

    def takes_messages(self) -> bool:
        """True when what is pushed now goes to the socket directly, unmasked and uncompressed."""
        return self.variant == 0 and self.is_direct()

    def is_direct(self) -> bool:
        """True when what is pushed now goes to the socket directly."""
        return self.fd >= 0 and not self.refused and not self.fragmenting

    def is_filling(self) -> bool:
        """True when this turn has said so much to this client that it should end."""
        return self._more is not None and len(self._more) >= TURN_MESSAGES

    def must_wait(self) -> bool:
        """True when a message pushed now waits, or is dropped; settles, so that none comes before it.

        For who compresses with context takeover: what is encoded now may leave after what topics
        have in the queue, which is encoded when it leaves, so it must not touch the window.
        """
        if self.topics is not None and self.flusher.dirty:
            self.settle(self.flusher)
        return self.refused or self.fragmenting

    def push_fragment(self, frame: bytes, *, first: bool, fin: bool) -> None:
        """Take one frame of a fragmented message (RFC 6455, section 5.4); the caller paces them."""
        if first and self.topics is not None and self.flusher.dirty:
            self.settle(self.flusher)
        self.fragmenting = not fin
        self._append_frame(frame)
        if fin:
            self.sent_messages += 1
            if self._queue is not None and not self.refused:
                self.flush()
                self._drain()

    def push_urgent(self, opcode: int, frame: bytes) -> None:
        """Take a PING or PONG: it overtakes data that waits, and the newest replaces an older one."""
        if not self.is_open:
            return
        if self.refused:
            if self._urgent is None:
                self._urgent = {}
            self._urgent[opcode] = frame
        else:
            self._append_frame(frame)

    def push_last(self, frame: bytes, *, discard: bool = False) -> None:
        """Take the CLOSE frame: what was accepted before goes first unless ``discard``."""
        if self.topics is not None and self.flusher.dirty:
            self.settle(self.flusher)
        if not self.is_open:
            return
        self.is_open = False
        if discard or self.fragmenting:
            # A message cut short cannot be completed; only control frames may follow its fragments.
            self.fragmenting = False
            self._queue = None
            self._urgent = None
            self.queue_bytes = 0
        if self.refused:
            self._last = frame
        else:
            self._append_frame(frame)

    def _append_frame(self, frame: bytes) -> None:
        self._append((frame,))

    def _append(self, item: Item) -> None:
        if self._first is None:
            if not self.corked:
                self.flusher.schedule(self)  # may raise, and nothing has been said then
            self._first = item
        elif self._more is None:
            self._more = [self._first, item]
        else:
            self._more.append(item)

    # -- what topics say ------------------------------------------------------------------------

    def is_idle(self) -> bool:
        """True when a broadcast's shared bytes may be written to the socket as they are.

        The transport is asked too: after a reset it closes its descriptor at once, which the next
        accepted connection may get, and tells us of it only in a later turn.
        """
        return (
            self._first is None
            and not self.refused
            and not self.fragmenting
            and self.is_open
            and self.variant >= 0
            and not self._transport.is_closing()
        )

    def offer(self, topic: Topic, batch: list[Publication]) -> None:
        """Take what ``topic`` published in this turn, with the topic's policy if that is too much."""
        if not self.is_open:
            return
        if self.refused or self.fragmenting:
            for entry in batch:
                self._offer_slow(topic, entry)
                if not self.is_open:  # the policy evicted this client
                    return  # type: ignore[unreachable]
        else:
            self.sent_messages += len(batch)
            if self.variant >= 0:
                self._append_frame(topic.join(batch, self.variant))
            else:
                for entry in topic.merged(batch):
                    self._append_frame(self._owner.encode_publication(entry))

    def settle(self, flusher: Flusher) -> None:
        """Take, in the order of publishing, what this turn published for this client so far."""
        if self.turn != flusher.turn:
            self.turn = flusher.turn
            self.cursor = 0
        after = self.cursor
        self.cursor = flusher.seq
        topics = [topic for topic in self.topics or () if topic.batch]
        if len(topics) == 1:
            batch = [entry for entry in topics[0].batch if entry.seq > after]
            if batch:
                self.offer(topics[0], batch)
            return
        entries = [
            (entry.seq, topic, entry) for topic in topics for entry in topic.batch if entry.seq > after
        ]
        entries.sort(key=_sequence)
        start = 0
        for end in range(1, len(entries) + 1):
            # A run of one topic may merge; a message of another topic between two ends the run.
            if end == len(entries) or entries[end][1] is not entries[start][1]:
                self.offer(entries[start][1], [entry for _, _, entry in entries[start:end]])
                start = end

    def is_full(self, size: int) -> bool:
        """True when a message of ``size`` bytes is over the limits; an empty queue takes any one.

        What waits behind our own fragments, while the socket takes bytes, makes no client slow.
        """
        if not self._queue or not self.refused:
            return False
        limits = self.limits
        return len(self._queue) >= limits.send_queue or self.queue_bytes + size > limits.send_queue_bytes

    def _offer_slow(self, topic: Topic, entry: Publication) -> None:
        size = entry.size
        if self.is_full(size):
            if topic.policy is DROP_NEWEST:
                self.dropped += 1
                return
            if topic.policy is DROP_OLDEST:
                if not self._drop_oldest(size):
                    return
            else:
                self._owner.evict("too slow")
                return
        self._enqueue(entry, size)

    def _drop_oldest(self, size: int) -> bool:
        """Make room for ``size`` bytes by dropping what topics published, oldest first.

        What the application sent to this client alone was accepted and is never dropped: where
        only that waits, the new message is the one to go.
        """
        queue = self._queue
        assert queue is not None
        index = 0
        while self.is_full(size):
            while index < len(queue) and isinstance(queue[index], bytes):
                index += 1
            if index == len(queue):
                self.dropped += 1
                return False
            oldest = queue[index]
            del queue[index]
            self.queue_bytes -= oldest.size  # type: ignore[union-attr]
            self.dropped += 1
        return True

    def _enqueue(self, item: bytes | Publication, size: int) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append(item)
        self.queue_bytes += size

    # -- what the socket takes ------------------------------------------------------------------

    @property
    def buffered_amount(self) -> int:
        """Bytes accepted that the socket has not taken yet."""
        held: int = self._transport.get_write_buffer_size() if self.refused else 0
        return self._unwritten() + held

    def _unwritten(self) -> int:
        """Bytes that the transport has not been given yet."""
        pending = 0
        if self._first is not None:
            pending = sum(map(_size, self._more if self._more is not None else [self._first]))
        return pending + self.queue_bytes

    @property
    def queued(self) -> int:
        """Messages that wait because the socket has refused bytes."""
        return len(self._queue) if self._queue else 0

    def has_said(self) -> bool:
        """True when this turn has said something that is not written yet."""
        return self._first is not None

    def is_large(self) -> bool:
        """True when what this turn has said begins with a large message."""
        first = self._first
        assert first is not None
        return len(first[0] if isinstance(first, tuple) else first) >= LARGE_ANSWER

    def flush(self) -> None:
        """Write what this turn has said, in one write."""
        first = self._first
        if first is None:
            return
        more = self._more
        self._first = self._more = None
        self._write(first if more is None else more)

    def _write(self, items: Item | list[Item]) -> None:
        """Write one item or several: straight to the socket where that may be done and holds nothing."""
        if self.fd < 0 or self.refused:
            data = b"".join([frame_of(item) for item in (items if isinstance(items, list) else [items])])
            self.sent_bytes += len(data)
            self._transport.write(data)
            return
        assert send_items is not None  # fd is -1 without it
        result = send_items(self.fd, items)
        if isinstance(result, int):
            size = result
            self.sent_bytes += size
        else:
            size, taken, rest = result
            self.sent_bytes += size
            self.wrote(taken, rest)

    def wrote(self, taken: int, rest: bytes | memoryview) -> None:
        """Continue after a direct write that took less than everything (negative: an errno)."""
        if taken < 0:
            self.discard()
            self._transport.abort()
        else:
            self._transport.write(rest)

    def write_through(self, data: bytes) -> None:
        """Write what many are given, where only the transport may."""
        try:
            self._transport.write(data)
        except Exception:
            self._broken()

    def _broken(self) -> None:
        """A foreign transport has raised: that ends its connection, and no other's turn."""
        log.exception("writing to %r failed", self._transport)
        self.discard()
        self._transport.abort()

    def flush_later(self) -> None:
        """Flush at the end of a turn: meanwhile the transport may have begun to close (``is_idle``)."""
        if self._transport.is_closing():
            self._first = self._more = None
            return
        try:
            self.flush()
        except Exception:
            self._broken()

    def pause(self) -> None:
        """The socket has refused bytes."""
        self.refused = True

    def resume(self) -> None:
        """The socket has taken all that was refused: write what waits until it refuses again."""
        self.refused = False
        if self._urgent is not None:
            urgent = b"".join(self._urgent.values())
            self._urgent = None
            self._write((urgent,))
        if not self.fragmenting:
            self._drain()
        self._owner.drained()

    def _drain(self) -> None:
        while self._queue and not self.refused:
            self._write((self._next_chunk(),))
        if not self._queue:
            self._queue = None
            if self._last is not None and not self.refused:
                last, self._last = self._last, None
                self._write((last,))

    def _next_chunk(self) -> bytes:
        """Join what leads the queue, merging again what its topic merges."""
        queue = self._queue
        assert queue is not None
        chunks: list[bytes] = []
        size = 0
        while queue and size < DRAIN_BYTES:
            item = queue.popleft()
            if isinstance(item, bytes):
                data = item
                self.queue_bytes -= len(item)
                self.sent_messages += 1
            else:
                data = self._take_run(item)
            size += len(data)
            chunks.append(data)
        return b"".join(chunks)

    def _take_run(self, first: Publication) -> bytes:
        queue = self._queue
        assert queue is not None
        run = [first]
        topic = first.topic
        while topic.merge is not None and queue:
            following = queue[0]
            if isinstance(following, bytes) or following.topic is not topic:
                break
            run.append(following)
            queue.popleft()
        for entry in run:
            self.queue_bytes -= entry.size
        self.sent_messages += len(run)
        if self.variant >= 0:
            return topic.join(run, self.variant)
        return b"".join([self._owner.encode_publication(entry) for entry in topic.merged(run)])

    def disown(self) -> None:
        """The connection has ended and is told nothing more."""
        self._owner = None

    def discard(self) -> None:
        """Forget everything: the connection is lost."""
        self.is_open = False
        self.fd = -1
        self._first = None
        self._more = None
        self._queue = None
        self._urgent = None
        self._last = None
        self.queue_bytes = 0


def _size(item: Item) -> int:
    """The bytes of an item on the wire (RFC 6455, section 5.2); a ``str`` is ASCII."""
    if isinstance(item, tuple):
        return len(item[0]) if len(item) == 1 else _size(item[0]) + 4
    size = len(item)
    return size + (2 if size <= 125 else 4 if size <= 0xFFFF else 10)


def frame_of(item: Item) -> bytes:
    """Return an item as it is on the wire."""
    mask = None
    if isinstance(item, tuple):
        if len(item) == 1:
            return item[0]
        item, mask = item
    return encode(TEXT if isinstance(item, str) else BINARY, item, mask)


def _sequence(item: tuple[int, Topic, Publication]) -> int:
    return item[0]
