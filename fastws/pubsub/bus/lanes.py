# cython: annotation_typing=False
"""A topic of a hub, as the bus names and numbers it."""

from __future__ import annotations

from fastws.pubsub.bus.records import MAX_KEY_BYTES, BadRecord

__all__ = ["Lane", "key_of", "names_of"]


class Lane:
    """One topic of one hub, as the bus numbers it."""

    __slots__ = ("is_told", "key", "number", "silent_ticks")

    def __init__(self, key: bytes) -> None:
        self.key = key
        #: The number of its next message.
        self.number = 1
        #: Whether its last number has been told again; and for how many seconds it has published nothing.
        self.is_told = True
        self.silent_ticks = 0


def key_of(hub_name: str, topic: str) -> bytes:
    """Return the key of a hub's topic. Raises ``ValueError`` for one that is too long for a record."""
    key = f"{hub_name}\0{topic}".encode("utf-8", "surrogatepass")
    if len(key) > MAX_KEY_BYTES:
        raise ValueError(f"the names of a hub and its topic are {len(key)} bytes, and may be {MAX_KEY_BYTES}")
    return key


def names_of(key: bytes) -> tuple[str, str]:
    """Return the names of a key's hub and topic. Raises :class:`BadRecord` for what is no text."""
    try:
        hub_name, _, topic = key.decode("utf-8", "surrogatepass").partition("\0")
    except UnicodeDecodeError:
        raise BadRecord("a topic whose name is no text") from None
    return hub_name, topic
