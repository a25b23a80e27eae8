"""The structure of an update of Yjs (version 1), as far as it is needed to take it apart.

An update has runs of structs, each of one client and in the order of its clock, and then what was deleted. To
apply one struct may take as long as the document is large, and many at once quadratic time and memory. So
a large update is applied in pieces, each of which is an update of its own.
"""

from __future__ import annotations

from fastws.yjs.protocol import BadMessage, read_bytes, read_number, write_number

__all__ = ["Pieces"]

#: The lowest five bits of a struct's first byte: what it holds; and the bits that say what stands before.
CONTENT, HAS_PARENT_KEY, HAS_RIGHT, HAS_LEFT = 31, 0x20, 0x40, 0x80
GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = range(11)
#: Types that have a name: an element of XML, and a hook.
NAMED_TYPES = (3, 5)
LAST_TYPE = 6
#: Values inside of values.
MAX_DEPTH = 50
EMPTY = b"\x00"
MANY = 1_000_000


class Pieces:
    """Takes an update apart, into updates of a given number of structs or deleted ranges.

    Raises:
        BadMessage: It is no update; that may be found out by any step.
    """

    __slots__ = ("_at", "_client", "_clients", "_clock", "_data", "_ranges", "_structs")

    def __init__(self, update: bytes) -> None:
        self._data = update
        self._clients, self._at = read_number(update, 0)
        self._client = self._clock = self._structs = 0
        #: What was deleted, once the structs are done: client, clock, length.
        self._ranges: list[tuple[int, int, int]] | None = None

    def take(self, most: int) -> bytes | None:
        """Return the next piece; None when there are no more."""
        data = self._data
        while not self._structs:
            if not self._clients:
                return self._take_ranges(most)
            self._clients -= 1
            self._structs, at = read_number(data, self._at)
            self._client, at = read_number(data, at)
            self._clock, self._at = read_number(data, at)
        start = at = self._at
        clock = self._clock
        count = min(most, self._structs)
        for _ in range(count):
            length, at = _read_struct(data, at)
            self._clock += length
        self._at = at
        self._structs -= count
        head = b"\x01", write_number(count), write_number(self._client), write_number(clock)
        return b"".join((*head, data[start:at], EMPTY))

    def ends(self) -> dict[int, int]:
        """Return how far the structs would bring each client's clock; nothing more can be taken then."""
        found: dict[int, int] = {}
        while self._structs or self._clients:
            self.take(MANY)
            found[self._client] = self._clock
        return found

    def _take_ranges(self, most: int) -> bytes | None:
        if self._ranges is None:
            self._ranges = self._read_ranges()
        if not self._ranges:
            return None
        ranges, self._ranges = self._ranges[:most], self._ranges[most:]
        return EMPTY + _deleted(ranges)

    def _read_ranges(self) -> list[tuple[int, int, int]]:
        """Return what was deleted, behind the structs."""
        data = self._data
        found = []
        clients, at = read_number(data, self._at)
        for _ in range(clients):
            client, at = read_number(data, at)
            count, at = read_number(data, at)
            for _ in range(count):
                clock, at = read_number(data, at)
                length, at = read_number(data, at)
                found.append((client, clock, length))
        if at != len(data):
            raise BadMessage("an update has bytes behind its end")
        return found


def _deleted(ranges: list[tuple[int, int, int]]) -> bytes:
    """Return the part of an update that says what was deleted."""
    by_client: dict[int, list[bytes]] = {}
    for client, clock, length in ranges:
        by_client.setdefault(client, []).append(write_number(clock) + write_number(length))
    parts = [write_number(len(by_client))]
    for client, written in by_client.items():
        parts += write_number(client), write_number(len(written)), *written
    return b"".join(parts)


def _read_struct(data: bytes, at: int) -> tuple[int, int]:
    """Return how far a client's clock goes with the struct that begins at an index, and where it ends."""
    if at >= len(data):
        raise BadMessage("an update is cut short")
    info = data[at]
    at += 1
    kind = info & CONTENT
    if kind in (GC, SKIP):
        return read_number(data, at)
    if info & HAS_LEFT:
        at = _skip_numbers(data, at, 2)
    if info & HAS_RIGHT:
        at = _skip_numbers(data, at, 2)
    if not info & (HAS_LEFT | HAS_RIGHT):
        is_named, at = read_number(data, at)
        at = _skip_bytes(data, at) if is_named == 1 else _skip_numbers(data, at, 2)
        if info & HAS_PARENT_KEY:
            at = _skip_bytes(data, at)
    if kind == STRING:
        text, at = read_bytes(data, at)
        return _utf16_length(text), at
    if kind == DELETED:
        return read_number(data, at)
    if kind in (JSON, ANY):
        count, at = read_number(data, at)
        for _ in range(count):
            at = _skip_bytes(data, at) if kind == JSON else _skip_any(data, at)
        return count, at
    return 1, _skip_content(data, at, kind)


def _skip_content(data: bytes, at: int, kind: int) -> int:
    """Return where content of one place in a document ends."""
    if kind in (BINARY, EMBED):
        return _skip_bytes(data, at)
    if kind == FORMAT:
        return _skip_bytes(data, _skip_bytes(data, at))
    if kind == DOC:
        return _skip_any(data, _skip_bytes(data, at))
    if kind == TYPE:
        number, at = read_number(data, at)
        if number <= LAST_TYPE:
            return _skip_bytes(data, at) if number in NAMED_TYPES else at
    raise BadMessage("an update has content of an unknown kind")


def _utf16_length(text: bytes) -> int:
    """Return how many units of UTF-16 a text in UTF-8 has."""
    if text.isascii():
        return len(text)
    try:
        return len(text.decode().encode("utf-16-le")) // 2
    except UnicodeError:
        raise BadMessage("an update has a text that is not UTF-8") from None


def _skip_numbers(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        _, at = read_number(data, at)
    return at


def _skip_bytes(data: bytes, at: int) -> int:
    length, at = read_number(data, at)
    if at + length > len(data):
        raise BadMessage("an update is cut short")
    return at + length


#: How many bytes a value has behind its first byte, by that.
FIXED = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}
INTEGER, TEXT, OBJECT, ARRAY, BUFFER = 125, 119, 118, 117, 116


def _skip_any(data: bytes, at: int, depth: int = 0) -> int:
    """Return where a value as lib0 writes it ends."""
    if at >= len(data) or depth > MAX_DEPTH:
        raise BadMessage("an update has a value that is cut short, or too deep")
    kind = data[at]
    at += 1
    if kind in FIXED:
        if at + FIXED[kind] > len(data):
            raise BadMessage("an update is cut short")
        return at + FIXED[kind]
    if kind == INTEGER:
        return _skip_numbers(data, at, 1)
    if kind in (TEXT, BUFFER):
        return _skip_bytes(data, at)
    if kind not in (OBJECT, ARRAY):
        raise BadMessage("an update has a value of an unknown kind")
    count, at = read_number(data, at)
    for _ in range(count):
        if kind == OBJECT:
            at = _skip_bytes(data, at)
        at = _skip_any(data, at, depth + 1)
    return at
