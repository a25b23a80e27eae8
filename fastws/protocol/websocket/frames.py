"""The frame seam: opcodes, close codes, and the choice between the two engines.

Both engines have one contract. ``Reader.receive`` takes the bytes of one read and returns all their
events in order, then at most one Fail; where the input is cut changes neither events nor codes.
``encode`` makes one frame. Which engine: ``FASTWS_ENGINE`` is ``c`` or ``wsproto``; unset, C if built.
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

__all__ = [
    "ENGINE",
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


class Opcode(IntEnum):
    """RFC 6455, section 5.2."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


CLOSE = int(Opcode.CLOSE)


class CloseCode(IntEnum):
    """Why a WebSocket was closed: RFC 6455, section 7.4.1, and the registry of IANA.

    An application may send 1000 to 1003 and 1007 to 1013, and codes of its own from 3000 to 4999.
    """

    #: It has done what it was opened for.
    NORMAL_CLOSURE = 1000
    #: A server stops, or a browser leaves the page.
    GOING_AWAY = 1001
    #: A frame that the RFC does not allow.
    PROTOCOL_ERROR = 1002
    #: A type of message that this endpoint does not take, such as binary.
    UNSUPPORTED_DATA = 1003
    #: Never on the wire: the close frame carried no code.
    NO_STATUS_RECEIVED = 1005
    #: Never on the wire: the connection ended without a close frame.
    ABNORMAL_CLOSURE = 1006
    #: Text that is not UTF-8, or a compressed message that cannot be inflated.
    INVALID_DATA = 1007
    #: A limit other than that of size; a client that was too slow.
    POLICY_VIOLATION = 1008
    #: Over ``Limits.max_message_size``.
    MESSAGE_TOO_BIG = 1009
    #: A client misses an extension that the server did not agree to.
    MANDATORY_EXTENSION = 1010
    #: The handler has raised.
    INTERNAL_ERROR = 1011
    #: The server is restarted: try again.
    SERVICE_RESTART = 1012
    #: The server has too much to do: try again later, or elsewhere.
    TRY_AGAIN_LATER = 1013
    #: Not to be sent: a gateway got no valid answer from the server behind it.
    BAD_GATEWAY = 1014
    #: Never on the wire: the TLS handshake failed.
    TLS_HANDSHAKE = 1015


Buffer = bytes | bytearray | memoryview
Inflate = Callable[[bytes, int], bytes]
MaskSource = Callable[[], bytes]


class FrameReader(Protocol):
    """One direction of one connection: bytes in, events out."""

    def receive(self, data: Buffer, size: int = ..., /) -> list[Event]:
        """All events of these bytes, or of the first ``size`` of them.

        No reference to ``data`` is kept. After a Close or a Fail: nothing.
        """

    @property
    def pending(self) -> bool:
        """A part of a frame or of a message is held."""


class ReaderType(Protocol):
    def __call__(
        self,
        client: bool,
        max_message_size: int,
        max_fragments: int,
        max_empty_fragments: int,
        inflate: Inflate | None,
    ) -> FrameReader:
        """``client`` is the role of this side. ``inflate=None``: a frame with RSV1 fails with 1002.

        ``inflate(payload, limit)`` raises InflateError with the close code. Raises ValueError for a
        limit below 1. No message is larger than ``sys.maxsize // 4``, whatever the limit.
        """


class Encode(Protocol):
    def __call__(
        self,
        opcode: int,
        payload: str | Buffer,
        mask: bytes | None = None,
        fin: bool = True,
        rsv1: bool = False,
    ) -> bytes:
        """One frame (RFC 6455, section 5.2). ``mask``: 4 fresh bytes in the client role, else None.

        Raises ValueError for an unknown opcode, a mask of another length, a control frame that is
        fragmented, compressed or over 125 bytes, and text that is not UTF-8 encodable.
        """


@dataclass(frozen=True, slots=True)
class Engine:
    name: str
    Reader: ReaderType
    encode: Encode


def engine(name: str) -> Engine:
    """The engine ``c`` or ``wsproto``. Raises ImportError if it is not there."""
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
    """Whether a close frame may carry this code (RFC 6455, section 7.4); both ways the same."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1013 or 3000 <= code <= 4999


def encode_close(code: int | None, reason: str, mask: bytes | None) -> bytes:
    """A close frame (RFC 6455, section 5.5.1); ``code=None`` sends none.

    Raises ValueError for a code that may not be sent, a reason without a code, and a reason of more
    than 123 bytes of UTF-8.
    """
    return _plain_close(code, reason) if mask is None else encode(CLOSE, _close_payload(code, reason), mask)


# A server closes its connections, and answers their closes, with the same few codes and words.
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
    """Masking keys from the system's entropy (RFC 6455, section 5.3), read 4 KiB at a time.

    A key is handed out once, also to concurrent threads.
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
        """Hand out nothing of what was read so far."""
        self._keys = iter(())


#: The mask source of every client connection.
random_mask = MaskPool()
# A forked child would hand out the same keys as its parent.
os.register_at_fork(after_in_child=random_mask.forget)
