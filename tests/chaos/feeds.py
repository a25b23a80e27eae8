"""Plain clients of feeds on several nodes, that count: each message once, or told that it is not coming."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.clients import Line, Truth
from tests.chaos.publishers import NodePublisher

__all__ = ["FeedReader", "HistoryReader", "Outage", "PlainReader", "Segment"]

#: A message of a feed: the position of a topic with a history, publisher, number, and when it was sent.
DATA = re.compile(r'\{"t":"[hp]"(?:,"at":"([^":]+):(\d+)")?(?:,"u":null)?,"d":"(\d+) (\d+) (\d+)"\}')
#: One of so many messages counts for the figures of latency.
SAMPLE = 8
#: So long after an outage a loss in it may be noticed.
LATE_SECONDS = 3.0


@dataclass
class Outage:
    """A time in which the broker was away; seconds of the monotonic clock."""

    what: str
    start: float
    #: By publisher: how many messages it had sent at the start.
    sent: dict[int, int] = field(repr=False)
    end: float = 0.0
    #: When another node's message came that was sent after the end.
    returned: float = 0.0


class FeedReader:
    """One client of one topic at one node, over all its connections."""

    topic = ""

    def __init__(self, port: int, node: int, chance: random.Random, faults: Counter[str]) -> None:
        self._port = port
        self.node = node
        self._chance = chance
        self.faults = faults
        self.is_synced = False
        self.messages = self.missed = 0
        #: How often it was told something, and why; how it was closed and refused.
        self.told: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self._line: FeedLine | None = None
        self._is_stopped = False

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_stopped:
            try:
                _, line = await loop.create_connection(
                    lambda: FeedLine(self, f"feed?topic={self.topic}{self.since()}"), "127.0.0.1", self._port
                )
            except OSError:
                await asyncio.sleep(0.02)
                continue
            self._line = line
            await line.lost
            self.is_synced = False
            if not self._is_stopped:
                self.ended()
            await asyncio.sleep(self._chance.uniform(0.0, 0.05))

    def stop(self) -> None:
        self._is_stopped = True
        if self._line is not None and self._line.transport is not None:
            self._line.transport.abort()

    # -- what each kind does in its way ---------------------------------------------------------

    def since(self) -> str:
        return ""

    def ended(self) -> None:
        """The line has broken."""

    def sync(self, said: dict[str, Any]) -> None:
        raise NotImplementedError

    def gap(self, missed: int | None, reason: str) -> None:
        raise NotImplementedError

    def data(self, epoch: str, offset: str, publisher: int, number: int, sent: int) -> None:
        raise NotImplementedError


class FeedLine(Line):
    def __init__(self, reader: FeedReader, query: str) -> None:
        super().__init__(query)
        self._reader = reader

    def text(self, message: str) -> None:
        found = DATA.fullmatch(message)
        if found is not None:
            epoch, offset, publisher, number, sent = found.groups()
            self._reader.messages += 1
            self._reader.data(epoch, offset, int(publisher), int(number), int(sent))
            return
        said = json.loads(message)
        if "sync" in said:
            self._reader.is_synced = True
            self._reader.sync(said["sync"])
        elif "gap" in said:
            gap = said["gap"]
            self._reader.told[gap["reason"]] += 1
            self._reader.gap(gap["missed"], gap["reason"])
        elif not {"hello", "live"} & set(said) and said:
            self._reader.faults[f"a client was told {message[:100]}"] += 1

    def closed(self, code: int) -> None:
        self._reader.codes[code] += 1

    def refused(self, head: str) -> None:
        self._reader.codes[int(head.split()[1])] += 1
        super().refused(head)


class HistoryReader(FeedReader):
    """A client that comes back with its position."""

    topic = "h"

    def __init__(
        self, port: int, node: int, chance: random.Random, faults: Counter[str], truth: Truth
    ) -> None:
        super().__init__(port, node, chance, faults)
        self._truth = truth
        self.epoch = ""
        self.offset = 0

    @property
    def place(self) -> tuple[str, int]:
        return self.epoch, self.offset

    def since(self) -> str:
        return f"&since={self.epoch}:{self.offset}" if self.epoch else ""

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
                fault = "told less than it missed" * (at != (self.epoch, self.offset + said["missed"]))
        elif self.epoch:
            fault = "resumed elsewhere" * (at != self.place)
        if fault:
            self.faults[fault] += 1
        self.epoch, self.offset = at

    def gap(self, missed: int | None, reason: str) -> None:
        self.missed += missed or 0
        if reason == "slow":
            self.offset += missed or 0

    def data(self, epoch: str, offset: str, publisher: int, number: int, sent: int) -> None:
        self.offset += 1
        if (epoch, int(offset)) != self.place:
            self.faults["a hole or a double in the positions"] += 1
            self.epoch, self.offset = epoch, int(offset)
        self._truth.check(epoch, self.offset, f"{publisher} {number}")


@dataclass
class Segment:
    """What a client of a plain topic heard over one connection."""

    #: By publisher: how many it had sent when this began; and when the line broke, empty while it has not.
    began: dict[int, int]
    ended: dict[int, int] = field(default_factory=dict)
    #: The first number and the last one, and those between them that were left out.
    first: dict[int, int] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    missing: dict[int, set[int]] = field(default_factory=dict)
    #: How many it was told not to come, in all and before the last one that came.
    reported: int = 0
    settled: int = 0

    def unseen(self, published: dict[int, set[int]]) -> int:
        """How many it may have been told of, and could not miss: before the first, and behind the last."""
        count = 0
        for number, numbers in published.items():
            began = self.began[number]
            end = self.ended.get(number, began)
            if number not in self.first:
                count += len(numbers.intersection(range(began, end)))
                continue
            count += len(numbers.intersection(range(began, self.first[number])))
            count += len(numbers.intersection(range(self.last[number] + 1, end)))
        return count


class PlainReader(FeedReader):
    """A client that knows by the numbers in the messages what it has missed."""

    topic = "p"

    def __init__(
        self,
        port: int,
        node: int,
        chance: random.Random,
        faults: Counter[str],
        publishers: dict[int, NodePublisher],
        outages: list[Outage],
        heard: dict[int, set[int]],
    ) -> None:
        super().__init__(port, node, chance, faults)
        #: By publisher: what any client has heard.
        self._heard = heard
        self._publishers = publishers
        self._outages = outages
        self.segments: list[Segment] = []
        #: Of messages of its own node: when they were sent, in seconds, and how long they took.
        self.latencies: list[tuple[float, float]] = []

    def sync(self, said: dict[str, Any]) -> None:
        # Who comes in an outage may be told of what was lost in it before.
        last = self._outages[-1] if self._outages else None
        is_late = last is not None and (not last.end or time.monotonic() < last.end + LATE_SECONDS)
        sent = {number: each.sent for number, each in self._publishers.items()}
        self.segments.append(Segment(last.sent if last is not None and is_late else sent))

    def ended(self) -> None:
        if self.segments and not self.segments[-1].ended:
            self.segments[-1].ended = {number: each.sent for number, each in self._publishers.items()}

    def gap(self, missed: int | None, reason: str) -> None:
        self.segments[-1].reported += missed or 0
        self.missed += missed or 0

    def data(self, epoch: str, offset: str, publisher: int, number: int, sent: int) -> None:
        segment = self.segments[-1]
        segment.settled = segment.reported
        self._heard[publisher].add(number)
        last = segment.last.get(publisher, number - 1)
        segment.first.setdefault(publisher, number)
        segment.last[publisher] = number
        if number <= last:
            self.faults["a double, or out of order"] += 1
        elif number > last + 1:
            segment.missing.setdefault(publisher, set()).update(range(last + 1, number))
        if self._publishers[publisher].node == self.node:
            if number % SAMPLE == 0:
                now = time.monotonic_ns()
                self.latencies.append((sent / 1e9, (now - sent) / 1e9))
        elif self._outages and not self._outages[-1].returned:
            outage = self._outages[-1]
            if outage.end and sent / 1e9 > outage.end:
                outage.returned = time.monotonic()
