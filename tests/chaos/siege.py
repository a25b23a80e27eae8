"""Clients of a topic with a history on several workers, while sockets, workers and the keeper die."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from fastws.loop.event_loops import loop_factory
from tests.chaos.clients import Publisher, Reader, Truth
from tests.chaos.proxy import CuttingProxy
from tests.cli.helpers import Child, running
from tests.workers.processes import READY, gone

__all__ = ["Plan", "Verdict", "besiege"]

APP = """
import fastws

hub = fastws.Hub()
hub.topic("t", history={history})

class Room(fastws.Handler):
    __slots__ = ()

    def on_open(self, ws):
        asked = ws.request.query_params
        since = None
        if "quiet" in asked:
            return
        if "since" in asked:
            since = fastws.Position.parse(asked["since"][0]).after(int(asked["got"][0]))
        synced = hub.subscribe(ws, "t", since=since)
        if synced is not None:
            self.on_sync(ws, synced)

    def on_sync(self, ws, synced):
        ws.send_json_nowait({{
            "at": str(synced.at), "resumed": synced.resumed, "missed": synced.missed, "reason": synced.reason
        }})

    def on_gap(self, ws, topic, missed, reason):
        ws.send_json_nowait({{"gap": missed, "why": reason}})

    def on_message(self, ws, message):
        hub.publish("t", message)

