"""One client that follows a script: an asyncio Protocol that reads frames, and keeps what may be expected."""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import orjson

from fastws.loadgen.light_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    client_frame,
    close_of,
    next_frame,
)  # fmt: skip

__all__ = ["STAMP", "Failure", "Inbox", "ScriptClient", "fits", "stamp"]

#: So many of the newest messages are kept for the next `expect`.
KEPT = 1000
#: A moment in a message: seconds of the monotonic clock, the same in all processes of a machine.
STAMP = re.compile(rb"@([0-9]{1,12}\.[0-9]{6})@")
#: Most bytes of a response to the upgrade.
MOST_HEAD = 16_384
Inbox = deque[tuple[float, bytes]]


def stamp(at: float) -> str:
    """What takes the place of ``{stamp}``."""
    return f"@{at:.6f}@"


def fits(wanted: Any, payload: bytes) -> bool:
    """Whether a message has in it what a step expects: a text, or the members of an object."""
    if isinstance(wanted, str):
        return wanted.encode() in payload
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return _has(found, wanted)


def _has(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and _has(found[name], value) for name, value in wanted.items()
        )
    return bool(found == wanted)


class Failure(Exception):
    """Why a client ended: a kind of `errors.KINDS`, its detail, and the server's words."""

    def __init__(self, kind: str, detail: int = 0, note: str = "") -> None:
        super().__init__(kind, detail, note)
        self.kind, self.detail, self.note = kind, detail, note


class ScriptClient(asyncio.Protocol):
    """One connection.

    Args:
        handshake: The request, and the accept token that its response must carry.
        on_message: Is called with each message and the time at which it came.
        keeps: Whether messages are kept for steps that expect one.
    """

    def __init__(
        self, handshake: tuple[bytes, bytes], on_message: Callable[[bytes, float], None], *, keeps: bool
    ) -> None:
        self._request, self._accept = handshake
        self._on_message = on_message
        self._buffer = bytearray()
        self._message = bytearray()
        self._transport: asyncio.Transport | None = None
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._inbox: Inbox | None = deque(maxlen=KEPT) if keeps else None
        #: When the last message was sent, or the last expected one came.
        self.sent_at: float | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        #: Is done when the connection has ended.
        self.ended: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.opened.done() and not self._read_head():
            return
        start = 0
        while (frame := next_frame(self._buffer, start)) is not None:
            first, begin, start = frame
            self._take(first, bytes(self._buffer[begin:start]))
        del self._buffer[:start]

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Failure("socket", getattr(exc, "errno", None) or 0) if exc else Failure("eof"))

    # -- for the steps --------------------------------------------------------------------------

    async def send(self, payload: bytes, *, binary: bool) -> None:
        """Send a message as soon as the socket takes bytes."""
        await self._writable.wait()
        if self._inbox is not None:
            self._inbox.clear()
        self._write(BINARY if binary else TEXT, payload)

    async def expect(self, wanted: Any) -> tuple[float, bytes]:
        """Return the first message since the last one sent that fits, and when it came.

        Those before it are taken too.
        """
        assert self._inbox is not None
        while True:
            while self._inbox:
                at, payload = self._inbox.popleft()
                if fits(wanted, payload):
                    return at, payload
            self._news.clear()
            await self._news.wait()

    def close(self) -> None:
        """Say goodbye, and do not wait for an answer."""
        if self._transport is not None and not self._transport.is_closing():
            if self.opened.done():
                self._write(CLOSE, struct.pack("!H", 1000))
            self._transport.close()

    # -- what comes -----------------------------------------------------------------------------

    def _write(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(client_frame(opcode, payload))

    def _fail(self, failure: Failure) -> None:
        if not self.ended.done():
            self.ended.set_result(failure)
        if self._transport is not None:
            self._transport.abort()

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEAD:
                self._fail(Failure("upgrade", 5))
            return False
        head = bytes(self._buffer[:end]).decode("latin-1")
        status = head[9:12]
        if not head.startswith("HTTP/1.1 ") or not status.isdigit():
            self._fail(Failure("upgrade", 0))
        elif status != "101":
            self._fail(Failure("refused", int(status), head.partition("\r\n")[0][13:]))
        elif self._accept.decode() not in head:
            self._fail(Failure("upgrade", 3))
        else:
            del self._buffer[: end + 4]
            self.opened.set_result(None)
            return True
        return False

    def _take(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == PING:
            self._write(PONG, payload)
        elif opcode == CLOSE:
            code, reason = close_of(payload)
            self._fail(Failure("closed", code, f"{code} {reason}" if reason else ""))
        elif opcode in (TEXT, BINARY, CONTINUATION):
            self._message += payload
            if first & 0x80:
                whole, self._message = bytes(self._message), bytearray()
                self._hear(whole)

    def _hear(self, message: bytes) -> None:
        now = time.monotonic()
        self._on_message(message, now)
        if self._inbox is not None:
            self._inbox.append((now, message))
            self._news.set()
