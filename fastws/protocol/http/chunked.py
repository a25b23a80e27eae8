# cython: annotation_typing=False
"""Reads a chunked body (RFC 9112, section 7.1), more strictly than h11 does.

Only CRLF ends a line, a size has at most 16 hexadecimal digits, an extension at most 256 octets, and
trailers are checked, limited and dropped. The result is the body without its chunks: one piece for each
read, however many tiny chunks a client sends.
"""

from __future__ import annotations

import re
from enum import Enum

from fastws.protocol.http.strict_head import FIELDS, Rejected

__all__ = ["ChunkedBody"]

#: Bytes of all trailer fields of one body.
MAX_TRAILER_SIZE = 8 * 1024

# "Bad white space" before the semicolon must be accepted (RFC 9112, section 7.1.1); 16 octets are enough.
_EXTENSION = rb"[\t ]{0,16}+;[\t\x20-\x7e\x80-\xff]{0,256}+"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:" + _EXTENSION + rb")?+\r\n")
_SIZE_LINE_BEGUN = re.compile(rb"(?:[0-9A-Fa-f]{1,16}+(?:" + _EXTENSION + rb"\r?+|[\t ]{1,16}+|\r)?+)?+")
_TRAILER = re.compile(FIELDS)
# The size lines of chunks of 1 to 15 bytes, which may come in thousands: a look-up costs less than a match.
_TINY = {f"{digit}\r\n".encode(): int(digit, 16) for digit in "123456789abcdefABCDEF"}


class _Expect(Enum):
    SIZE = "the line that begins a chunk"
    DATA = "the rest of a chunk"
    DATA_END = "the CRLF behind a chunk"
    TRAILERS = "trailers, or the empty line that ends them"
    NOTHING = "nothing: the body is complete"


class ChunkedBody:
    """Takes the chunks of one body apart. Beyond ``limit`` bytes of body it raises ``Rejected`` (413)."""

    __slots__ = ("_expect", "_left", "_room", "_trailer_room")

    def __init__(self, limit: int) -> None:
        self._expect = _Expect.SIZE
        self._left = 0
        self._room = limit
        self._trailer_room = MAX_TRAILER_SIZE

    def limit(self, size: int) -> None:
        """Limit the rest of the body to ``size`` bytes."""
        self._room = size

    @property
    def finished(self) -> bool:
        return self._expect is _Expect.NOTHING

    def feed(self, data: bytes | bytearray) -> tuple[bytes, int]:
        """Return the part of the body in ``data``, and how many octets of ``data`` were used.

        Give the octets that were not used again, followed by new ones. Raises ``Rejected``.
        """
        body = bytearray()  # not a list: a chunk may be one byte, and each object takes fifty
        data = bytes(data)
        pos = 0
        while True:
            if self._expect is _Expect.SIZE:
                pos = self._take_tiny(data, pos, body)
                match = _SIZE_LINE.match(data, pos)
                if match is None:
                    if not _SIZE_LINE_BEGUN.fullmatch(data, pos):
                        raise Rejected(400, "not the size of a chunk")
                    break
                pos = match.end()
                self._begin(int(match[1], 16))
            elif self._expect is _Expect.DATA:
                piece = data[pos : pos + self._left]
                body += piece
                pos += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._expect = _Expect.DATA_END
            elif self._expect is _Expect.DATA_END:
                if not data.startswith(b"\r\n", pos):
                    if data[pos:] not in (b"", b"\r"):
                        raise Rejected(400, "no CRLF behind a chunk")
                    break
                pos += 2
                self._expect = _Expect.SIZE
            else:
                pos = self._skip_trailers(data, pos)
                break
        return bytes(body), pos

    def _take_tiny(self, data: bytes, pos: int, body: bytearray) -> int:
        """Take the complete tiny chunks at ``pos``; return where something else begins."""
        room = self._room
        while True:
            size = _TINY.get(data[pos : pos + 3], 0)
            end = pos + 3 + size
            if not size or size > room or data[end : end + 2] != b"\r\n":
                self._room = room
                return pos
            body += data[pos + 3 : end]
            room -= size
            pos = end + 2

    def _begin(self, size: int) -> None:
        if size > self._room:
            raise Rejected(413, "the body is too large")
        self._room -= size
        self._left = size
        self._expect = _Expect.DATA if size else _Expect.TRAILERS

    def _skip_trailers(self, data: bytes, pos: int) -> int:
        while (end := data.find(b"\r\n", pos)) > pos:
            if not _TRAILER.fullmatch(data, pos, end + 2):
                raise Rejected(400, "not a trailer field")
            self._trailer_room -= end + 2 - pos
            pos = end + 2
        if end == pos:
            self._expect = _Expect.NOTHING
            pos += 2
        elif b"\n" in data[pos:]:
            raise Rejected(400, "a bare LF in a trailer")
        elif len(data) - pos > self._trailer_room:
            raise Rejected(431, "the trailers are too large")
        if self._trailer_room < 0:
            raise Rejected(431, "the trailers are too large")
        return pos
