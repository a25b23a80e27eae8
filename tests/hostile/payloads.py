"""Bytes to attack with."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from tests.kit.process import MIB
from tests.live.raw import BINARY, CONTINUATION, frame

__all__ = ["CHUNKED", "DEFLATE", "LIMIT", "MS", "NEXT", "bomb", "deflated", "fragments"]
__all__ += ["in_fragments", "literal", "request", "with_body"]

MS = 0.001
#: The built-in limit of a message.
LIMIT = 1 << 20
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
CHUNKED = "Transfer-Encoding: chunked"
#: What must never be answered when it follows something that was refused.
NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def literal(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def request(path: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    lines = [f"{method} {path} {version}", "Host: x", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def with_body(*fields: str, body: bytes = b"0\r\n\r\n", version: str = "HTTP/1.1") -> bytes:
    return request("/upload", *fields, method="POST", version=version) + body


def fragments(opcode: int, payload: bytes, count: int) -> bytes:
    """The beginning of a message that never ends."""
    return frame(opcode, payload, fin=False) + frame(CONTINUATION, payload, fin=False) * (count - 1)


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(9, wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bomb() -> bytes:
    """50 KB that become 50 MiB."""
    return deflated(bytes(50 * MIB))


def in_fragments(payload: bytes, count: int) -> bytes:
    """One compressed message, spread over fragments."""
    step = len(payload) // count + 1
    parts = [payload[start : start + step] for start in range(0, len(payload), step)]
    first, *middle, last = parts
    return (
        frame(BINARY, first, fin=False, rsv=4)
        + b"".join(frame(CONTINUATION, part, fin=False) for part in middle)
        + frame(CONTINUATION, last)
    )
