# cython: annotation_typing=False
"""The half of the machine that speaks in frames: from the 101 to the end of TCP (RFC 6455, sections 5 to 7).

The other half, HTTP and the upgrade, is ``machine.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastws.config import Limits
from fastws.protocol.websocket.deflate import DeflateParams, DeflatePool, Deflater
from fastws.protocol.websocket.events import Close, Fail, Ping
from fastws.protocol.websocket.frames import (
    FIN,
    RSV1,
    CloseCode,
    MaskSource,
    Opcode,
    Reader,
    encode,
    encode_close,
)
from fastws.protocol.websocket.rate_limit import RateLimiter
from fastws.protocol.websocket.states import (
    CLOSING,
    FAIL,
    LOCAL_CLOSE,
    OPEN,
    PEER_CLOSE,
    TRANSITIONS,
    State,
    Trigger,
)

__all__ = ["FramePhase"]

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
ABNORMAL_CLOSURE = int(CloseCode.ABNORMAL_CLOSURE)
NO_STATUS_RECEIVED = int(CloseCode.NO_STATUS_RECEIVED)
#: Bytes of the payload of a control frame (RFC 6455, section 5.5).
MAX_CONTROL_PAYLOAD = 125
#: ``FramePhase.frame_variant``: the peer gets frames of its own. (0: plain ones; 9 to 15: a deflate window.)
OWN_FRAMES = -1

#: What a read gives: messages as ``str`` and ``bytes``, everything else as a value of its own.
Event = Any


class FramePhase:
    """State, reader and encoder of one connection. Made and opened by :class:`Machine`."""

    __slots__ = (
        "_deflater",
        "_mask",
        "_reader",
        "close_code",
        "close_reason",
        "closed_by_peer",
        "frame_variant",
        "in_place",
        "state",
        "takeover",
        "threshold",
    )

    def _begin(self, state: State, mask: MaskSource | None) -> None:
        # Not __init__: to call that of a base class costs a compiled class a look-up by name.
        self.state = state
        self._mask = mask
        self._reader: Any = None
        self._deflater: Deflater | None = None
        #: Bytes of a payload from which on it is compressed; 0 when compression was not negotiated.
        self.threshold = 0
        #: Each frame is compressed with those before it, so frames must be written in the order of encoding.
        self.takeover = False
        #: See :meth:`choose_buffer`.
        self.in_place = False
        #: Which frames of a broadcast this peer can be given: 0 for plain ones, 9 to 15 for those compressed
        #: with a window of so many bits, ``OWN_FRAMES`` for a peer whose frames fit nobody else.
        self.frame_variant = 0 if mask is None else OWN_FRAMES
        #: Code and reason of the first close frame, the peer's or ours (RFC 6455, section 7.1.5).
        self.close_code = ABNORMAL_CLOSURE
        self.close_reason = ""
        self.closed_by_peer = True

    @property
    def is_client(self) -> bool:
        return self._mask is not None

    def _move(self, trigger: Trigger) -> None:
        self.state = TRANSITIONS[self.state, trigger]

    def _open(self, limits: Limits, params: DeflateParams | None, deflate: DeflatePool | None) -> None:
        client = self.is_client
        inflate = None
        if params is not None:
            assert deflate is not None
            inflate = deflate.inflater(params, client=client)
            self._deflater = deflate.deflater(params, client=client)
            self.threshold = max(deflate.compression.threshold, 1)
            if client:
                self.takeover = not params.client_no_context_takeover
            else:
                self.takeover = not params.server_no_context_takeover
                self.frame_variant = OWN_FRAMES if self.takeover else params.server_max_window_bits
        self._reader = Reader(
            limits.max_message_size,
            limits.max_fragments,
            limits.max_empty_fragments,
            inflate,
            client=client,
        )

    # -- reading --------------------------------------------------------------------------------

    def stream(self, max_message_size: int | None, max_empty_fragments: int) -> None:
        """Give messages out in parts from now on, as :class:`Fragment`.

        Call it before the first frame is read, and only without deflate. ``max_message_size`` is in bytes;
        None is no limit.
        """
        assert not self.threshold
        # Few connections need this reader, and it imports the frames of wsproto.
        from fastws.protocol.websocket.stream_reader import StreamReader

        reader = StreamReader(max_message_size, max_empty_fragments, client=self.is_client)
        if type(self._reader) is RateLimiter:
            self._reader.reader = reader
        else:
            self._reader = reader

    def limit_rate(self, limits: Limits, time: Callable[[], float]) -> None:
        """Apply the limits per second, if ``limits`` has any, to everything that is read from now on."""
        if limits.messages_per_second is not None or limits.bytes_per_second is not None:
            self._reader = RateLimiter(
                self._reader, limits.messages_per_second, limits.bytes_per_second, time
            )

    def choose_buffer(self) -> bool:
        """Set :attr:`in_place` again; return whether it has changed.

        It is true while a transport may read the rest of a large message straight into the memory of that
        message: it takes the memory from :attr:`get_buffer` and reports the bytes to :meth:`received`. Only
        the reader in C can do that, and only in the client's role, where payloads are not masked.
        """
        before, self.in_place = self.in_place, getattr(self._reader, "room", 0) > 0
        return self.in_place is not before

    @property
    def get_buffer(self) -> Callable[[int], Any]:
        """The memory of the message under way, as ``asyncio.BufferedProtocol.get_buffer`` returns it."""
        get_buffer: Callable[[int], Any] = self._reader.get_buffer
        return get_buffer

    def received(self, size: int) -> list[Event]:
        """Return the events of ``size`` bytes that were read into the memory of the message itself."""
        state = self.state
        if state is OPEN or state is CLOSING:
            events: list[Event] = self._reader.received(size)
            return events
        return []

    # -- what the protocol itself answers -------------------------------------------------------

    def answer(self, event: Event) -> bytes | None:
        """Do what the protocol owes the peer for ``event``; return the frame to write, or None."""
        if type(event) is Ping:
            # RFC 6455, section 5.5.2: no pong is owed to a peer that has sent a close frame.
            return encode(PONG, event.payload, self._key()) if self.state is OPEN else None
        if type(event) is Close:
            return self._peer_closed(event)
        if type(event) is Fail:
            return self._failed(event)
        return None

    def _peer_closed(self, event: Close) -> bytes | None:
        """Answer the first close frame with its own code and reason (RFC 6455, section 5.5.1)."""
        reply = None
        if self.state is OPEN:
            self.close_code, self.close_reason = event.code, event.reason
            code = None if event.code == NO_STATUS_RECEIVED else event.code
            reply = encode_close(code, event.reason, self._key())
        self._move(PEER_CLOSE)
        return reply

    def _failed(self, event: Fail) -> bytes | None:
        """Fail the connection (RFC 6455, section 7.1.7)."""
        reply = None
        if self.state is OPEN:
            self.close_code, self.close_reason = event.code, event.reason
            self.closed_by_peer = False
            reply = encode_close(event.code, event.reason, self._key())
        self._move(FAIL)
        return reply

    # -- writing --------------------------------------------------------------------------------

    def encode(self, message: str | bytes, compress: bool | None = None) -> bytes:
        """Return the frame of one message.

        ``compress=None`` compresses from :attr:`threshold` on, True every message and False none; without
        negotiated compression no message is compressed.
        """
        opcode = TEXT if isinstance(message, str) else BINARY
        if self.threshold and compress is not False and (compress or len(message) >= self.threshold):
            assert self._deflater is not None
            payload = message.encode() if isinstance(message, str) else message
            return encode(opcode, self._deflater(payload), self._key(), FIN | RSV1)
        if self._mask is None:
            return encode(opcode, message)
        return encode(opcode, message, self._mask())

    def key_only(self, compress: bool | None) -> bytes | None:
        """Return a fresh masking key (RFC 6455, section 5.3) when masking is all that a message needs.

        The outbox then masks a large message while it writes it. None when the message may be compressed,
        or when this side does not mask.
        """
        if self._mask is None or (self.threshold and compress is not False):
            return None
        return self._mask()

    def encode_fragment(self, opcode: int, payload: bytes | str, fin: bool) -> bytes:
        """Return one frame of a fragmented message (RFC 6455, section 5.4). It is never compressed."""
        return encode(opcode, payload, self._key(), FIN if fin else 0)

    def ping(self, payload: bytes) -> bytes:
        """Return a ping frame. Raises ``ValueError`` beyond 125 bytes (RFC 6455, section 5.5)."""
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise ValueError("the payload of a ping holds at most 125 bytes")
        return encode(PING, payload, self._key())

    def close(self, code: int | None, reason: str) -> bytes | None:
        """Begin to close; return the close frame, or None when the state is not OPEN.

        Raises ``ValueError`` for a code that may not be sent (RFC 6455, section 7.4) and for a reason of
        more than 123 bytes.
        """
        frame = encode_close(code, reason, self._key())
        if self.state is not OPEN:
            return None
        self.close_code = NO_STATUS_RECEIVED if code is None else code
        self.close_reason = reason
        self.closed_by_peer = False
        self._move(LOCAL_CLOSE)
        return frame

    def _key(self) -> bytes | None:
        return None if self._mask is None else self._mask()
