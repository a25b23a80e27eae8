"""Plain clients that count: each message of each epoch once, at its position, or told that it is not coming.

They know nothing of fastws: the bytes of RFC 6455, a position that is sent back, and how many messages came.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import time
from collections import Counter
from typing import Any, cast

__all__ = ["TEXT", "Line", "Publisher", "Reader", "Truth", "masked"]

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
UPGRADE = (
    "GET /{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a frame of a client, of up to 125 bytes (RFC 6455, section 5.2)."""
    key = os.urandom(4)
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + key + body


class Truth:
    """Which message is at which position, as the first client that has it says; all others must agree."""

    def __init__(self) -> None:
        self.epochs: dict[str, dict[int, str]] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self.faults: Counter[str] = Counter()

    def check(self, epoch: str, offset: int, payload: str) -> None:
        messages = self.epochs.setdefault(epoch, {})
        known = messages.get(offset)
        if known is None:
            messages[offset] = payload
            if self._places.setdefault(payload, (epoch, offset)) != (epoch, offset):
                self.faults["a message at two positions"] += 1
        elif known != payload:
            self.faults["a position with two messages"] += 1

    def published(self) -> dict[int, list[int]]:
        """The numbers of each publisher, in the order of their positions."""
        found: dict[int, list[int]] = {}
        for messages in self.epochs.values():
            for offset in sorted(messages):
                publisher, number, *_ = messages[offset].split()
                found.setdefault(int(publisher), []).append(int(number))
        return found


