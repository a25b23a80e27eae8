"""Who publishes to nodes, so that no number is left out of the account."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from tests.chaos.clients import TEXT, Line, Publisher, masked

__all__ = ["NodePublisher", "OncePublisher"]


class NodePublisher(Publisher):
    """Publishes to a plain topic at one node, with the time."""

    def __init__(self, port: int, number: int, interval: float, topic: str, node: int) -> None:
        super().__init__(port, number, interval, topic)
        self.topic = topic
        self.node = node

    def payload(self) -> str:
        return f"{self.number} {self.sent} {time.monotonic_ns()}"

    def goodbye(self, line: Line) -> None:
        if line.transport is not None:
            line.transport.write(masked(TEXT, b"?"))  # how long did it take?

    def lost(self, heard: set[int]) -> set[int]:
        """The numbers that nobody has heard, but for those that died with their worker.

        Its last numbers, before the line to it broke, it may not have read, or not handed on.
        """
        unheard = set(range(self.sent)) - heard
        for last in self.breaks:
            while (last := last - 1) in unheard:
                unheard.discard(last)
        return unheard


class OncePublisher:
    """Publishes to a topic with a history by the feed: each number until it is acknowledged.

    The line may break and the answer may be lost: the same number is sent again with the same id, to
    whatever worker there is. So each number has one position, however often it was sent.
    """

    def __init__(self, port: int, number: int, interval: float, topic: str, node: int) -> None:
        self.port = port
        self._interval = interval
        self.number = number
        self.topic = topic
        self.node = node
        #: How many have a position; and how many were sent, which is at most one more.
        self.acknowledged = 0
        self.sent = 0
        #: How many had one already when they were sent again; and how often each error was said.
        self.repeated = 0
        #: The last position that it was told; and answers to something else.
        self.last = ("", 0)
        self.strange: list[str] = []
        self._line: OnceLine | None = None
        self._is_stopped = False

    def stop(self) -> None:
        self._is_stopped = True

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._is_stopped:
            await asyncio.sleep(max(due - loop.time(), 0))
            due += self._interval
            payload = f"{self.number} {self.sent} {time.monotonic_ns()}"
            said = {"pub": self.topic, "d": payload, "once": f"{self.number}-{self.sent}", "id": self.sent}
            self.sent += 1
            while not await self._publish(json.dumps(said).encode(), self.sent - 1):
                pass
            self.acknowledged += 1
        if self._line is not None and self._line.transport is not None:
            self._line.transport.abort()

    async def _publish(self, command: bytes, number: int) -> bool:
        """Send it once; True where it has a position."""
        line = self._line
        if line is None or line.lost.done():
            try:
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: OnceLine("feed"), "127.0.0.1", self.port
                )
            except OSError:
                await asyncio.sleep(0.02)
                return False
            self._line = line
            await asyncio.wait([line.ready, line.lost], return_when=asyncio.FIRST_COMPLETED)
        if line.lost.done() or line.transport is None:
            await asyncio.sleep(0.02)
            return False
        line.transport.write(masked_long(command))
        answer = asyncio.ensure_future(line.answers.get())
        await asyncio.wait([answer, line.lost], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            return False
        said = answer.result()
        if said["id"] != number:
            self.strange.append(f"{said} is no answer to {number}")
        if "ack" in said:
            epoch, _, offset = said["ack"]["at"].rpartition(":")
            self.last = epoch, int(offset)
            self.repeated += bool(said["ack"].get("dup"))
            return True
        await asyncio.sleep((said["error"].get("retry_ms") or 20) / 1000)
        return False


class OnceLine(Line):
    def __init__(self, query: str) -> None:
        super().__init__(query)
        self.answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self) -> None:
        self.ready.set_result(None)

    def text(self, message: str) -> None:
        said = json.loads(message)
        if "id" in said:
            self.answers.put_nowait(said)


def masked_long(payload: bytes) -> bytes:
    """Return a text frame of a client, of up to 65,535 bytes (RFC 6455, section 5.2)."""
    if len(payload) < 126:
        return masked(TEXT, payload)
    key = b"\x11\x22\x33\x44"
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 | TEXT, 0x80 | 126]) + len(payload).to_bytes(2, "big") + key + body
