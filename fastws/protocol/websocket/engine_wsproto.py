"""The engine in Python, which is the reference: wsproto's ``Connection`` with our limits.

wsproto reads and validates frames, but has no limits. The guard is an extension in the sense of wsproto: it
sees each header before the payload, so limits, RSV bits and inflation are its work.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

from wsproto import events as wsevents
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    Frame,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    RsvBits,
    XorMaskerSimple,
)

from fastws.protocol.websocket.deflate import INFLATED_BYTES_AHEAD, InflateError
from fastws.protocol.websocket.events import Close, Event, Fail, More, Ping, Pong
from fastws.protocol.websocket.opcodes import FIN, RSV1

__all__ = ["Reader", "encode"]

#: Bytes of a message, whatever the limit: the engine in C computes with multiples of the limit.
MAX_MESSAGE_SIZE = sys.maxsize // 4
_RSV_NONE = RsvBits(rsv1=False, rsv2=False, rsv3=False)
_RSV1 = RsvBits(rsv1=True, rsv2=False, rsv3=False)

#: How wsproto's text for a failure begins, and our reason for it, which never repeats what the peer sent.
_REASONS = (
    ("Invalid opcode", "unknown opcode"),
    ("Invalid attempt to fragment", "fragmented control frame"),
    ("Control frame with payload", "control frame too long"),
    ("Payload length used", "length not minimal"),
    ("8-byte payload length", "length out of range"),
    ("client received", "masked frame"),
    ("server received", "unmasked frame"),
    ("CLOSE with 1 byte", "close frame of one byte"),
    ("CLOSE with", "invalid close code"),
    ("remote CLOSE", "invalid close code"),
)


#: IANA's registry has the code 1014, which wsproto takes for a reserved one: what a close frame begins with.
_BAD_GATEWAY = struct.pack("!H", 1014)
_KNOWN_CODE = struct.pack("!H", CloseReason.TRY_AGAIN_LATER)


class _FrameProtocol(FrameProtocol):
    """wsproto's, with the close code 1014."""

    def _process_close(self, frame: Frame) -> Frame:
        payload = frame.payload
        assert isinstance(payload, (bytes, bytearray))
        if payload[:2] != _BAD_GATEWAY:
            return super()._process_close(frame)
        # Have the reason checked behind a code that wsproto knows.
        checked = super()._process_close(
            Frame(frame.opcode, _KNOWN_CODE + payload[2:], frame.frame_finished, frame.message_finished)
        )
        assert isinstance(checked.payload, tuple)
        reason = checked.payload[1]
        return Frame(frame.opcode, (1014, reason), frame.frame_finished, frame.message_finished)


class _Guard(Extension):
    """Our limits, the RSV bits and inflation.

    wsproto reports a header again when the mask had not arrived with it. So a header is only judged; its
    frame is counted when the payload begins.
    """

    name = "fastws-guard"

    def __init__(
        self, max_size: int, max_fragments: int, max_empty: int, inflate: Callable[[bytes, int], bytes] | None
    ) -> None:
        self._max_size = min(max_size, MAX_MESSAGE_SIZE)
        self._max_fragments = max_fragments
        self._max_empty = max_empty
        self._inflate = inflate
        self._opcode = Opcode.CONTINUATION
        #: Fragments, empty ones in a row, and bytes of the message: as counted, and as the last header says.
        self._counted = self._announced = (0, 0, 0)
        self._compressed: bytearray | None = None
        #: Whether the message is text, and its last two bytes.
        self._text = False
        self._tail = b""
        #: Why the guard failed the connection, if it did.
        self.reason = ""
        #: Bytes since the reader went on.
        self.inflated = 0

    @property
    def in_message(self) -> bool:
        return self._counted[0] > 0

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        allowed = _RSV1 if self._inflate and opcode in (Opcode.TEXT, Opcode.BINARY) else _RSV_NONE
        if rsv not in (_RSV_NONE, allowed):
            return self._fail(CloseReason.PROTOCOL_ERROR, "reserved bit set")
        self._opcode = opcode
        self._rsv1 = rsv.rsv1
        if opcode.iscontrol():
            return allowed
        # RFC 6455, section 5.4: fragments of two messages may not mix.
        if opcode is Opcode.CONTINUATION and not self.in_message:
            return self._fail(CloseReason.PROTOCOL_ERROR, "continuation without a message")
        if opcode is not Opcode.CONTINUATION and self.in_message:
            return self._fail(CloseReason.PROTOCOL_ERROR, "new message inside a message")
        return self._count(payload_length) or allowed

    def _count(self, payload_length: int) -> CloseReason | None:
        fragments, empty, size = self._counted
        fragments += 1
        if fragments > self._max_fragments:
            return self._fail(CloseReason.POLICY_VIOLATION, "too many fragments")
        empty = 0 if payload_length else empty + 1
        if empty > self._max_empty:
            return self._fail(CloseReason.POLICY_VIOLATION, "too many empty fragments")
        size += payload_length
        if size > self._limit(self._rsv1 or self._compressed is not None):
            return self._fail(CloseReason.MESSAGE_TOO_BIG, "message too big")
        self._announced = (fragments, empty, size)
        return None

    def _limit(self, compressed: bool) -> int:
        # Deflate can make data larger: by an eighth with fixed codes, by some bytes for each stored block.
        return self._max_size + (self._max_size >> 3) + 1024 if compressed else self._max_size

    def frame_inbound_payload_data(
        self, proto: FrameDecoder | FrameProtocol, data: bytes
    ) -> bytes | CloseReason:
        if self._opcode.iscontrol():
            return data
        if not self.in_message:
            self._compressed = bytearray() if self._rsv1 else None
            self._text = self._opcode is Opcode.TEXT
            self._tail = b""
        self._counted = self._announced
        if self._compressed is not None:
            self._compressed += data
            return b""
        # CPython's decoder finds a surrogate at its third byte; the engine in C finds it at the second.
        self._tail = (self._tail + data[-2:])[-2:]
        if self._text and b"\xed\xa0" <= self._tail <= b"\xed\xff":
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return data

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if self._opcode.iscontrol() or not fin:
            return None
        compressed, self._compressed = self._compressed, None
        self._counted = (0, 0, 0)
        if compressed is None:
            return None
        assert self._inflate is not None
        try:
            message = self._inflate(bytes(compressed), self._max_size)
        except InflateError as exc:
            reason = "message too big" if exc.code == CloseReason.MESSAGE_TOO_BIG else "invalid deflate data"
            return self._fail(CloseReason(exc.code), reason)
        self.inflated += len(message)
        return message

    def _fail(self, code: CloseReason, reason: str) -> CloseReason:
        self.reason = reason
        return code


