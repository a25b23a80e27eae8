"""A keyed topic under load: how old values are where they arrive, and whether all end with the same ones.

Some clients may stop reading for a while. What they are sent then is a matter of the server; in the end they
must hold what everybody holds, and never have gone back to an older value.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from fastws.loadgen.feed_client import Door, FeedClient, command, failures, percentiles
from fastws.loadgen.fleet import raise_descriptor_limit
from fastws.loadgen.keyed_client import END, KeyedClient, State
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
#: A generator that takes more of its core has been slower than the server.
SATURATED = 0.9
#: A slow client's receive buffer: a larger one would be filled as fast as any.
SLOW_BUFFER = 8192


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
    #: How many others read ``slow_rate`` bytes a second.
    slow: int = 0
    slow_rate: float = 20_000.0
    keys: int = 500
    #: Changes a second; each key in its turn. Every 45 need a connection that publishes.
    rate: float = 1000.0
    #: A topic whose one message tells the server to change the keys itself; None: they are published.
    moved_by: str | None = None
    #: Seconds in which values change.
    duration: float = 5.0
    insecure: bool = False
    pid: int | None = None

    def __post_init__(self) -> None:
        if self.clients < 1 or self.keys < 1 or self.rate <= 0 or self.duration <= 0:
            raise PlanError("clients and keys must be at least 1, rate and duration above 0")
        if not 0 <= self.stalled <= self.clients or not 0 < self.stall < self.duration:
            raise PlanError("as many clients can stall as there are, for a part of the duration")
        if not 0 <= self.slow < max(1, self.clients - self.stalled) or self.slow_rate <= 0:
            raise PlanError("of the clients that do not stall one must keep up, and slow ones read something")

    @property
    def publishers(self) -> int:
        """How many connections publish."""
        return 1 if self.moved_by is not None else int(-(-self.rate // MAX_RATE))

    @property
    def late(self) -> int:
        """How many clients do not keep up."""
        return self.stalled + self.slow


@dataclass(slots=True)
class KeyedResult:
    """What became of it. Percentiles are in milliseconds."""

    plan: Keyed
    #: Values that were published, and values and messages that arrived, a second.
    published: float = 0.0
    values: float = 0.0
    messages: float = 0.0
    #: Messages that came to the clients that keep up, in all.
    kept_up: int = 0
    #: How old the oldest value of each message was when it came, at clients that keep up.
    staleness: dict[str, float] = field(default_factory=dict)
    #: From when those who stalled read again until they had a value that was published since.
    fresh: dict[str, float] = field(default_factory=dict)
    #: Clients that held the last value of each key in the end.
    exact: int = 0
    #: Values that came after newer ones.
    wrong: int = 0
    cpu: float | None = None
    #: The part of a core that the generator took; with more than 0.9 its figures are its own.
    generator: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether all clients ended with the same values, and none went back."""
        return self.exact == self.plan.clients and not self.wrong and not self.errors

    @property
    def saturated(self) -> bool:
        """Whether the generator was slower than the server."""
        return self.generator > SATURATED

    def to_json(self) -> dict[str, Any]:
        judged = {"scenario": "keyed", "ok": self.ok, "saturated": self.saturated}
        return {**judged, "made_by": made_by(), **asdict(self)}

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
            each = 1e6 * self.cpu / self.kept_up if self.kept_up else 0.0
            yield "server CPU", f"{self.cpu:.2f} s, {each:.1f} µs a message of those that keep up"
        yield "generator", f"{self.generator:.2f} cores" + (", saturated" if self.saturated else "")
        for text, count in self.errors.items():
            yield "error", f"{text}: {count:,}"


def run_keyed(plan: Keyed) -> KeyedResult:
    """Measure one run. Blocks until it is over.

    Raises:
        LoadgenError: There is nothing to report: no feed is there, or it refuses.
        PlanError: The URL is no WebSocket URL.
    """
    raise_descriptor_limit(Plan(url=plan.url, scenario=Scenario.IDLE, clients=plan.clients + plan.publishers))
    run = _Keyed(plan, resolve(plan.url))
    with _no_collections(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run.result())


