"""A client of a keyed topic, for crowds. Each checks all that it is sent; what many are sent is read once.

Clients that have been sent the same hold one object, a :class:`State`. It remembers what followed it, so that
a message is read and compared once for all of them: to decode JSON for each would cost the generator several
times more than the server.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple, cast

import orjson

from fastws.loadgen.feed_client import FeedClient

__all__ = ["END", "EMPTY", "KeyedClient", "State"]

#: A key that is written last by a server that changes the keys itself: how many values there were, and when
#: the first one was due.
END = "end"
#: A state remembers so many messages that followed it: some clients were sent others than most.
FOLLOWING = 4


class Change(NamedTuple):
    """What one message did."""

    state: State
    values: int
    #: Values that were older than what was held.
    wrong: int
    #: When the oldest and the newest value were due; None in a snapshot, and where there is none.
    oldest: float | None
    newest: float | None


class State:
    """What a client holds: of each key a number that grows, and when it was due. It never changes."""

    __slots__ = ("_following", "held")

    def __init__(self, held: dict[str, list[float]]) -> None:
        self.held = held
        self._following: dict[bytes, Change] = {}

    def after(self, payload: bytes) -> Change:
        """Return what a message makes of it."""
        change = self._following.get(payload)
        if change is None:
            if len(self._following) == FOLLOWING:
                del self._following[next(iter(self._following))]
            change = self._following[payload] = self._read(payload)
        return change

    def _read(self, payload: bytes) -> Change:
        said = orjson.loads(payload)
        held = {} if "clear" in said else dict(self.held)
        for key in said.get("rm", ()):
            held.pop(key, None)
        values: dict[str, list[float]] = said.get("set") or said.get("snap") or {}
        wrong = sum(value[0] < held.get(key, value)[0] for key, value in values.items())
        dues = [] if "snap" in said else [due for key, (_, due) in values.items() if key != END]
        first, last = (min(dues), max(dues)) if dues else (None, None)
        return Change(State(held | values), len(values), wrong, first, last)


EMPTY = State({})


class KeyedClient(FeedClient):
    """Holds what the topic holds. ``slow_rate``: bytes a second that it reads; 0: all that comes."""

    slow_rate = 0.0

    def __init__(self, host: str, path: str) -> None:
        super().__init__(host, path)
        self.state = EMPTY
        self.values = 0
        #: Time at which it reads again after a stall; None: it does not stall, or has seen a new value since.
        self.reads_at: float | None = None
        self.fresh_after: float | None = None

    def stall(self) -> None:
        cast("asyncio.Transport", self._transport).pause_reading()

    def read_again(self) -> None:
        self.reads_at = time.monotonic()
        cast("asyncio.Transport", self._transport).resume_reading()

    def forget(self) -> None:
        """What an earlier run has left says nothing of this one."""
        self.state = EMPTY
        self.values = self.messages = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.slow_rate and self.live_at is not None and self.failure is None:
            transport = cast("asyncio.Transport", self._transport)
            transport.pause_reading()
            asyncio.get_running_loop().call_later(len(data) / self.slow_rate, self._read_on)

    def _read_on(self) -> None:
        if self.failure is None:
            cast("asyncio.Transport", self._transport).resume_reading()

    def _take(self, opcode: int, payload: bytes) -> None:
        if b'"set":' in payload or b'"snap":' in payload or b'"rm":' in payload or b'"clear":' in payload:
            self._change(payload)
        else:
            super()._take(opcode, payload)

    def _change(self, payload: bytes) -> None:
        change = self.state.after(payload)
        self.state = change.state
        self.messages += 1
        self.values += change.values
        self.wrong += change.wrong
        if change.oldest is None or change.newest is None or self.live_at is None:
            return
        now = time.monotonic()
        if self.reads_at is None:
            self.latencies.append(now - change.oldest)
        elif change.newest >= self.reads_at:
            self.fresh_after, self.reads_at = now - self.reads_at, None