class Line(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._buffer = b""
        self._is_open = False
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is of a class of its own
        self.transport.write(UPGRADE.format(query=self._query).encode())

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        if not self._is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                return
            if not buffer.startswith(b"HTTP/1.1 101 "):
                self.refused(buffer[:end].decode("latin-1"))
                return
            self._is_open = True
            self.opened()
            at = end + 4
        size = len(buffer)
        while size - at >= 2:
            opcode, length, start = buffer[at] & 0x0F, buffer[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                (length,) = struct.unpack_from(">H", buffer, start)
                start += 2
            elif length == 127:
                raise AssertionError("no message of the server is that long")
            if size - start < length:
                break
            at = start + length
            if opcode == TEXT:
                self.text(buffer[start:at].decode())
            else:
                self._control(opcode, buffer[start:at])
        self._buffer = buffer[at:]

    def _control(self, opcode: int, payload: bytes) -> None:
        assert self.transport is not None
        if opcode == PING:
            self.transport.write(masked(PONG, payload))
        elif opcode == CLOSE:
            self.closed(int.from_bytes(payload[:2], "big"))
            self.transport.write(masked(CLOSE, payload[:2]))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended()
        if not self.lost.done():
            self.lost.set_result(None)

    def refused(self, head: str) -> None:
        if self.transport is not None:
            self.transport.close()

    def opened(self) -> None: ...
    def text(self, message: str) -> None: ...
    def closed(self, code: int) -> None: ...
    def ended(self) -> None: ...


class Reader:
    """One client, over all its connections."""

    def __init__(self, port: int, truth: Truth, chance: random.Random) -> None:
        self._port = port
        self._truth = truth
        self._chance = chance
        self.epoch = ""
        self.offset = self.got = 0
        self.messages = self.missed = 0
        #: How often it was told a new beginning, and why; how it was closed and refused.
        self.told: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        #: Seconds from the start of each return until the client knew where it goes on.
        self.returns: list[float] = []
        self.is_connected = False
        self._line: ReaderLine | None = None
        self._is_stopped = False

    @property
    def place(self) -> tuple[str, int]:
        return self.epoch, self.offset + self.got

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_stopped:
            query = f"?since={self.epoch}:{self.offset}&got={self.got}" if self.epoch else ""
            try:
                _, line = await loop.create_connection(
                    lambda query=query: ReaderLine(self, query),
                    "127.0.0.1",
                    self._port,  # type: ignore[misc]
                )
            except OSError:
                await asyncio.sleep(0.02)
                continue
            self._line = line
            await line.lost
            await asyncio.sleep(self._chance.uniform(0.0, 0.05))

    def stop(self) -> None:
        self._is_stopped = True
        if self._line is not None and self._line.transport is not None:
            self._line.transport.abort()

    def sync(self, said: dict[str, Any]) -> None:
        epoch, _, offset = said["at"].rpartition(":")
        at = (epoch, int(offset))
        fault = ""
        if said["resumed"] is False:
            self.told[said["reason"]] += 1
            if said["reason"] == "epoch":
                fault = "told an epoch that it was in" * (epoch == self.epoch)
            else:
                self.missed += said["missed"]
                fault = "told less than it missed" * (at != (self.epoch, self.place[1] + said["missed"]))
        elif self.epoch:
            fault = "resumed elsewhere" * (at != self.place)
        if fault:
            self._truth.faults[fault] += 1
        self.epoch, self.offset, self.got = at[0], at[1], 0

    def gap(self, missed: int | None, reason: str) -> None:
        self.told[reason] += 1
        self.missed += missed or 0
        if reason == "slow":
            self.got += missed or 0

    def message(self, payload: str) -> None:
        self.got += 1
        self.messages += 1
        self._truth.check(self.epoch, self.offset + self.got, payload)


class ReaderLine(Line):
    def __init__(self, reader: Reader, query: str) -> None:
        super().__init__(query)
        self._reader = reader
        self._began = time.perf_counter()
        self._is_return = bool(query)

    def text(self, message: str) -> None:
        if not message.startswith("{"):
            self._reader.message(message)
            return
        said = json.loads(message)
        if "gap" in said:
            self._reader.gap(said["gap"], said["why"])
            return
        self._reader.sync(said)
        if not self._reader.is_connected:
            self._reader.is_connected = True
            if self._is_return:
                self._reader.returns.append(time.perf_counter() - self._began)

    def closed(self, code: int) -> None:
        self._reader.codes[code] += 1

    def refused(self, head: str) -> None:
        self._reader.codes[int(head.split()[1])] += 1
        super().refused(head)

    def ended(self) -> None:
        self._reader.is_connected = False


class Publisher:
    """Sends numbers at a pace, straight to the server; it connects again when it is cut.

    ``query`` is what it asks the server for.
    """

    def __init__(self, port: int, number: int, interval: float, query: str = "?quiet=") -> None:
        self._port = port
        self._query = query
        self.number = number
        self._interval = interval
        self.sent = 0
        #: So many of the last numbers before a line broke may not have arrived.
        self.doubt = 1000
        #: Numbers that were sent over lines that broke in the next moment: they may not have arrived.
        self.doubtful: set[int] = set()
        #: How many had been sent each time when a line broke.
        self.breaks: list[int] = []
        #: What the server has said over the last line.
        self.answers: list[str] = []
        self._is_stopped = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._is_stopped:
            try:
                _, line = await loop.create_connection(
                    lambda: PublisherLine(self._query), "127.0.0.1", self._port
                )
            except OSError:
                await asyncio.sleep(0.02)
                continue
            first = self.sent
            await asyncio.wait([line.ready, line.lost], return_when=asyncio.FIRST_COMPLETED)
            while not self._is_stopped and not line.lost.done():
                assert line.transport is not None
                while due <= loop.time():
                    line.transport.write(masked(TEXT, self.payload().encode()))
                    self.sent += 1
                    due += self._interval
                await asyncio.sleep(self._interval)
            if self._is_stopped:
                self.goodbye(line)
                await asyncio.sleep(0.5)
            if line.transport is not None and not line.lost.done():
                line.transport.write(masked(CLOSE, b"\x03\xe8"))
                await asyncio.wait([line.lost], timeout=5)
                self.answers += line.heard
            else:
                self.breaks.append(self.sent)
                self.doubtful.update(range(max(first, self.sent - self.doubt), self.sent))

    def payload(self) -> str:
        return f"{self.number} {self.sent}"

    def goodbye(self, line: Line) -> None:
        """Say something more, half a second before the end."""

    def stop(self) -> None:
        self._is_stopped = True


class PublisherLine(Line):
    def __init__(self, query: str) -> None:
        super().__init__(query)
        self.heard: list[str] = []
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        self.ready.set_result(None)

    def text(self, message: str) -> None:
        self.heard.append(message)
