"""What the micro-benchmarks feed in: masked streams, handshakes, outboxes that write nowhere."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from fastws.config import Limits
from fastws.connection.outbox import Outbox
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import Engine, Opcode, encode, engine

MASK = b"\x12\x34\x56\x78"
TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)

#: What a feed of a room may publish: 1 KiB as JSON.
DOCUMENT: dict[str, Any] = {
    "type": "message",
    "room": "lobby",
    "messages": [
        {"id": 1_000_000 + number, "from": f"user{number}", "text": "what a fine day", "at": 1.7e9 + number}
        for number in range(14)
    ],
}
JSON_TEXT = json.dumps(DOCUMENT, separators=(",", ":"))

#: Name -> the stream of one read.
STREAMS: dict[str, bytes] = {
    "20 B": encode(TEXT, "t" * 20, MASK),
    "16 x 20 B": encode(TEXT, "t" * 20, MASK) * 16,
    "1 KiB ASCII": encode(TEXT, "t" * 1024, MASK),
    "1 KiB text": encode(TEXT, "tü" * 341, MASK),
    "64 KiB binary": encode(BINARY, random.Random(0).randbytes(65536), MASK),
}

HANDSHAKE = (
    b"GET /wsecho HTTP/1.1\r\n"
    b"Host: 127.0.0.1:9999\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: */*\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Origin: http://127.0.0.1:9999\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Connection: keep-alive, Upgrade\r\n"
    b"Pragma: no-cache\r\n"
    b"Cache-Control: no-cache\r\n"
    b"Upgrade: websocket\r\n\r\n"
)


def engines() -> dict[str, Engine]:
    """Every engine that is built here."""
    found = {}
    for name in ("c", "wsproto"):
        try:
            found[name] = engine(name)
        except ImportError:
            continue
    return found


class NullTransport:
    """Takes everything and keeps nothing."""

    def write(self, data: bytes) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


class NullHost:
    """A connection as an outbox sees it."""

    def encode_publication(self, entry: Any) -> bytes:
        return bytes(entry.frame(0))

    def evict(self, reason: str) -> None:
        raise AssertionError(reason)

    def slow(self) -> None:
        pass

    def keep_fresh(self) -> None:
        pass

    def drained(self) -> None:
        pass


class Listener:
    """What a hub asks of a WebSocket."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox


class LoopByHand:
    """The loop's end of a turn, called by hand until it is over: what many are to have, looks again first."""

    def __init__(self) -> None:
        self.turn = Turn(self._soon)
        self._calls: list[Callable[[], None]] = []

    def _soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def end(self) -> None:
        while self._calls:
            calls, self._calls = self._calls, []
            for call in calls:
                call()

    def outbox(self, variant: int = 0) -> Outbox:
        """An outbox whose socket takes everything, through its transport."""
        outbox = Outbox(NullHost(), NullTransport(), self.turn, -1, Limits())
        outbox.frame_variant = variant
        return outbox
