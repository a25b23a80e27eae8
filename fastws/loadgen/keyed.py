"""A keyed topic under load: how old values are where they arrive, and whether all end with the same ones.

Some clients may stop reading for a while. What they are sent then is a matter of the server; in the end they
must hold what everybody holds, and never have gone back to an older value.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import orjson

from fastws.loadgen.feed_client import Door, FeedClient, command, failures, percentiles
from fastws.loadgen.fleet import raise_descriptor_limit
from fastws.loadgen.machine import made_by
from fastws.loadgen.plan import Plan, PlanError, Scenario
from fastws.loadgen.procstat import ServerProbe
from fastws.loadgen.storm import MAX_RATE, shown
from fastws.loadgen.target import Target, resolve
from fastws.loop.event_loops import loop_factory

__all__ = ["Keyed", "KeyedResult", "run_keyed"]

#: Seconds from one look at what is due to the next.
TICK = 0.005
#: Changes have arrived when all clients have the last one; they may take so long.
SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """What to measure.

    Raises:
        PlanError: A value is out of range.
    """

    url: str
    topic: str = "bench"
    clients: int = 100
    #: How many of them stop reading, for ``stall`` seconds.
    stalled: int = 0
    stall: float = 2.0
    keys: int = 500
    #: Changes a second; each key in its turn. Every 45 need a connection that publishes.
    rate: float = 1000.0
    #: Seconds in which values change.
    duration: float = 5.0
    insecure: bool = False
    pid: int | None = None

    def __post_init__(self) -> None:
        if self.clients < 1 or self.keys < 1 or self.rate <= 0 or self.duration <= 0:
            raise PlanError("clients and keys must be at least 1, rate and duration above 0")
        if not 0 <= self.stalled <= self.clients or not 0 < self.stall < self.duration:
            raise PlanError("as many clients can stall as there are, for a part of the duration")

    @property
    def publishers(self) -> int:
        """How many connections publish."""
        return int(-(-self.rate // MAX_RATE))


@dataclass(slots=True)
class KeyedResult:
    """What became of it. Percentiles are in milliseconds."""

    plan: Keyed
    #: Values that were published, and values and messages that arrived, a second.
    published: float = 0.0
    values: float = 0.0
    messages: float = 0.0
    #: How old the oldest value of each message was when it came, at clients that did not stall.
    staleness: dict[str, float] = field(default_factory=dict)
    #: From when those who stalled read again until they had a value that was published since.
    fresh: dict[str, float] = field(default_factory=dict)
    #: Clients that held the last value of each key in the end.
    exact: int = 0
    #: Values that came after newer ones.
    wrong: int = 0
    cpu: float | None = None
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether all clients ended with the same values, and none went back."""
        return self.exact == self.plan.clients and not self.wrong and not self.errors

    def to_json(self) -> dict[str, Any]:
        return {"scenario": "keyed", "ok": self.ok, "made_by": made_by(), **asdict(self)}

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield (label, figure) of each row of the table."""
        yield "published", f"{self.published:,.0f} values/s of {self.plan.keys:,} keys"
        yield "arrived", f"{self.values:,.0f} values/s in {self.messages:,.0f} messages/s"
        yield "staleness", shown(self.staleness)
        if self.plan.stalled:
            yield "fresh again after", shown(self.fresh)
        yield "final state", f"exact at {self.exact:,} of {self.plan.clients:,} clients"
        yield "wrong values", f"{self.wrong:,} came after newer ones"
        if self.cpu is not None:
            yield "server CPU", f"{self.cpu:.2f} s, {self.cpu / self.plan.duration:.2f} cores"
        for text, count in self.errors.items():
            yield "error", f"{text}: {count:,}"


class KeyedClient(FeedClient):
    """Holds what the topic holds: of each key a number that grows, and when it was due."""

    def __init__(self, host: str, path: str) -> None:
        super().__init__(host, path)
        self.held: dict[str, list[float]] = {}
        self.values = 0
        #: Time at which it reads again after a stall; None: it does not stall, or has seen a new value since.
        self.reads_at: float | None = None
        self.fresh_after: float | None = None

    def stall(self) -> None:
        cast("asyncio.Transport", self._transport).pause_reading()

    def read_again(self) -> None:
        self.reads_at = time.monotonic()
        cast("asyncio.Transport", self._transport).resume_reading()

    def _take(self, opcode: int, payload: bytes) -> None:
        if b'"set":' in payload or b'"snap":' in payload or b'"rm":' in payload or b'"clear":' in payload:
            self._change(orjson.loads(payload))
        else:
            super()._take(opcode, payload)

    def _change(self, said: dict[str, Any]) -> None:
        self.messages += 1
        if "clear" in said:
            self.held.clear()
        for key in said.get("rm", ()):
            self.held.pop(key, None)
        values: dict[str, list[float]] = said.get("set") or said.get("snap") or {}
        for key, value in values.items():
            self.wrong += value[0] < self.held.get(key, value)[0]
        self.held |= values
        self.values += len(values)
        if not values or self.live_at is None or "snap" in said:
            return
        now = time.monotonic()
        dues = [due for _, due in values.values()]
        if self.reads_at is None:
            self.latencies.append(now - min(dues))
        elif max(dues) >= self.reads_at:
            self.fresh_after, self.reads_at = now - self.reads_at, None


def run_keyed(plan: Keyed) -> KeyedResult:
    """Measure one run. Blocks until it is over.

    Raises:
        LoadgenError: There is nothing to report: no feed is there, or it refuses.
        PlanError: The URL is no WebSocket URL.
    """
    raise_descriptor_limit(Plan(url=plan.url, scenario=Scenario.IDLE, clients=plan.clients + plan.publishers))
    run = _Keyed(plan, resolve(plan.url))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run.result())


class _Keyed:
    def __init__(self, plan: Keyed, target: Target) -> None:
        self._plan = plan
        self._door = Door(target, plan.topic, insecure=plan.insecure)
        self._silent_door = Door(target, "", insecure=plan.insecure)
        self._probe = ServerProbe(plan.pid) if plan.pid is not None else None
        self._clients: list[KeyedClient] = []
        self._publishers: list[FeedClient] = []
        #: What each key must hold in the end.
        self._last: dict[str, list[float]] = {}

    async def result(self) -> KeyedResult:
        plan, result = self._plan, KeyedResult(self._plan)
        try:
            await self._open()
            cpu = self._probe().cpu if self._probe is not None else 0.0
            stalling = asyncio.create_task(self._stall())
            count = await self._publish()
            result.published = count / plan.duration
            result.values, result.messages = (
                sum(getattr(client, name) for client in self._clients) / plan.duration
                for name in ("values", "messages")
            )
            await stalling
            await self._settle()
            if self._probe is not None:
                result.cpu = self._probe().cpu - cpu
            steady = self._clients[plan.stalled :]
            result.staleness = percentiles([each for client in steady for each in client.latencies])
            back = [client.fresh_after for client in self._clients if client.fresh_after is not None]
            result.fresh = percentiles(back)
            result.exact = sum(map(self._is_exact, self._clients))
            result.wrong = sum(client.wrong for client in self._clients)
            result.errors = failures([*self._clients, *self._publishers])
            return result
        finally:
            for client in [*self._clients, *self._publishers]:
                client.close()

    async def _open(self) -> None:
        live: asyncio.Queue[FeedClient] = asyncio.Queue()
        plan = self._plan
        self._clients = [self._door.client(KeyedClient, "", live.put_nowait) for _ in range(plan.clients)]
        self._publishers = [
            self._silent_door.client(FeedClient, "", live.put_nowait) for _ in range(plan.publishers)
        ]
        await self._door.open([*self._clients, *self._publishers], live, len(self._clients))
        for client in self._clients:
            # What an earlier run has left says nothing of this one.
            client.held.clear()
            client.values = client.messages = 0

    async def _publish(self) -> int:
        """Publish until the time is over; return how many values."""
        plan, begin, number = self._plan, time.monotonic(), 0
        while (passed := time.monotonic() - begin) < plan.duration:
            while number < passed * plan.rate:
                key, due = f"key {number % plan.keys}", begin + number / plan.rate
                self._last[key] = [number, due]
                frame = command(pub=plan.topic, k=key, d=[number, due])
                self._publishers[number % plan.publishers].say(frame)
                number += 1
            await asyncio.sleep(TICK)
        return number

    async def _stall(self) -> None:
        stalled = self._clients[: self._plan.stalled]
        await asyncio.sleep((self._plan.duration - self._plan.stall) / 2)
        for client in stalled:
            client.stall()
        await asyncio.sleep(self._plan.stall)
        for client in stalled:
            client.read_again()

    async def _settle(self) -> None:
        """Wait until all clients hold the last values, or too long."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end and not all(map(self._is_exact, self._clients)):
            if failures([*self._clients, *self._publishers]):
                return
            await asyncio.sleep(TICK)

    def _is_exact(self, client: KeyedClient) -> bool:
        return all(client.held.get(key) == value for key, value in self._last.items())
