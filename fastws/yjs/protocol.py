"""The messages of y-websocket, as bytes: what travels between an editor and a server of documents.

Numbers and byte strings are written as lib0 does: a number in groups of seven bits, the least first; a byte
string behind its length. Nothing here knows what an update of a document means.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "AWARENESS",
    "KEEP_ALIVE",
    "QUERY_AWARENESS",
    "STEP_1",
    "STEP_2",
    "SYNC",
    "UPDATE",
    "BadMessage",
    "Entry",
    "awareness_content",
    "awareness_message",
    "read_awareness",
    "read_bytes",
    "read_number",
    "sync_message",
    "write_number",
]

#: The first number of a message.
SYNC, AWARENESS, QUERY_AWARENESS = 0, 1, 3
#: The second number of one about the document: "this I have", "this you miss", and a change.
STEP_1, STEP_2, UPDATE = 0, 1, 2

#: The largest number that JavaScript counts exactly.
MAX_NUMBER = 2**53 - 1
#: So many bits, and no seven more, may a number have.
MAX_SHIFT = 49


class BadMessage(ValueError):
    """A client has sent what is no message of the protocol; the text says what is wrong, in one line."""


class Entry(NamedTuple):
    """What one client of a document says about itself."""

    #: The number that the client has given itself.
    client: int
    #: Grows with each change; of two entries the one with the larger clock counts.
    clock: int
    #: A value as JSON text; None: the client has gone.
    state: bytes | None


def write_number(number: int) -> bytes:
    """Return a number as lib0 writes it."""
    if number < 128:
        return bytes((number,))
    written = bytearray()
    while number > 127:
        written.append(128 | number & 127)
        number >>= 7
    written.append(number)
    return bytes(written)


def read_number(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins at an index, and the index behind it.

    Raises:
        BadMessage: The data end before the number does, or it is larger than JavaScript counts.
    """
    number = shift = 0
    for index in range(at, len(data)):
        byte = data[index]
        number |= (byte & 127) << shift
        if byte < 128 and number <= MAX_NUMBER:
            return number, index + 1
        shift += 7
        if byte < 128 or shift > MAX_SHIFT:
            raise BadMessage("a number is too large")
    raise BadMessage("a number is cut short")


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the byte string that begins at an index, and the index behind it.

    Raises:
        BadMessage: The data end before it does.
    """
    length, start = read_number(data, at)
    end = start + length
    if end > len(data):
        raise BadMessage("a byte string is cut short")
    return data[start:end], end


def sync_message(kind: int, content: bytes) -> bytes:
    """Return a message about the document: ``STEP_1`` with a state vector, or the others with an update."""
    return b"".join((bytes((SYNC, kind)), write_number(len(content)), content))


def awareness_content(entries: list[Entry]) -> bytes:
    """Return what clients say about themselves, as :func:`read_awareness` reads it."""
    parts = [write_number(len(entries))]
    for client, clock, state in entries:
        text = b"null" if state is None else state
        parts += (write_number(client), write_number(clock), write_number(len(text)), text)
    return b"".join(parts)


def awareness_message(entries: list[Entry]) -> bytes:
    """Return the message that tells what clients say about themselves."""
    content = awareness_content(entries)
    return b"".join((bytes((AWARENESS,)), write_number(len(content)), content))


#: Tells nothing about nobody. Pages do not see pings, and y-websocket connects again after 30 s of silence.
KEEP_ALIVE = awareness_message([])


def read_awareness(content: bytes, most: int) -> list[Entry]:
    """Return the entries of an awareness update.

    Args:
        content: The byte string of the message.
        most: How many entries there may be.

    Raises:
        BadMessage: It is no such update, or has more entries.
    """
    count, at = read_number(content, 0)
    if count > most:
        raise BadMessage(f"an awareness update has {count} entries; {most} are allowed")
    entries = []
    for _ in range(count):
        client, at = read_number(content, at)
        clock, at = read_number(content, at)
        text, at = read_bytes(content, at)
        entries.append(Entry(client, clock, None if text == b"null" else text))
    if at != len(content):
        raise BadMessage("an awareness update has bytes behind its end")
    return entries
