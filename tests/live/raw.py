"""A WebSocket client made of a socket and literal bytes: it may break every rule."""

from __future__ import annotations

import base64
import hashlib
import re
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "Frame", "Outcome", "PING", "PONG", "Peer", "TEXT"]
__all__ += ["accepted", "close_frame", "frame", "frames", "header", "upgrade"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

MASK = b"\x37\xfa\x21\x3d"
#: RFC 6455, section 1.3.
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def upgrade(path: str = "/echo", *fields: str, host: str = "127.0.0.1") -> bytes:
    """The head of a request to upgrade, with more header fields if need be."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *fields,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def accepted(key: str) -> bytes:
    """The head with which a server opens the WebSocket."""
    token = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {token}"]).encode() + b"\r\n\r\n"


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    size = len(payload)
    keys = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def header(opcode: int, size: int, *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK) -> bytes:
    """A frame's header; ``rsv`` is the three reserved bits, RSV1 being 4."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0 if mask is None else 0x80
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + (mask or b"")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
) -> bytes:
    """A whole frame of a client; ``mask=None`` leaves it unmasked."""
    body = payload if mask is None else masked(payload, mask)
    return header(opcode, len(payload), fin=fin, rsv=rsv, mask=mask) + body


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


@dataclass(frozen=True)
class Frame:
    """A frame of the server, as it came."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def size(self) -> int:
        """Bytes on the wire, the header included; a server masks nothing."""
        size = len(self.payload)
        return size + (2 if size < 126 else 4 if size < 1 << 16 else 10)

    @property
    def code(self) -> int:
        """The code in a close frame; 1005 where there is none."""
        code: int = struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else 1005
        return code


def frames(data: bytes | bytearray) -> list[Frame]:
    """The whole frames in what a server sent; a part of one at the end is left out."""
    found = []
    view = memoryview(data)
    while len(view) >= 2:
        size, start = view[1] & 0x7F, 2
        assert not view[1] & 0x80, "a server's frame is not masked (RFC 6455, section 5.1)"
        if size == 126 and len(view) >= 4:
            size, start = int.from_bytes(view[2:4], "big"), 4
        elif size == 127 and len(view) >= 10:
            size, start = int.from_bytes(view[2:10], "big"), 10
        if len(view) < start + size:
            break
        payload = bytes(view[start : start + size])
        found.append(Frame(view[0] & 15, payload, bool(view[0] & 0x80), view[0] >> 4 & 7))
        view = view[start + size :]
    return found


@dataclass
class Outcome:
    """What came back, and whether the server ended TCP."""

    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: bool = False
    #: Bytes that the server did not take, and whether it refused more while they were being sent.
    unsent: int = 0
    refused: bool = False
    #: From the first byte sent to the last one received.
    seconds: float = 0.0

    @property
    def frames(self) -> list[Frame]:
        return frames(self.data)

    @property
    def code(self) -> int | None:
        """The code of the close frame; None without one."""
        return next((each.code for each in self.frames if each.opcode == CLOSE), None)

    @property
    def statuses(self) -> list[int]:
        """The status of every HTTP response in the data, in order."""
        lines = [line for line in self.data.split(b"\r\n") if b"HTTP/1.1 " in line]
        return [int(line[line.index(b"HTTP/1.1 ") + 9 :][:3]) for line in lines]


class Peer:
    """One TCP connection, plain or with TLS."""

    def __init__(
        self, port: int, tls: ssl.SSLContext | None = None, *, receive_buffer: int | None = None
    ) -> None:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        self.sock = sock if tls is None else tls.wrap_socket(sock, server_hostname="127.0.0.1")
        self._read = bytearray()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes | memoryview) -> None:
        self.sock.sendall(data)

    def reset(self) -> None:
        """End with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _receive(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._read += data

    def head(self) -> bytes:
        """Read the head of a response; what follows it stays for :meth:`frame`."""
        while b"\r\n\r\n" not in self._read:
            self._receive()
        head, _, rest = bytes(self._read).partition(b"\r\n\r\n")
        self._read = bytearray(rest)
        return head

    def response(self) -> tuple[bytes, bytes]:
        """Read a response with a Content-Length; return its head and body."""
        head = self.head()
        found = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        assert found is not None, head
        size = int(found[1])
        while len(self._read) < size:
            self._receive()
        body = bytes(self._read[:size])
        del self._read[:size]
        return head, body

    def upgrade(self, path: str = "/echo", *fields: str) -> Peer:
        """Open the WebSocket."""
        self.send(upgrade(path, *fields))
        head = self.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return self

    def frame(self) -> Frame:
        """Read the next frame."""
        while not (found := frames(self._read)):
            self._receive()
        del self._read[: found[0].size]
        return found[0]

    def no_ping(self) -> Frame:
        """Read the next frame that is not a PING; those are answered."""
        while (found := self.frame()).opcode == PING:
            self.send(frame(PONG, found.payload))
        return found

    def exchange(self, data: bytes = b"", seconds: float = 10.0) -> Outcome:
        """Send ``data`` as far as it is taken, and read until the server ends TCP or time is up."""
        self.sock.settimeout(0)
        view = memoryview(data)
        outcome = Outcome(self._read)
        started = time.monotonic()
        while (left := started + seconds - time.monotonic()) > 0 and not outcome.ended:
            sending = bool(view) and not outcome.refused
            readable, writable, _ = select.select([self.sock], [self.sock] if sending else [], [], left)
            if writable:
                view = view[self._send_some(view, outcome) :]
            if readable:
                self._read_some(outcome)
                outcome.seconds = time.monotonic() - started
        outcome.unsent = len(view)
        self.sock.settimeout(5)
        return outcome

    def _send_some(self, view: memoryview, outcome: Outcome) -> int:
        try:
            return self.sock.send(view[:65536])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:  # the server has gone; what it said can still be read
            outcome.refused = True
        return 0

    def _read_some(self, outcome: Outcome) -> None:
        try:
            while received := self.sock.recv(1 << 18):
                outcome.data += received
            outcome.ended = True
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            outcome.ended = outcome.reset = True
