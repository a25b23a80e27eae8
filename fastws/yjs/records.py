"""The files of a :class:`fastws.yjs.FileStore`, as bytes, and how a document's name becomes a file's.

A file begins with a line that says what it is. Then come records: a length and a checksum of four bytes
each, the highest first, and the content. The first record of a file is the document's name.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple
from zlib import crc32

__all__ = ["MAGIC", "MAX_NAME_BYTES", "Contents", "encode_record", "file_name", "read_contents"]

MAGIC = b"fastws.yjs 1\n"
#: Bytes of the name of a document.
MAX_NAME_BYTES = 200
#: Characters of a file's name before its ending. Most file systems take 255 bytes.
MAX_FILE_NAME = 200
#: What stands for itself. Capital letters do not: for some file systems they are the same as small ones.
PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")

_HEAD = struct.Struct(">II")


class Contents(NamedTuple):
    """What a file holds."""

    #: The contents of the whole records, the document's name first; empty for an empty file.
    records: list[bytes]
    #: The bytes that are whole records.
    good_bytes: int


def encode_record(content: bytes) -> bytes:
    """Return a record."""
    return _HEAD.pack(len(content), crc32(content)) + content


def read_contents(data: bytes) -> Contents | None:
    """Return what a file holds, up to the first record that is not whole; None for a file of another kind."""
    if not data.startswith(MAGIC):
        # A crash may have left a part of the first line.
        return Contents([], 0) if MAGIC.startswith(data) else None
    records = []
    at = len(MAGIC)
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(content) < length or crc32(content) != checksum or not length:
            break
        records.append(content)
        at += _HEAD.size + length
    return Contents(records, at)


def file_name(name: str) -> str:
    """Return the name of a document's files, without the ending: every name has its own."""
    encoded = "".join(chr(byte) if byte in PLAIN else f"%{byte:02x}" for byte in name.encode())
    if len(encoded) > MAX_FILE_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()
        # No other name has "~" in its file's.
        encoded = f"{encoded[: MAX_FILE_NAME - len(digest) - 1]}~{digest}"
    return encoded
