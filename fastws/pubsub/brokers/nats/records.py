"""What stands in the messages of the stream of histories: runs of items, with their offsets. No I/O.

Little-endian: ``fwh1``; the offset of the first item (u64) and how many there are (u32); the epoch, behind
its length (u8). Then each run: its sender, behind its length (u8); its number (u64); how many of its items
stand in messages before (u32), and how many here (u32); then each item's size (u32) and bytes. Without runs
it begins an epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fastws.pubsub.brokers.base import Item
from fastws.pubsub.bus.records import BadRecord

__all__ = ["HEAD_BYTES", "RUN_BYTES", "SIZE_BYTES", "Part", "Stored", "encode", "read"]

MAGIC = b"fwh1"
HEAD = struct.Struct("<4sQIB")
RUN = struct.Struct("<QII")
SIZE = struct.Struct("<I")
#: Beside the items: of a message, of each of its runs, and of each item, at most.
HEAD_BYTES, RUN_BYTES, SIZE_BYTES = HEAD.size + 255, 1 + 255 + RUN.size, SIZE.size


class Part(NamedTuple):
    """Items of one run, as far as they stand in one message."""

    sender: str
    number: int
    #: How many items of the run come before them.
    before: int
    items: Sequence[Item]


class Stored(NamedTuple):
    """One message of the stream."""

    epoch: str
    #: The offset of the first item.
    first: int
    parts: list[Part]

    @property
    def last(self) -> int:
        """The offset of the last item; where there is none, the one before the first."""
        last = self.first - 1
        for part in self.parts:
            last += len(part.items)
        return last

    def items(self) -> Iterator[tuple[int, Item]]:
        """Yield each item, behind its offset."""
        offset = self.first
        for part in self.parts:
            for item in part.items:
                yield offset, item
                offset += 1


def encode(stored: Stored) -> bytes:
    """Return the bytes of a message."""
    epoch = stored.epoch.encode()
    count = stored.last - stored.first + 1
    out = [HEAD.pack(MAGIC, stored.first, count, len(epoch)), epoch]
    for part in stored.parts:
        sender = part.sender.encode()
        out += (bytes((len(sender),)), sender, RUN.pack(part.number, part.before, len(part.items)))
        for item in part.items:
            out += (SIZE.pack(len(item.body)), item.body)
    return b"".join(out)


def read(data: bytes) -> Stored:
    """Return what a message says. Raises :class:`BadRecord`."""
    parts: list[Part] = []
    found = 0
    try:
        magic, first, count, size = HEAD.unpack_from(data)
        at = HEAD.size + size
        epoch = data[HEAD.size : at].decode("ascii")
        while at < len(data):
            start = at + 1
            at = start + data[at]
            sender = data[start:at].decode("ascii")
            number, before, amount = RUN.unpack_from(data, at)
            at += RUN.size
            items = []
            for _ in range(amount):
                (size,) = SIZE.unpack_from(data, at)
                at += SIZE.size + size
                items.append(Item(data[at - size : at]))
            found += amount
            parts.append(Part(sender, number, before, items))
    except (struct.error, ValueError):
        raise BadRecord("what is no run of messages") from None
    if magic != MAGIC or at != len(data) or found != count or not epoch or first < 1:
        raise BadRecord("what is no run of messages of this version")
    return Stored(epoch, first, parts)
