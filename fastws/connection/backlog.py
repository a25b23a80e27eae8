# cython: annotation_typing=False
"""Messages that wait: the socket is blocked, or a fragmented message is under way. Only these have limits."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fastws.config import Limits
from fastws.connection.publication import Publication

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Backlog"]

#: Joined into one write while a blocked socket takes bytes again: enough to fill its buffer, little to copy.
DRAIN_BYTES = 256 * 1024


class Backlog:
    """A queue of frames that the application sent to this client, and of publications, in their order.

    An outbox makes one when its first message has to wait, and drops it when none does any more.
    """

    __slots__ = ("_queue", "since", "size")

    def __init__(self, since: float = 0.0) -> None:
        #: When the first message began to wait, in seconds of the loop's clock; nothing left the queue empty.
        self.since = since
        self._queue: deque[bytes | Publication] = deque()
        #: Bytes of all frames; of publications, of their plain ones.
        self.size = 0

    def __len__(self) -> int:
        return len(self._queue)

    def append(self, item: bytes | Publication, size: int) -> None:
        """Let a message of ``size`` bytes wait, behind the others."""
        self._queue.append(item)
        self.size += size

    def is_full(self, limits: Limits, size: int) -> bool:
        """True when a message of ``size`` bytes is over the limits. An empty queue takes any one."""
        if not self._queue:
            return False
        return len(self._queue) >= limits.send_queue or self.size + size > limits.send_queue_bytes

    def is_large(self, limits: Limits) -> bool:
        """True when half of what may wait does: its peer is slow from now on, and nothing was dropped yet."""
        return 2 * len(self._queue) >= limits.send_queue or 2 * self.size >= limits.send_queue_bytes

    def publications(self) -> list[Publication]:
        """Return those that wait: others may wait for the same ones."""
        return [item for item in self._queue if not isinstance(item, bytes)]

    def drop_oldest(self, limits: Limits, size: int) -> int:
        """Make room for ``size`` bytes: drop publications, the oldest first. Return how many were dropped.

        What the application sent to this client alone was accepted and stays. Where only that is left, the
        queue is still full.
        """
        queue = self._queue
        dropped = index = 0
        while self.is_full(limits, size):
            while index < len(queue) and isinstance(queue[index], bytes):
                index += 1
            if index == len(queue):
                break
            oldest = queue[index]
            del queue[index]
            self.size -= oldest.size  # type: ignore[union-attr]
            dropped += 1
        return dropped

    def next_chunk(self, variant: int, encode: Callable[[Publication], bytes]) -> bytes:
        """Take what leads the queue as the bytes of one write, and merge again what its channel merges.

        ``encode`` makes the frame of a publication where ``variant`` is -1.
        """
        queue = self._queue
        chunks: list[bytes] = []
        size = 0
        while queue and size < DRAIN_BYTES:
            item = queue.popleft()
            if isinstance(item, bytes):
                data = item
                self.size -= len(item)
            else:
                data = self._take_run(item, variant, encode)
            size += len(data)
            chunks.append(data)
        return b"".join(chunks)

    def _take_run(self, first: Publication, variant: int, encode: Callable[[Publication], bytes]) -> bytes:
        queue = self._queue
        run = [first]
        channel = first.channel
        while channel.merge is not None and queue:
            following = queue[0]
            if isinstance(following, bytes) or following.channel is not channel:
                break
            run.append(following)
            queue.popleft()
        for publication in run:
            self.size -= publication.size
        if variant >= 0:
            return channel.join(run, variant)
        return b"".join([encode(publication) for publication in channel.merged(run)])