@contextmanager
def _no_collections() -> Iterator[None]:
    """Let Python look for no circles of objects meanwhile, of which there are few.

    One such look at what a thousand clients hold takes up to 60 ms, in which nobody reads: it would be the
    oldest hundredth of all values.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Keyed:
    def __init__(self, plan: Keyed, target: Target) -> None:
        self._plan = plan
        self._door = Door(target, plan.topic, insecure=plan.insecure)
        self._silent_door = Door(target, "", insecure=plan.insecure)
        self._probe = ServerProbe(plan.pid) if plan.pid is not None else None
        self._clients: list[KeyedClient] = []
        self._publishers: list[FeedClient] = []
        #: How many values there were, and what each key must hold in the end.
        self._count = 0
        self._last: dict[str, list[float]] = {}

    async def result(self) -> KeyedResult:
        plan, result = self._plan, KeyedResult(self._plan)
        try:
            await self._open()
            cpu = self._probe().cpu if self._probe is not None else 0.0
            own, begin = time.process_time(), time.monotonic()
            stalling = asyncio.create_task(self._stall())
            await (self._publish() if plan.moved_by is None else self._have_moved(plan.moved_by))
            result.values, result.messages = (
                sum(getattr(client, name) for client in self._clients) / plan.duration
                for name in ("values", "messages")
            )
            result.generator = (time.process_time() - own) / (time.monotonic() - begin)
            await stalling
            await self._settle()
            if self._probe is not None:
                result.cpu = self._probe().cpu - cpu
            result.published = self._count / plan.duration
            steady = self._clients[plan.late :]
            result.kept_up = sum(client.messages for client in steady)
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
        for client in self._clients[plan.stalled : plan.late]:
            client.slow_rate, client.receive_buffer = plan.slow_rate, SLOW_BUFFER
        self._publishers = [
            self._silent_door.client(FeedClient, "", live.put_nowait) for _ in range(plan.publishers)
        ]
        await self._door.open([*self._clients, *self._publishers], live, len(self._clients))
        for client in self._clients:
            client.forget()

    async def _publish(self) -> None:
        """Publish until the time is over."""
        plan, begin, number = self._plan, time.monotonic(), 0
        while (passed := time.monotonic() - begin) < plan.duration:
            while number < passed * plan.rate:
                key, due = f"key {number % plan.keys}", begin + number / plan.rate
                self._last[key] = [number, due]
                frame = command(pub=plan.topic, k=key, d=[number, due])
                self._publishers[number % plan.publishers].say(frame)
                number += 1
            await asyncio.sleep(TICK)
        self._count = number

    async def _have_moved(self, topic: str) -> None:
        """Have the server change the keys until the time is over."""
        plan = self._plan
        order = {"topic": plan.topic, "keys": plan.keys, "rate": plan.rate, "seconds": plan.duration}
        self._publishers[0].say(command(pub=topic, d=order))
        await asyncio.sleep(plan.duration)

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
        while time.monotonic() < end and not self._have_all():
            if failures([*self._clients, *self._publishers]):
                return
            await asyncio.sleep(TICK)

    def _have_all(self) -> bool:
        """Whether all hold the last values; those that have been sent the same hold one state."""
        states = {client.state for client in self._clients}
        if self._plan.moved_by is not None and not self._last:
            self._work_out(states)
        return bool(self._last) and all(map(self._is_last, states))

    def _work_out(self, states: set[State]) -> None:
        """What each key must hold, as soon as somebody knows how many values there were."""
        plan = self._plan
        for state in states:
            if END in state.held:
                number, begin = state.held[END]
                self._count = int(number)
                self._last = {
                    f"key {each % plan.keys}": [each, begin + each / plan.rate]
                    for each in range(max(0, self._count - plan.keys), self._count)
                }
                self._last[END] = [number, begin]

    def _is_last(self, state: State) -> bool:
        return all(state.held.get(key) == value for key, value in self._last.items())

    def _is_exact(self, client: KeyedClient) -> bool:
        return bool(self._last) and self._is_last(client.state)
