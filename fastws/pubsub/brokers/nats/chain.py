"""Which messages of a topic with a history count. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastws.pubsub.brokers.nats.records import Stored, read
from fastws.pubsub.brokers.nats.streams import Raw
from fastws.pubsub.bus.records import BadRecord

__all__ = ["counted", "epoch_of"]


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


def epoch_of(raw: Raw) -> str:
    """Return the epoch of a message; "" where it is none of ours."""
    try:
        return read(raw.data).epoch
    except BadRecord:
        return ""
