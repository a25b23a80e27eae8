"""Frames of the clients that are written in Python, for crowds: they trust the server that they measure."""

from __future__ import annotations

import struct

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "TEXT",
    "client_frame",
    "close_of",
    "next_frame",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: A mask of zeros leaves the bytes as they are (RFC 6455, section 5.3): this is a measuring instrument.
NO_MASK = bytes(4)
#: The code of a close frame without one (RFC 6455, section 7.1.5).
NO_CODE = 1005


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a message, or a control frame, as a client sends it."""
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        head = bytes([first, 0x80 | size])
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    return head + NO_MASK + payload


def close_of(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame."""
    code = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else NO_CODE
    return code, payload[2:].decode("utf-8", "replace")


def next_frame(buffer: bytearray, start: int) -> tuple[int, int, int] | None:
    """Return (first byte, begin, end) of the frame at ``start``; None while a part of it is missing.

    A server's frames are not masked (RFC 6455, section 5.1).
    """
    if len(buffer) - start < 2:
        return None
    length, begin = buffer[start + 1] & 0x7F, start + 2
    if length > 125:
        size = 2 if length == 126 else 8
        if len(buffer) - begin < size:
            return None
        length = int.from_bytes(buffer[begin : begin + size])
        begin += size
    end = begin + length
    return (buffer[start], begin, end) if len(buffer) >= end else None
