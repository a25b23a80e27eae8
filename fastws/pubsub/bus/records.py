# cython: annotation_typing=False
"""The records of the bus: how they are written, and how a stream of them is read. No socket, no clock.

A record is little-endian ``<IBBHIQ``: the size of all that follows (u32), its kind (u8), flags (u8), the
length of its key (u16), a count (u32) and a number (u64); then the key, then what the kind has for a body.
The key names a topic of a hub, or what is held. The first record of a stream is a hello with the version of
the bus; its count is 0, and its number is the identity of who sends it.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from fastws.pubsub.notes import NOTE

__all__ = [
    "HEADER_BYTES",
    "MAX_KEY_BYTES",
    "MAX_RECORD_BYTES",
    "VERSION",
    "BadRecord",
    "Decoder",
    "Flag",
    "Kind",
    "Record",
    "encode_record",
    "hello",
    "split_frames",
]

#: Goes up with every change that an older member of the bus would misread.
VERSION = 2
MAGIC = b"fastws-bus"
HEADER = struct.Struct("<IBBHIQ")
HEADER_BYTES = HEADER.size
#: The size counts what follows it.
SIZE_BYTES = 4
REST_BYTES = HEADER_BYTES - SIZE_BYTES
MAX_KEY_BYTES = 0xFFFF
#: The largest record that is read: what may wait for one peer.
MAX_RECORD_BYTES = 64 * 1024 * 1024


class Kind(IntEnum):
    """What a record says."""

    HELLO = 0
    #: ``count`` frames of one topic; ``number`` is that of the first.
    RUN = 1
    #: What the sender wants to hear; see :class:`Flag`.
    FOLLOW = 2
    #: ``count`` messages were dropped, or nobody knows how many; ``number`` is that of the next.
    GAP = 3
    #: ``number`` is that of the next message of a topic.
    STATE = 4
    #: How many listen to a topic? ``number`` is that of the question.
    ASK = 5
    #: ``count`` listen; ``number`` is that of the question.
    ANSWER = 6
    #: The sender holds ``count`` of what the key names, whatever it said before; see :class:`Flag`.
    HOLD = 7
    #: It has used ``count`` of an allowance that ends at ``number``, in nanoseconds of the monotonic clock.
    USE = 8
    # Between a worker and the keeper (:mod:`fastws.pubsub.keeper`):
    #: The worker uses a topic, whose settings are the body, or no more; see :class:`Flag`.
    DECLARE = 9
    #: The keeper takes what the worker publishes to a topic.
    ACCEPTED = 10
    #: It does not; the body says why.
    REFUSED = 11
    #: ``count`` frames, or changes of a keyed topic, to be numbered; ``number`` grows from record to record.
    PUBLISH = 12
    #: One of these; ``number`` is that of the question, and grows too.
    CONFIRM = 13
    #: ``number`` records of PUBLISH, CONFIRM and GAP have been taken since the hello.
    TAKEN = 14
    #: The position of the message of that question is the body; ``count`` is 1 for one that was there before,
    #: 2 for a key that there is no room for, and 3 where the body says why it was not published.
    CONFIRMED = 15
    #: What is kept of a topic follows, from the offset ``number`` on.
    BEGIN = 16
    #: ``count`` frames that were kept, the first at the offset ``number``; or changes after that number.
    KEPT = 17
    #: The same of what is new.
    NUMBERED = 18


class Flag(IntEnum):
    """The flags of FOLLOW, STATE, HOLD and DECLARE."""

    #: FOLLOW: send this topic no more; from a keeper: nothing more of that copy comes. STATE and HOLD:
    #: nothing but the number. DECLARE: used no more.
    NONE = 0
    #: FOLLOW: send this topic; a keeper is told what is here: what comes next is the message ``number`` of
    #: the epoch whose digest is ``count``. DECLARE: it is used.
    TOPIC = 1
    #: FOLLOW: send from now on only what this peer follows.
    FILTER = 2
    #: STATE: the numbers begin here, whatever came before. HOLD: all that the sender holds follows.
    BEGIN = 4
    #: STATE: the sender forgets this topic; its numbers may begin again.
    FORGET = 8
    #: HOLD: what the sender holds has been told since BEGIN.
    END = 16


#: Which flags a kind may have.
FLAGS = {
    Kind.RUN: {0},
    Kind.FOLLOW: {Flag.NONE, Flag.TOPIC, Flag.FILTER},
    Kind.GAP: {0},
    Kind.STATE: {Flag.NONE, Flag.BEGIN, Flag.FORGET},
    Kind.ASK: {0},
    Kind.ANSWER: {0},
    Kind.HOLD: {Flag.NONE, Flag.BEGIN, Flag.END},
    Kind.USE: {0},
    Kind.DECLARE: {Flag.NONE, Flag.TOPIC},
    Kind.ACCEPTED: {0},
    Kind.REFUSED: {0},
    Kind.PUBLISH: {0},
    Kind.CONFIRM: {0},
    Kind.TAKEN: {0},
    Kind.CONFIRMED: {0},
    Kind.BEGIN: {0},
    Kind.KEPT: {0},
    Kind.NUMBERED: {0},
}
#: Whose key is no topic of a hub.
WITHOUT_TOPIC = (Kind.ANSWER, Kind.HOLD, Kind.USE, Kind.TAKEN)
#: Whose body is a number of frames, as that of RUN; and who else has one.
OF_FRAMES = (Kind.PUBLISH,)
WITH_BODY = (
    Kind.DECLARE,
    Kind.REFUSED,
    Kind.CONFIRM,
    Kind.CONFIRMED,
    Kind.BEGIN,
    Kind.KEPT,
    Kind.NUMBERED,
)


#: Compared for each record.
RUN, FOLLOW = int(Kind.RUN), int(Kind.FOLLOW)
FILTER = int(Flag.FILTER)


class BadRecord(Exception):
    """A peer sent what is no record; the text says what was wrong."""

    #: The records that came in the same read, before it.
    before: tuple[Record, ...] = ()


class Record:
    """One record of a peer, or for one."""

    __slots__ = ("amount", "body", "flags", "key", "kind", "number")

    def __init__(
        self, kind: int, flags: int, key: bytes, amount: int, number: int, body: bytes = b""
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.key = key
        #: What the header calls the count.
        self.amount = amount
        self.number = number
        self.body = body

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return HEADER_BYTES + len(self.key) + len(self.body)

    def encoded(self) -> bytes:
        """Return its bytes."""
        return encode_record(self.kind, self.flags, self.key, self.amount, self.number, self.body)


def encode_record(kind: int, flags: int, key: bytes, count: int, number: int, body: bytes = b"") -> bytes:
    """Return the bytes of one record."""
    head = HEADER.pack(REST_BYTES + len(key) + len(body), kind, flags, len(key), count, number)
    return head + key + body


def hello(identity: int) -> bytes:
    """Return the first record of a stream."""
    return encode_record(Kind.HELLO, VERSION, MAGIC, 0, identity)


class Decoder:
    """Reads the stream of one peer: the hello first, then records, each checked."""

    __slots__ = ("_buffer", "_needed", "_said_hello")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = HEADER_BYTES
        self._said_hello = False

    @property
    def is_torn(self) -> bool:
        """True when the stream stopped within a record."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Record]:
        """Return the records that ``data`` completes. Raises :class:`BadRecord`; then the stream is lost."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        found: list[Record] = []
        try:
            at = self._records(data, found)
        except BadRecord as error:
            error.before = tuple(found)
            raise
        if at < len(data):
            self._buffer += data[at:] if at else data
        return found

    def _records(self, data: bytes, found: list[Record]) -> int:
        """Add the whole records of ``data``; return where the next one begins."""
        at, end = 0, len(data)
        self._needed = HEADER_BYTES
        while end - at >= HEADER_BYTES:
            size, kind, flags, key_size, count, number = HEADER.unpack_from(data, at)
            if not self._said_hello:
                self._check_hello(size, kind, flags, key_size)
            elif size < REST_BYTES + key_size or size > MAX_RECORD_BYTES:
                raise BadRecord(f"a record of {size} bytes with a key of {key_size}")
            stop = at + SIZE_BYTES + size
            if stop > end:
                self._needed = stop - at
                break
            body_at = at + HEADER_BYTES + key_size
            record = Record(kind, flags, data[at + HEADER_BYTES : body_at], count, number, data[body_at:stop])
            if self._said_hello:
                _check(record)
            elif record.key != MAGIC:
                raise BadRecord("the first record is no hello")
            self._said_hello = True
            found.append(record)
            at = stop
        return at

    def _check_hello(self, size: int, kind: int, flags: int, key_size: int) -> None:
        """Refuse at the header what is no hello: nothing that a stranger announces is waited for."""
        if kind != Kind.HELLO or key_size != len(MAGIC) or size != REST_BYTES + len(MAGIC):
            raise BadRecord("the first record is no hello")
        if flags != VERSION:
            raise BadRecord(f"it speaks version {flags} of the bus, this process version {VERSION}")


def _check(record: Record) -> None:
    kind, flags = record.kind, record.flags
    allowed = FLAGS.get(kind)  # type: ignore[call-overload]
    if allowed is None:
        raise BadRecord(f"a record of the unknown kind {kind}")
    if flags not in allowed:
        raise BadRecord(f"a record of kind {kind} with the flags {flags}")
    if kind == RUN or kind in OF_FRAMES:
        if not record.amount:
            raise BadRecord("a run without messages")
    elif record.body and kind not in WITH_BODY:
        raise BadRecord(f"a record of kind {kind} with a body")
    if b"\0" not in record.key and not (kind == FOLLOW and flags == FILTER) and kind not in WITHOUT_TOPIC:
        raise BadRecord("a record without a topic")


def split_frames(body: bytes, count: int) -> list[bytes]:
    """Return the ``count`` messages of a run, with their notes (:mod:`fastws.pubsub.notes`).

    Each is checked to be one whole frame (RFC 6455, section 5.2).
    """
    frames: list[bytes] = []
    at, end = 0, len(body)
    begin = at
    while at < end:
        if body[at] not in (0x81, 0x82):
            at = _behind_note(body, at)
        if end - at < 2:
            raise BadRecord("a run with what is no message")
        size = body[at + 1]
        start = at + 2
        if size == 126:
            start = at + 4
            size = int.from_bytes(body[at + 2 : start], "big")
        elif size == 127:
            start = at + 10
            # Of eight bytes, so it may be more than a size can be.
            size = min(int.from_bytes(body[at + 2 : start], "big"), end)
        elif size > 127:
            raise BadRecord("a run with a masked message")
        stop = start + size
        if stop > end:
            raise BadRecord("a run that ends within a message")
        frames.append(body[begin:stop])
        at = begin = stop
    if len(frames) != count:
        raise BadRecord(f"a run of {count} messages with {len(frames)}")
    return frames


def _behind_note(body: bytes, at: int) -> int:
    """Return where the message behind a note begins. Raises :class:`BadRecord` where there is no note."""
    behind = at + 2 + body[at + 1] if body[at] == NOTE and at + 2 < len(body) else len(body)
    if behind >= len(body) or body[behind] not in (0x81, 0x82):
        raise BadRecord("a run with what is no message")
    return behind