routes = [fastws.Route("/", Room())]
"""
KEEPER = re.compile(r"the keeper of histories \(pid (\d+)\) starts")
#: Nothing that is waited for may take longer.
PATIENCE = 60.0


@dataclass(frozen=True)
class Plan:
    seconds: float = 20.0
    clients: int = 300
    workers: int = 2
    rate: float = 500.0
    publishers: int = 5
    worker_kills: int = 5
    keeper_kills: int = 1
    history: int = 5000
    #: Seconds that a connection lives before the proxy cuts it.
    shortest: float = 1.0
    longest: float = 6.0
    seed: int = 1


@dataclass
class Verdict:
    sent: int = 0
    numbered: int = 0
    epochs: int = 0
    delivered: int = 0
    cuts: int = 0
    kills: int = 0
    keeper_kills: int = 0
    missed: int = 0
    told: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    #: Seconds, sorted.
    returns: list[float] = field(default_factory=list)
    #: What must not be, and how often it was.
    faults: Counter[str] = field(default_factory=Counter)
    log: str = ""

    def percentile(self, part: float) -> float:
        return (
            self.returns[min(int(part * len(self.returns)), len(self.returns) - 1)] if self.returns else 0.0
        )


def besiege(plan: Plan) -> Verdict:
    """Run a siege to its end."""
    with tempfile.TemporaryDirectory(prefix="fastws-chaos-") as name:
        folder = Path(name)
        (folder / "app.py").write_text(APP.format(history=plan.history))
        options = ("--port", 0, "--workers", plan.workers, "--no-access-log", "--timeout-drain", 1)
        with running(folder, "serve", "app:routes", *options) as server:
            address = server.address()
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                verdict = runner.run(Siege(plan, server, urlsplit(address).port or 0).run())
            if server.stop() != 0:
                verdict.faults["the server ended with an error"] += 1
            verdict.log = server.stderr()
    if "Traceback" in verdict.log:
        verdict.faults["a traceback in the log"] += 1
    return verdict


class Siege:
    def __init__(self, plan: Plan, server: Child, port: int) -> None:
        self.plan = plan
        self.server = server
        self.chance = random.Random(plan.seed)
        self.truth = Truth()
        self.proxy = CuttingProxy(port, self.chance, plan.shortest, plan.longest)
        self.publishers = [
            Publisher(port, number, plan.publishers / plan.rate) for number in range(plan.publishers)
        ]
        self.readers: list[Reader] = []
        self.verdict = Verdict()
        #: When the keeper was killed, and how much each publisher had sent: what it had taken may be gone.
        self.doubtful: dict[int, set[int]] = {publisher.number: set() for publisher in self.publishers}

    async def run(self) -> Verdict:
        plan, verdict = self.plan, self.verdict
        await self.proxy.start()
        self.readers = [
            Reader(self.proxy.port, self.truth, random.Random(plan.seed + number))
            for number in range(plan.clients)
        ]
        reading = [asyncio.create_task(reader.run()) for reader in self.readers]
        await self._until(
            lambda: all(reader.epoch for reader in self.readers), "all clients know where they are"
        )
        publishing = [asyncio.create_task(publisher.run()) for publisher in self.publishers]
        await asyncio.gather(asyncio.sleep(plan.seconds), self._kill())
        for publisher in self.publishers:
            publisher.stop()
        await asyncio.gather(*publishing)
        self.proxy.stop_cutting()
        await self._until(self._all_are_at_the_end, "all clients have everything")
        for reader in self.readers:
            reader.stop()
        await asyncio.gather(*reading)
        await self.proxy.close()
        self._judge()
        return verdict

    async def _until(self, happened: object, what: str) -> None:
        assert callable(happened)
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > deadline:
                self.verdict.faults[f"never: {what}"] += 1
                return
            await asyncio.sleep(0.02)

    def _all_are_at_the_end(self) -> bool:
        places = {reader.place for reader in self.readers}
        if len(places) > 1:
            return False
        [(epoch, offset)] = places
        return max(self.truth.epochs.get(epoch, {0: ""})) == offset

    # -- who dies -------------------------------------------------------------------------------

    def _workers(self) -> list[int]:
        return [pid for pid in map(int, READY.findall(self.server.stderr())) if not gone(pid)]

    async def _kill(self) -> None:
        plan = self.plan
        victims = ["worker"] * plan.worker_kills + ["keeper"] * plan.keeper_kills
        self.chance.shuffle(victims)
        pause = plan.seconds / (len(victims) + 1)
        started = time.monotonic()
        for number, victim in enumerate(victims, 1):
            await asyncio.sleep(max(started + number * pause - time.monotonic(), 0))
            await self._until(lambda: len(self._workers()) >= plan.workers, "all workers are there")
            if victim == "worker":
                os.kill(self.chance.choice(self._workers()), signal.SIGKILL)
                self.verdict.kills += 1
            else:
                self._kill_keeper()

    def _kill_keeper(self) -> None:
        sent = {publisher.number: publisher.sent for publisher in self.publishers}
        os.kill(int(KEEPER.findall(self.server.stderr())[-1]), signal.SIGKILL)
        self.verdict.keeper_kills += 1
        for number, count in sent.items():
            self.doubtful[number].update(range(count - 100, count + 100))

    # -- what it was ----------------------------------------------------------------------------

    def _judge(self) -> None:
        verdict, truth = self.verdict, self.truth
        verdict.cuts = self.proxy.cuts
        verdict.sent = sum(publisher.sent for publisher in self.publishers)
        verdict.epochs = len(truth.epochs)
        for reader in self.readers:
            verdict.delivered += reader.messages
            verdict.missed += reader.missed
            verdict.told += reader.told
            verdict.codes += reader.codes
            verdict.returns += reader.returns
        verdict.returns.sort()
        verdict.faults += truth.faults
        if verdict.told["future"]:
            verdict.faults["told that it is ahead"] += verdict.told["future"]
        for messages in truth.epochs.values():
            if sorted(messages) != list(range(1, max(messages) + 1)):
                verdict.faults["a position that nobody has seen"] += 1
            verdict.numbered += len(messages)
        published = truth.published()
        for publisher in self.publishers:
            numbers = published.get(publisher.number, [])
            if numbers != sorted(numbers):
                verdict.faults["a publisher out of order"] += 1
            lost = set(range(publisher.sent)) - set(numbers)
            lost -= publisher.doubtful | self.doubtful[publisher.number]
            if lost:
                verdict.faults["messages that were never numbered"] += len(lost)
