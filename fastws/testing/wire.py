"""Bytes on the wire, written and read without the code under test."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import NamedTuple

__all__ = ["Frame", "HTTPAnswer", "accept_token", "frame", "handshake", "read_frames", "read_response"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: The key of RFC 6455, section 1.3, and the answer to it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

MASK = bytes.fromhex("37fa213d")


class Frame(NamedTuple):
    """One frame as it was on the wire, unmasked (RFC 6455, section 5.2)."""

    #: ``wire.TEXT``, ``BINARY``, ``CONTINUATION``, ``CLOSE``, ``PING`` or ``PONG``.
    opcode: int
    #: Unmasked, and still compressed where ``rsv1`` is set.
    payload: bytes
    #: The last frame of its message.
    fin: bool = True
    #: The first bit of the three that extensions use: of permessage-deflate, "compressed".
    rsv1: bool = False
    #: As every frame of a client is, and none of a server.
    masked: bool = False

    @property
    def text(self) -> str:
        """The payload as UTF-8."""
        return self.payload.decode()

    @property
    def close_code(self) -> int:
        """The code of a close frame; 1005 when it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def close_reason(self) -> str:
        """The reason of a close frame; empty when it has none."""
        return self.payload[2:].decode()


class HTTPAnswer(NamedTuple):
    """An HTTP response."""

    #: The number of the status line.
    status: int
    #: Names in lower case, the last of a repeated name.
    headers: dict[str, str]
    #: As many bytes as Content-Length says.
    body: bytes


def frame(
    opcode: int,
    payload: bytes | str = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    mask: bytes | None = MASK,
) -> bytes:
    """Return the bytes of a frame (RFC 6455, section 5.2).

    Args:
        opcode: ``wire.TEXT``, ``BINARY``, ``CONTINUATION``, ``CLOSE``, ``PING`` or ``PONG``, or a wrong one.
        payload: Bytes, or text that is sent as UTF-8. Default: empty.
        fin: The last frame of its message. Default True.
        rsv1: Set the bit that permessage-deflate uses. Default False.
        mask: The masking key, four bytes. None: unmasked, as a server's frame.
    """
    data = payload.encode() if isinstance(payload, str) else payload
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    bit = 0 if mask is None else 0x80
    size = len(data)
    if size <= 125:
        head = bytes([first, bit | size])
    elif size <= 0xFFFF:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    if mask is None:
        return head + data
    return head + mask + _masked(data, mask)


def read_frames(data: bytes) -> tuple[list[Frame], bytes]:
    """Return the whole frames at the beginning of ``data``, and the bytes behind them."""
    frames: list[Frame] = []
    while len(data) >= 2:
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        masked = bool(data[1] & 0x80)
        mask = data[at : at + 4] if masked else b""
        at += len(mask)
        if len(data) < at + size or (masked and len(mask) < 4):
            break
        payload = data[at : at + size]
        frames.append(
            Frame(
                data[0] & 0x0F,
                _masked(payload, mask) if masked else payload,
                bool(data[0] & 0x80),
                bool(data[0] & 0x40),
                masked,
            )
        )
        data = data[at + size :]
    return frames, data


def _masked(data: bytes, mask: bytes) -> bytes:
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")


def accept_token(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2)."""
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return b64encode(sha1((key + guid).encode(), usedforsecurity=False).digest()).decode()


def handshake(path: str = "/", *headers: str) -> bytes:
    """Return the bytes of a request to upgrade (RFC 6455, section 4.1).

    Args:
        path: Path and query.
        headers: Whole lines to add, ``"Name: value"``.
    """
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: server.example",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def read_response(data: bytes, *, head_only: bool = False) -> tuple[HTTPAnswer, bytes]:
    """Return the response at the beginning of ``data``, and the bytes behind it.

    The body may have a Content-Length, or come in chunks.

    Args:
        data: What a server wrote.
        head_only: The request was HEAD, so the response has no body. Default False.

    Raises:
        ValueError: The response is not whole.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError(f"no whole response head in {data[:200]!r}")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict((name.lower(), value) for name, value in (line.split(": ", 1) for line in lines))
    status = int(status_line.split()[1])
    if head_only or status in (101, 204, 304):
        return HTTPAnswer(status, headers, b""), rest
    if headers.get("transfer-encoding") == "chunked":
        body, rest = _read_chunks(rest)
        return HTTPAnswer(status, headers, body), rest
    size = int(headers["content-length"])
    if len(rest) < size:
        raise ValueError(f"{len(rest)} of {size} bytes of the body")
    return HTTPAnswer(status, headers, rest[:size]), rest[size:]


def _read_chunks(data: bytes) -> tuple[bytes, bytes]:
    """Return a chunked body without trailers (RFC 9112, section 7.1), and the bytes behind it."""
    body = b""
    while True:
        line, separator, rest = data.partition(b"\r\n")
        size = int(line, 16) if separator else 0
        if not separator or len(rest) < size + 2:
            raise ValueError(f"no whole chunk behind {len(body)} bytes of the body")
        body += rest[:size]
        data = rest[size + 2 :]
        if not size:
            return body, data
