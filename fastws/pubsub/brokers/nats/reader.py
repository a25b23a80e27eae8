"""What a stream keeps, read by a consumer of its own: messages come until there are no more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fastws.pubsub.brokers.nats.client import Message
from fastws.pubsub.brokers.nats.failures import LineLost, NoAnswer
from fastws.pubsub.brokers.nats.line import ANSWER_SECONDS, Line

__all__ = ["EXPECTED", "Raw", "Reader", "seconds_of"]

NANOSECONDS = 1_000_000_000
CONTROL = "100"
#: The header with the number that the last message of a subject has to have.
EXPECTED = "Nats-Expected-Last-Subject-Sequence"


class Raw(NamedTuple):
    """A message of a stream."""

    sequence: int
    subject: str
    data: bytes
    #: The number of the message that its sender believed to be the last one of its subject; -1: it did not
    #: say.
    behind: int = -1
    #: Seconds since it was taken, by the server's clock, as far as that was asked.
    age: float = 0.0
    #: Seconds since 1970, by that clock, when it was taken, of one that was asked for alone.
    time: float = 0.0


class Reader:
    """Takes the messages of one consumer, until it has no more."""

    def __init__(self, line: Line, subject: str) -> None:
        self._line = line
        self._subject = subject
        self._found: list[tuple[Message, int, int]] = []
        self._is_complete = False
        #: The server's time, in seconds since 1970, when it was asked.
        self.now = 0.0
        self._news = asyncio.Event()
        self._replies: set[asyncio.Task[None]] = set()

    def begin(self, said: Mapping[str, Any]) -> None:
        """Take what the server says of the consumer."""
        self.now = seconds_of(said["created"])
        if not said["num_pending"] and not said["delivered"]["consumer_seq"]:
            self._is_complete = True
        self._news.set()

    def take(self, message: Message) -> None:
        """Take one message."""
        headers = message.headers
        if headers.get("Status") == CONTROL:
            stalled = headers.get("Nats-Consumer-Stalled")
            for reply in filter(None, (message.reply, stalled)):
                self._reply(reply)
            if self.now and headers.get("Description") == "Idle Heartbeat" and not stalled:
                # The last of them was deleted meanwhile, as the oldest is when there are too many.
                self._is_complete = True
                self._news.set()
            return
        # $JS.ACK. … .STREAM-SEQUENCE.CONSUMER-SEQUENCE.TIME.PENDING, and more behind them in later versions.
        parts = message.reply.split(".")
        at = 5 if len(parts) == 9 else 7
        self._found.append((message, int(parts[at]), int(parts[at + 2])))
        if parts[at + 3] == "0":
            self._is_complete = True
        self._news.set()

    def _reply(self, subject: str) -> None:
        """Let the server send more."""
        if self._line.post(subject, b""):
            return
        task = asyncio.get_running_loop().create_task(self._line.send(subject, b""))
        self._replies.add(task)
        task.add_done_callback(self._replied)

    def _replied(self, task: asyncio.Task[None]) -> None:
        self._replies.discard(task)
        if not task.cancelled():
            task.exception()  # the line has ended, and who waits is told

    async def wait(self) -> list[Raw]:
        """Return all of them. Raises :class:`LineLost` and :class:`NoAnswer`."""
        while not (self._is_complete and self.now):
            self._news.clear()
            news = asyncio.ensure_future(self._news.wait())
            done, _ = await asyncio.wait(
                (news, self._line.lost), timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            news.cancel()
            if self._line.lost.done():
                raise LineLost(f"{self._line.label}: {self._line.lost.result()}")
            if not done:
                raise NoAnswer(f"{self._line.label}: a stream has stopped in the middle of its messages")
        return [
            Raw(
                sequence,
                message.subject.removeprefix(self._subject + "."),
                message.data,
                int(message.headers.get(EXPECTED, -1)),
                max(self.now - time / NANOSECONDS, 0.0),
            )
            for message, sequence, time in self._found
        ]


def seconds_of(text: str) -> float:
    """Return the seconds since 1970 of a time as Go writes it."""
    whole, _, part = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{part or 0}")
