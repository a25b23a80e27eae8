"""Which messages of a topic with a history count, and what the next one says. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastws.pubsub.brokers.base import BrokerTopic, Entry, Item, Kept
from fastws.pubsub.brokers.nats.records import RUN_BYTES, SIZE_BYTES, Part, Stored, read
from fastws.pubsub.brokers.nats.streams import Raw, once_id
from fastws.pubsub.brokers.nats.topic import Pending, Reading
from fastws.pubsub.bus.records import BadRecord
from fastws.pubsub.events import Position

__all__ = ["counted", "epoch_of", "kept_of", "next_parts"]


def counted(
    raws: Iterable[Raw], *, first_counts: bool, say: Callable[[BadRecord], None]
) -> list[tuple[Raw, Stored]]:
    """Return those of all messages of a topic that count: each says the number of the one before it.

    Args:
        raws: All that are kept, in their order.
        first_counts: Whether the oldest one counts, though nobody knows what was before it.
        say: Called with what is wrong with a message of somebody else.
    """
    found: list[tuple[Raw, Stored]] = []
    before = -1
    for raw in raws:
        try:
            stored = read(raw.data)
        except BadRecord as error:
            say(error)
        else:
            is_first = before < 0 and (first_counts or raw.behind == 0)
            if not stored.parts or raw.behind == before or is_first:
                found.append((raw, stored))
        before = raw.sequence
    return found


def kept_of(
    chain: list[tuple[Raw, Stored]], topic: BrokerTopic, last: Position, since: Position | None
) -> Kept:
    """Return what a topic keeps behind a position.

    Args:
        chain: The messages that count.
        topic: Its settings.
        last: Its position where there are none.
        since: The position; None, or one of another epoch: all is wanted.
    """
    entries: list[Entry] = []
    first = 0
    for raw, stored in chain:
        if not first or stored.first == 1:
            entries, first = [], stored.first
        entries += [Entry(offset, item, raw.age) for offset, item in stored.items()]
        last = Position(stored.epoch, stored.last)
    first = first or last.offset + 1
    expired = 0
    while expired < len(entries) and entries[expired].age > topic.ttl:
        expired += 1
    if expired:
        entries, first = entries[expired:], entries[expired - 1].offset + 1
    begins = first - 1
    expired_to = 0 if not expired and len(chain) >= topic.history else begins
    if since is not None and since.epoch == last.epoch and since.offset > begins:
        entries = [entry for entry in entries if entry.offset > since.offset]
        begins = min(since.offset, last.offset)
    return Kept(last.epoch, last.offset, begins, entries, expired_to=min(expired_to, begins))


def epoch_of(raw: Raw) -> str:
    """Return the epoch of a message; "" where it is none of ours."""
    try:
        return read(raw.data).epoch
    except BadRecord:
        return ""


def next_parts(
    waiting: Iterable[Pending | Reading], name: str, room: int
) -> tuple[list[Pending], list[Part], str]:
    """Return what fits into the next message: the runs, and the id of one that is published once.

    Args:
        waiting: What waits, in its order.
        name: Of the topic.
        room: Bytes.
    """
    pendings: list[Pending] = []
    parts: list[Part] = []
    for pending in waiting:
        if isinstance(pending, Reading):
            break
        run = pending.run
        if run.once is not None and parts:
            break
        room -= RUN_BYTES
        items: list[Item] = []
        for item in run.items[pending.done :]:
            room -= SIZE_BYTES + len(item.body)
            if room < 0 and (items or parts):
                break
            items.append(item)
        if items or not run.items:
            pendings.append(pending)
            parts.append(Part(run.sender, run.number, pending.done, items))
        if run.once is not None:
            return pendings, parts, once_id(name, run.once)
        if pending.done + len(items) < len(run.items):
            break
    return pendings, parts, ""
