# cython: annotation_typing=False
"""The last messages of a topic, each at its offset: a ring of frames.

Offsets begin at 1 and have no holes. The ring drops the oldest messages where there are more than it may
keep, where they have too many bytes, or where they are too old. It keeps the newest one, however large.
"""

from __future__ import annotations

from array import array

__all__ = ["NEVER_SECONDS", "History"]

#: What is kept for so long, three years, needs no timer.
NEVER_SECONDS = 1e8


class History:
    """Keeps at most ``messages`` frames of ``max_bytes`` together, each for ``ttl`` seconds."""

    __slots__ = (
        "_base",
        "_frames",
        "_times",
        "expired_to",
        "first",
        "max_bytes",
        "messages",
        "next",
        "size",
        "ttl",
    )

    def __init__(self, messages: int, max_bytes: int, ttl: float) -> None:
        self.messages = messages
        self.max_bytes = max_bytes
        self.ttl = ttl
        #: Offsets: of the oldest message that is kept, and of the next one to be published.
        self.first = 1
        self.next = 1
        #: Bytes of all frames.
        self.size = 0
        #: The offset up to which messages were too old.
        self.expired_to = 0
        #: The frame of an offset is at ``(offset - _base) % messages``; when it came is at the same place.
        self._base = 1
        self._frames: list[bytes | None] = []
        # Not a list: a float of its own for each message would cost 32 bytes.
        self._times = array("d")

    def begin(self, offset: int, expired_to: int) -> None:
        """Keep nothing. The next message has that offset; up to ``expired_to`` they were too old."""
        self.first = self.next = self._base = offset
        self.expired_to = expired_to
        self.size = 0
        self._frames.clear()
        del self._times[:]

    def append(self, frame: bytes, now: float) -> None:
        """Keep one message more, published at ``now``."""
        self.expire(now)
        offset = self.next
        if self.first == offset:
            self._frames.clear()
            del self._times[:]
            self._base = offset
        if len(self._frames) < self.messages:
            self._frames.append(frame)
            self._times.append(now)
        else:
            if self.first == offset - self.messages:
                self._drop_first()
            index = (offset - self._base) % self.messages
            self._frames[index] = frame
            self._times[index] = now
        self.next = offset + 1
        self.size += len(frame)
        while self.size > self.max_bytes and self.first < offset:
            self._drop_first()

    def expire(self, now: float) -> None:
        """Drop what is too old at ``now``."""
        if self.first == self.next or now - self.oldest() < self.ttl:
            return
        while self.first < self.next and now - self.oldest() >= self.ttl:
            self._drop_first()
        self.expired_to = self.first - 1

    def forget(self) -> None:
        """Drop everything."""
        self.first = self._base = self.next
        self.size = 0
        self._frames.clear()
        del self._times[:]

    def oldest(self) -> float:
        """Return when the oldest message came; there must be one."""
        return self.time_of(self.first)

    def time_of(self, offset: int) -> float:
        """Return when the message at ``offset`` came, which must be kept."""
        time: float = self._times[(offset - self._base) % self.messages]
        return time

    def _drop_first(self) -> None:
        index = (self.first - self._base) % self.messages
        frame = self._frames[index]
        assert frame is not None
        self.size -= len(frame)
        self._frames[index] = None
        self.first += 1

    def frames(self, offset: int, max_bytes: int, max_messages: int) -> list[bytes]:
        """Return the frames from ``offset`` on, which must be kept: one, and more while both limits allow."""
        found: list[bytes] = []
        size = 0
        while offset < self.next and size < max_bytes and len(found) < max_messages:
            frame = self._frames[(offset - self._base) % self.messages]
            assert frame is not None
            found.append(frame)
            size += len(frame)
            offset += 1
        return found

    def size_from(self, offset: int) -> int:
        """Return the bytes of the frames from ``offset`` on, which must be kept."""
        if offset == self.first:
            return self.size
        size = 0
        while offset < self.next:
            frame = self._frames[(offset - self._base) % self.messages]
            assert frame is not None
            size += len(frame)
            offset += 1
        return size

    def why_dropped(self) -> str:
        """Return why the last message before ``first`` is gone."""
        return "expired" if self.first - 1 <= self.expired_to else "limit"
