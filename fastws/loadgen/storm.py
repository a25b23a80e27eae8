"""The storm after a cut: many clients of a feed that come back at once, beside those that stayed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from fastws.loadgen.feed_client import PATIENCE, Door, FeedClient, failures, percentiles
from fastws.loadgen.fleet import raise_descriptor_limit
from fastws.loadgen.machine import made_by
from fastws.loadgen.plan import Plan, PlanError, Scenario
from fastws.loadgen.procstat import ServerProbe
from fastws.loadgen.report import milliseconds
from fastws.loadgen.stayers import Crowd, Stayers, stayers
from fastws.loadgen.target import Target, resolve
from fastws.loop.event_loops import loop_factory

__all__ = ["Storm", "StormResult", "run_storm"]

#: A feed takes 50 commands a second from one client.
MAX_RATE = 45.0
#: Those who stay are measured for so many seconds at least.
LEAST_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What to measure.

    Raises:
        PlanError: A value is out of range.
    """

    url: str
    topic: str = "bench"
    #: How many come back.
    clients: int = 1000
    #: How many have stayed, and hear what is published meanwhile.
    stayers: int = 100
    #: Messages that those who come back have missed.
    missed: int = 20
    #: Messages a second, before and meanwhile.
    rate: float = 20.0
    size: int = 64
    #: Seconds over which they begin to come. 0: all at once.
    spread: float = 0.0
    #: Seconds before the storm in which those who stay are measured too.
    calm: float = 2.0
    insecure: bool = False
    #: The process of the server, whose CPU is measured.
    pid: int | None = None

    def __post_init__(self) -> None:
        if min(self.clients, self.stayers, self.missed) < 1 or self.spread < 0 or self.calm <= 0:
            raise PlanError("a storm needs clients, some that stay, and messages that were missed")
        if not 0 < self.rate <= MAX_RATE:
            raise PlanError(f"a feed takes 50 commands a second from a client: rate is at most {MAX_RATE:g}")

    @property
    def crowd(self) -> Crowd:
        """Those who stay."""
        return Crowd(
            topic=self.topic,
            clients=self.stayers,
            missed=self.missed,
            rate=self.rate,
            size=self.size,
            calm=self.calm,
            insecure=self.insecure,
        )


@dataclass(slots=True)
class StormResult:
    """What became of it. Times are in seconds, percentiles in milliseconds."""

    storm: Storm
    #: Clients that were live again, and those of them that went on where they were.
    returned: int = 0
    resumed: int = 0
    #: Until the last of them was live, since the first began.
    seconds: float = 0.0
    #: From the beginning of each connection until it was live.
    live: dict[str, float] = field(default_factory=dict)
    #: Messages that came twice or were missing, without a word of the server.
    wrong: int = 0
    #: The latency of those who stayed.
    before: dict[str, float] = field(default_factory=dict)
    meanwhile: dict[str, float] = field(default_factory=dict)
    #: Seconds of CPU time that the server needed meanwhile; None without a pid.
    cpu: float | None = None
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether each client was back, where it was, with each message once."""
        return self.resumed == self.storm.clients and not self.wrong and not self.errors

    def to_json(self) -> dict[str, Any]:
        return {"scenario": "resume", "ok": self.ok, "made_by": made_by(), **asdict(self)}

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield (label, figure) of each row of the table."""
        yield "returned", f"{self.returned:,} of {self.storm.clients:,} clients in {self.seconds:.2f} s"
        yield "resumed", f"{self.resumed:,}, {self.storm.missed:,} missed messages each"
        yield "live after", shown(self.live)
        yield "who stayed, before", shown(self.before)
        yield "who stayed, meanwhile", shown(self.meanwhile)
        yield "wrong messages", f"{self.wrong:,} were missing or came twice, and nobody said so"
        if self.cpu is not None:
            yield "server CPU", f"{self.cpu:.2f} s, {self.cpu / max(1, self.returned) * 1e6:.0f} µs each"
        for text, count in self.errors.items():
            yield "error", f"{text}: {count:,}"


def run_storm(storm: Storm) -> StormResult:
    """Measure one storm. Blocks until it is over.

    Raises:
        LoadgenError: There is nothing to report: no feed is there, or it refuses.
        PlanError: The URL is no WebSocket URL.
    """
    raise_descriptor_limit(
        Plan(url=storm.url, scenario=Scenario.IDLE, clients=storm.clients + storm.stayers + 1)
    )
    run = _Storm(storm, resolve(storm.url))
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run.result())


class _Storm:
    def __init__(self, storm: Storm, target: Target) -> None:
        self._storm = storm
        self._target = target
        self._probe = ServerProbe(storm.pid) if storm.pid is not None else None

    async def result(self) -> StormResult:
        storm = self._storm
        # In a process of their own: they would measure how busy this one is.
        async with stayers(storm.crowd, self._target) as stay:
            result = await self._measure(stay)
            await asyncio.sleep(max(0.0, LEAST_SECONDS - result.seconds))
            told = await stay.report()
        result.before, result.meanwhile = told["before"], told["meanwhile"]
        result.wrong += told["wrong"]
        result.errors |= {f"of who stayed: {text}": count for text, count in told["errors"].items()}
        return result

    async def _measure(self, stay: Stayers) -> StormResult:
        storm = self._storm
        result = StormResult(storm)
        live: asyncio.Queue[FeedClient] = asyncio.Queue()
        begun: dict[FeedClient, float] = {}
        cpu = self._probe().cpu if self._probe is not None else 0.0
        begin = time.monotonic()

        async def come(client: FeedClient) -> None:
            await asyncio.sleep(random.uniform(0, storm.spread) if storm.spread else 0)
            begun[client] = time.monotonic()
            try:
                await door.connect(client)
            except OSError as error:
                client.fail(f"no connection: {error.strerror or error}")

        door = Door(self._target, storm.topic, insecure=storm.insecure)
        clients = [door.client(FeedClient, stay.since, live.put_nowait) for _ in range(storm.clients)]
        stay.clear()
        coming = [asyncio.create_task(come(client)) for client in clients]
        try:
            async with asyncio.timeout(PATIENCE + storm.spread):
                for _ in clients:
                    await live.get()
        except TimeoutError:
            result.errors[f"not live in {PATIENCE:g} s"] = sum(
                client.live_at is None and client.failure is None for client in clients
            )
        finally:
            for task in coming:
                task.cancel()
        if self._probe is not None:
            result.cpu = self._probe().cpu - cpu
        back = [client for client in clients if client.live_at is not None]
        times = {client: client.live_at for client in back if client.live_at is not None}
        result.returned = len(back)
        result.resumed = sum(client.resumed is True and client.messages >= storm.missed for client in back)
        result.seconds = max(times.values(), default=begin) - begin
        result.live = percentiles([at - begun[client] for client, at in times.items()])
        result.wrong = sum(client.wrong for client in clients)
        result.errors |= failures(clients)
        for client in clients:
            client.close()
        return result


def shown(figures: dict[str, float]) -> str:
    """Return percentiles as a person reads them."""
    return "  ".join(f"{name} {milliseconds(value)}" for name, value in figures.items()) or "nothing"