class Reader:
    """Frames to events; the contract is FrameReader's."""

    __slots__ = ("_connection", "_ended", "_guard", "_message")

    def __init__(
        self,
        max_message_size: int,
        max_fragments: int,
        max_empty_fragments: int,
        inflate: Callable[[bytes, int], bytes] | None,
        *,
        client: bool,
    ) -> None:
        if min(max_message_size, max_fragments, max_empty_fragments) < 1:
            raise ValueError("a limit must be at least 1")
        self._guard = _Guard(max_message_size, max_fragments, max_empty_fragments, inflate)
        role = ConnectionType.CLIENT if client else ConnectionType.SERVER
        self._connection = Connection(role, [self._guard])
        self._connection._proto = _FrameProtocol(client, [self._guard])
        self._message = bytearray()
        self._ended = False

    @property
    def pending(self) -> bool:
        if self._ended:
            return False
        # wsproto has no such property.
        decoder = self._connection._proto._frame_decoder
        return self._guard.in_message or decoder.header is not None or len(decoder.buffer) > 0

    def receive(self, data: bytes | bytearray | memoryview, size: int | None = None, /) -> list[Event]:
        if size is not None:
            if not 0 <= size <= len(data):
                raise ValueError("the size is not one of the data")
            data = memoryview(data)[:size]
        if self._ended:
            return []
        guard = self._guard
        events: list[Event] = []
        ended = True
        try:
            self._connection.receive_data(data)  # type: ignore[arg-type]  # it copies any buffer
            if guard.inflated >= INFLATED_BYTES_AHEAD:
                if len(data):
                    ended = False
                    return events
                guard.inflated = 0
            for found in self._connection.events():
                event = self._event(found)
                if event is not None:
                    events.append(event)
                # What is left waits in wsproto's buffer.
                if guard.inflated >= INFLATED_BYTES_AHEAD and type(event) is not Fail:
                    events.append(More())
                    break
            ended = bool(events) and type(events[-1]) in (Close, Fail)
        finally:
            self._ended = ended
        return events

    def _event(self, found: wsevents.Event) -> Event | None:
        if isinstance(found, wsevents.TextMessage):
            # Collected as bytes: a list of short strings would need many times the memory.
            text = self._collect(found.data.encode(), finished=found.message_finished)
            return None if text is None else text.decode()
        if isinstance(found, wsevents.BytesMessage):
            return self._collect(found.data, finished=found.message_finished)
        if isinstance(found, wsevents.Ping):
            return Ping(bytes(found.payload))
        if isinstance(found, wsevents.Pong):
            return Pong(bytes(found.payload))
        assert isinstance(found, wsevents.CloseConnection)
        # wsproto reports a failure like a close frame, but only a close frame changes its state.
        if self._connection.state is ConnectionState.OPEN:
            return Fail(int(found.code), self._reason(found))
        return Close(int(found.code), found.reason or "")

    def _collect(self, part: bytes | bytearray, *, finished: bool) -> bytes | None:
        self._message += part
        if not finished:
            return None
        message, self._message = bytes(self._message), bytearray()
        return message

    def _reason(self, found: wsevents.CloseConnection) -> str:
        if self._guard.reason:
            return self._guard.reason
        if found.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA:
            return "invalid UTF-8"
        return next(ours for theirs, ours in _REASONS if (found.reason or "").startswith(theirs))


def encode(
    opcode: int,
    payload: str | bytes | bytearray | memoryview,
    mask: bytes | None = None,
    flags: int = FIN,
) -> bytes:
    """Return one frame; the contract is that of ``Encode``.

    wsproto's encoder is not used: it chooses the mask itself, and copies the payload more often.
    """
    kind = Opcode(opcode)
    data = payload.encode() if isinstance(payload, str) else bytes(memoryview(payload))
    if flags & ~(FIN | RSV1):
        raise ValueError("the flags of a frame are FIN and RSV1")
    if kind.iscontrol() and (len(data) > 125 or flags != FIN):
        raise ValueError("a control frame is whole, not compressed, and has at most 125 bytes")
    first = flags | kind
    masked = 0 if mask is None else 0x80
    if len(data) <= 125:
        head = struct.pack("!BB", first, masked | len(data))
    elif len(data) <= 0xFFFF:
        head = struct.pack("!BBH", first, masked | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, masked | 127, len(data))
    if mask is None:
        return head + data
    if len(mask) != 4:
        raise ValueError("a mask has 4 bytes")
    return head + mask + XorMaskerSimple(mask).process(bytearray(data))
