"""The first byte of a frame: its opcode and its flags (RFC 6455, section 5.2)."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["FIN", "RSV1", "Opcode"]

#: Flags of a frame. FIN: it ends its message. RSV1: it begins a compressed message (RFC 7692, section 6).
FIN, RSV1 = 0x80, 0x40


class Opcode(IntEnum):
    """What a frame carries."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
