"""Opcodes, close codes, masks, and the choice between the two engines that read and write frames.

Both engines have the same contract. ``Reader.receive`` takes the bytes of one read and returns all their
events in order, at most one ``Fail`` among them, as the last. Where the input is cut changes neither events
nor codes. ``encode`` makes one frame. ``FASTWS_ENGINE`` chooses the engine, ``c`` or ``wsproto``; without
it the engine in C is taken where it was built.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Protocol

from fastws.protocol.websocket.events import Event
from fastws.protocol.websocket.opcodes import FIN, RSV1, Opcode

__all__ = [
    "ENGINE",
    "FIN",
    "RSV1",
    "CloseCode",
    "Engine",
    "FrameReader",
    "MaskPool",
    "MaskSource",
    "Opcode",
    "Reader",
    "encode",
    "encode_close",
    "engine",
    "random_mask",
]


CLOSE = int(Opcode.CLOSE)


class CloseCode(IntEnum):
    """Why a WebSocket was closed (RFC 6455, section 7.4.1, and IANA's registry of close codes).

    An application may send 1000 to 1003, 1007 to 1014, and codes of its own from 3000 to 4999 (RFC 6455,
    section 7.4.2); ``close()`` raises ``ValueError`` for any other.
    """

    #: The purpose for which the WebSocket was opened is fulfilled.
    NORMAL_CLOSURE = 1000
    #: The server stops, or the browser leaves the page.
    GOING_AWAY = 1001
    #: The peer sent a frame that RFC 6455 does not allow.
    PROTOCOL_ERROR = 1002
    #: The peer sent a type of message that this endpoint does not accept, such as binary.
    UNSUPPORTED_DATA = 1003
    #: Never sent: the peer's close frame carried no code.
    NO_STATUS_RECEIVED = 1005
    #: Never sent: the connection ended without a close frame.
    ABNORMAL_CLOSURE = 1006
    #: The peer sent text that is not UTF-8, or a compressed message that cannot be inflated.
    INVALID_DATA = 1007
    #: The peer exceeded a limit other than that on size, or read too slowly.
    POLICY_VIOLATION = 1008
    #: A message is larger than ``Limits.max_message_size``.
    MESSAGE_TOO_BIG = 1009
    #: The client needs an extension that the server did not accept.
    MANDATORY_EXTENSION = 1010
    #: The handler raised an exception.
    INTERNAL_ERROR = 1011
    #: The server restarts. The client may connect again.
    SERVICE_RESTART = 1012
    #: The server is overloaded. The client may connect later, or to another server.
    TRY_AGAIN_LATER = 1013
    #: A gateway or proxy got no valid response from the server behind it.
    BAD_GATEWAY = 1014
    #: Never sent: the TLS handshake failed.
    TLS_HANDSHAKE = 1015


Buffer = bytes | bytearray | memoryview
Inflate = Callable[[bytes, int], bytes]
MaskSource = Callable[[], bytes]


class FrameReader(Protocol):
    """One direction of one connection: bytes in, events out."""

    def receive(self, data: Buffer, size: int = ..., /) -> list[Event]:
        """Return all events of the first ``size`` bytes of ``data``, by default of all its bytes.

        No reference to ``data`` is kept. After a Close or a Fail the list is empty. Raises ``ValueError``
        for a ``size`` that ``data`` has not.

        When ``INFLATED_BYTES_AHEAD`` bytes were inflated since the reader was made or went on, the message
        with the last of them ends the list, and ``More`` follows. What is left of ``data``, and what other
        calls bring, is kept as it is until a call with no bytes lets the reader go on.
        """

    @property
    def pending(self) -> bool:
        """Whether a part of a frame or of a message is held, so that more bytes have to come."""


class ReaderType(Protocol):
    def __call__(
        self,
        max_message_size: int,
        max_fragments: int,
        max_empty_fragments: int,
        inflate: Inflate | None,
        *,
        client: bool,
    ) -> FrameReader:
        """Make the reader of one connection.

        Args:
            max_message_size: bytes of a message, after decompression; 1009 beyond it. ``sys.maxsize // 4``
                at most, whatever is given.
            max_fragments: frames of a message; 1008 beyond it.
            max_empty_fragments: empty frames of a message in a row; 1008 beyond it.
            inflate: ``inflate(payload, limit)`` returns the message, or raises ``InflateError`` with the
                close code. None: a frame with RSV1 fails with 1002.
            client: whether this side is the client, so that the peer must not mask (RFC 6455, section 5.1).

        Raises ``ValueError`` for a limit below 1.
        """


class Encode(Protocol):
    def __call__(
        self,
        opcode: int,
        payload: str | Buffer,
        mask: bytes | None = None,
        flags: int = FIN,
    ) -> bytes:
        """Return one frame (RFC 6455, section 5.2).

        Args:
            opcode: what the frame carries, see ``Opcode``.
            payload: text is encoded as UTF-8.
            mask: 4 fresh bytes where this side is the client (RFC 6455, section 5.3), else None.
            flags: ``FIN`` for a whole message, ``FIN | RSV1`` for a compressed one, 0 for a fragment that
                is not the last.

        Raises ``ValueError`` for an unknown opcode, other flags, a mask of another length, a control frame
        that is fragmented, compressed or over 125 bytes (RFC 6455, section 5.5), and for text that cannot
        be encoded as UTF-8.
        """


@dataclass(frozen=True, slots=True)
class Engine:
    """One of the two implementations of frames."""

    name: str
    Reader: ReaderType
    encode: Encode


def engine(name: str) -> Engine:
    """Return the engine ``c`` or ``wsproto``. Raises ``ImportError`` for one that is not there."""
    if name == "c":
        try:
            from fastws.protocol.websocket import _frames
        except ImportError as exc:
            raise ImportError("the C engine is not built: install fastws again with a C compiler") from exc
        return Engine(name, _frames.Reader, _frames.encode)
    if name == "wsproto":
        from fastws.protocol.websocket import engine_wsproto

        return Engine(name, engine_wsproto.Reader, engine_wsproto.encode)
    raise ImportError(f"FASTWS_ENGINE must be 'c' or 'wsproto', not {name!r}")


def _choose() -> Engine:
    name = os.environ.get("FASTWS_ENGINE")
    if name:
        return engine(name)
    try:
        return engine("c")
    except ImportError:
        return engine("wsproto")


_chosen = _choose()
ENGINE = _chosen.name
Reader = _chosen.Reader
encode = _chosen.encode


def sendable(code: int) -> bool:
    """Return whether a close frame, sent or received, may carry this code.

    RFC 6455, section 7.4, and IANA's registry, to which 1012 to 1014 were added later.
    """
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def encode_close(code: int | None, reason: str, mask: bytes | None) -> bytes:
    """Return a close frame (RFC 6455, section 5.5.1); with ``code=None`` it carries no code.

    Raises ``ValueError`` for a code that may not be sent (RFC 6455, section 7.4), for a reason without a
    code, and for a reason of more than 123 bytes of UTF-8.
    """
    return _plain_close(code, reason) if mask is None else encode(CLOSE, _close_payload(code, reason), mask)


# A server sends the same few close frames, without a mask, to many connections.
@lru_cache(maxsize=64)
def _plain_close(code: int | None, reason: str) -> bytes:
    return encode(CLOSE, _close_payload(code, reason), None)


def _close_payload(code: int | None, reason: str) -> bytes:
    if code is None:
        if reason:
            raise ValueError("a close reason needs a close code")
        return b""
    if not sendable(code):
        raise ValueError(f"close code {code} may not be sent")
    text = reason.encode()
    if len(text) > 123:
        raise ValueError(f"the close reason has {len(text)} bytes, more than 123")
    return struct.pack("!H", code) + text


class MaskPool:
    """Gives out masking keys (RFC 6455, section 5.3) from the system's entropy, read 4 KiB at a time.

    No key is given out twice, not even to two threads at once.
    """

    __slots__ = ("_keys",)

    _keys: Iterator[tuple[bytes]]

    def __init__(self) -> None:
        self.forget()

    def __call__(self) -> bytes:
        for (key,) in self._keys:
            return key
        self._keys = struct.iter_unpack("4s", os.urandom(4096))
        return self()

    def forget(self) -> None:
        """Drop the keys that were read and not given out."""
        self._keys = iter(())


#: The mask source of every client connection.
random_mask = MaskPool()
# A forked child would give out the same keys as its parent.
os.register_at_fork(after_in_child=random_mask.forget)
