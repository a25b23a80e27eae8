"""How messages travel through a broker: payloads with what stands beside them, never ready frames. No I/O.

A *body* is one message: a letter, then the payload. ``t`` is a text, ``b`` a binary message, ``j`` a JSON
text. A capital letter, ``J`` or ``B``, says that a client has published it: the length of the author's name
follows (one byte, 0 to 125), and the name in UTF-8, which is empty where the client has none. What a key
holds is the source text of its JSON value and nothing else.

A *blob* is a run of messages of one plain topic, little-endian: ``fws1``; the node (8 bytes) and which life
of it this is (u32); the number of the first message (u64) and how many there are (u32); then each one's size
(u32) and body. A node's numbers of a topic have no holes, so who misses some knows how many. Without messages
it says which number is the next.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fastws.connection.publication import payload_of
from fastws.protocol.websocket.frames import FIN, Opcode, encode
from fastws.pubsub.bus.records import BadRecord, split_frames
from fastws.pubsub.notes import JSON_NOTE, MAX_AUTHOR_BYTES, author_of, frame_of, note_of

__all__ = ["BLOB_BYTES", "NODE_BYTES", "Blob", "body_of", "blobs", "encode_blob", "kept_of", "read_blob"]

FAMILY, MAGIC = b"fws", b"fws1"
NODE_BYTES = 8
BLOB = struct.Struct(f"<4s{NODE_BYTES}sIQI")
SIZE = struct.Struct("<I")
#: What a blob has beside its messages, and what each message has beside its payload at most.
BLOB_BYTES = BLOB.size + SIZE.size + 2 + MAX_AUTHOR_BYTES
TEXT, BINARY = int(Opcode.TEXT), int(Opcode.BINARY)
TEXT_FRAME = FIN | TEXT


def body_of(kept: bytes) -> bytes:
    """Return the body of a message, which is a frame with its note (:mod:`fastws.pubsub.notes`)."""
    author = author_of(kept)
    frame = frame_of(kept)
    payload = payload_of(frame)
    is_text = frame[0] == TEXT_FRAME
    if author is None:
        return (b"t" if is_text else b"b") + payload
    if is_text and not author:
        return b"j" + payload
    return b"%c%c%b%b" % (b"J" if is_text else b"B", len(author), author, payload)


def kept_of(body: bytes) -> bytes:
    """Return the frame of a body, with its note. Raises :class:`BadRecord`."""
    kind, payload = body[:1], body[1:]
    note = b""
    if kind == b"j":
        note = JSON_NOTE
    elif kind in (b"J", b"B"):
        size = payload[0] if payload else MAX_AUTHOR_BYTES + 1
        if size > MAX_AUTHOR_BYTES or len(payload) <= size:
            raise BadRecord("a message whose author has no name")
        try:
            note = note_of(payload[1 : 1 + size].decode())
        except UnicodeDecodeError:
            raise BadRecord("a message whose author's name is no text") from None
        payload = payload[1 + size :]
    elif kind not in (b"t", b"b"):
        raise BadRecord("a message of an unknown kind")
    if kind in (b"b", b"B"):
        return note + encode(BINARY, payload)
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise BadRecord("a text that is none") from None
    return note + encode(TEXT, text)


class Blob(NamedTuple):
    """What a blob says."""

    node: bytes
    #: A node that has started again has the next one.
    life: int
    number: int
    bodies: list[bytes]


def encode_blob(node: bytes, life: int, number: int, bodies: Sequence[bytes] = ()) -> bytes:
    """Return the blob of messages, or that of the next number."""
    parts = [BLOB.pack(MAGIC, node, life, number, len(bodies))]
    for body in bodies:
        parts += (SIZE.pack(len(body)), body)
    return b"".join(parts)


def read_blob(blob: bytes) -> Blob:
    """Return what a blob says. Raises :class:`BadRecord`."""
    version = blob[: len(MAGIC)]
    if version != MAGIC:
        if version.startswith(FAMILY):
            raise BadRecord(f"a node of another version of fastws speaks {version!r}, not {MAGIC!r}")
        raise BadRecord("what is no blob")
    try:
        _, node, life, number, count = BLOB.unpack_from(blob)
        bodies = []
        at, end = BLOB.size, len(blob)
        while at < end:
            (size,) = SIZE.unpack_from(blob, at)
            at += SIZE.size + size
            bodies.append(blob[at - size : at])
    except struct.error:
        raise BadRecord("what is no blob") from None
    if len(bodies) != count or at != end:
        raise BadRecord("what is no blob")
    return Blob(node, life, number, bodies)


def blobs(body: bytes, count: int, most: int) -> Iterable[tuple[int, list[bytes]]]:
    """Return the bodies of the messages of a run of the bus, in lists for blobs of at most ``most`` bytes.

    The first of each pair is how many messages before them are larger than that, and left out.
    """
    bodies = list(map(body_of, split_frames(body, count)))
    if len(body) + count * (SIZE.size + 1) + BLOB_BYTES <= most:
        return ((0, bodies),)
    return _divided(bodies, most)


def _divided(bodies: list[bytes], most: int) -> Iterator[tuple[int, list[bytes]]]:
    found: list[bytes] = []
    size = skipped = 0
    for each in bodies:
        if len(each) + BLOB_BYTES > most:
            if found:
                yield skipped, found
                found, size, skipped = [], 0, 0
            skipped += 1
            continue
        if found and size + len(each) + BLOB_BYTES > most:
            yield skipped, found
            found, size, skipped = [], 0, 0
        found.append(each)
        size += len(each) + SIZE.size
    if found or skipped:
        yield skipped, found
