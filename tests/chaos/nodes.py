"""Two nodes that a broker joins, while it, their workers and the sockets of their clients die."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from fastws.loop.event_loops import loop_factory
from tests.chaos.clients import Truth
from tests.chaos.feeds import FeedReader, HistoryReader, Outage, PlainReader, Segment
from tests.chaos.proxy import CuttingProxy
from tests.chaos.publishers import NodePublisher, OncePublisher
from tests.cli.helpers import Child, running
from tests.kit.nats import Nats
from tests.kit.redis import Redis
from tests.workers.processes import READY, gone

__all__ = ["BROKERS", "NodesPlan", "NodesVerdict", "besiege_nodes"]

APP = """
import time

import fastws

hub = fastws.Hub()
hub.topic("h", history={history})

class Speaker(fastws.Handler):
    def __init__(self, topic):
        self.topic = topic
        self.longest = 0

    def on_message(self, ws, message):
        if message == "?":
            ws.send_nowait(str(self.longest))
            return
        began = time.thread_time_ns()
        hub.publish(self.topic, message)
        self.longest = max(self.longest, time.thread_time_ns() - began)

def may_publish(client, publication):
    return True

routes = [
    fastws.Route("/feed", fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=may_publish)),
    fastws.Route("/p", Speaker("p")),
]
"""
BROKERS: dict[str, Callable[[Path], Any]] = {"redis": Redis, "nats": Nats}
NODES = 2
#: Of each node: who publishes to the topic with a history, at most 50 a second, and to the plain one.
SPEAKERS = {"h": 4, "p": 2}
#: Nothing that is waited for may take longer.
PATIENCE = 60.0
#: Seconds around a fault that say nothing of how fast it is without.
CLEAR = 1.0
#: Seconds of quiet at the end.
AFTERWARDS = 3.0


@dataclass(frozen=True)
class NodesPlan:
    broker: str = "nats"
    seconds: float = 40.0
    #: Half of them of a topic with a history, the others of a plain one; and so are the messages.
    clients: int = 300
    workers: int = 2
    rate: float = 500.0
    worker_kills: int = 3
    #: Seconds that the broker is down, and that it stands still.
    down: float = 1.0
    still: float = 4.0
    history: int = 5000
    #: Seconds that a connection of a client with a position lives before the proxy cuts it.
    shortest: float = 1.0
    longest: float = 6.0
    seed: int = 1


@dataclass
class NodesVerdict:
    sent: int = 0
    numbered: int = 0
    epochs: int = 0
    delivered: int = 0
    cuts: int = 0
    kills: int = 0
    #: Messages with an id that had their position already when they were sent again.
    repeated: int = 0
    #: Of plain topics: messages that clients did not get, as their numbers say, and as they were told: first
    #: of those that stayed from the first message to the last, then of the others while they were there.
    missing: int = 0
    reported: int = 0
    missing_between: int = 0
    reported_between: int = 0
    #: Messages of topics with a history that clients were told they missed.
    missed: int = 0
    told: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    outages: list[Outage] = field(default_factory=list)
    #: Seconds of messages within a node, before the broker was away, while it was, and when it was back and
    #: what had waited was made up for; at the middle, and what one in a hundred exceeds.
    local: float = 0.0
    local_away: float = 0.0
    local_p99: float = 0.0
    local_p99_away: float = 0.0
    local_p99_back: float = 0.0
    #: Seconds of CPU time: the longest ``publish``. What else the machine does makes it no longer.
    longest_publish: float = 0.0
    #: What must not be, and how often it was.
    faults: Counter[str] = field(default_factory=Counter)
    log: str = ""

    @property
    def slowest_return(self) -> float:
        """Seconds from the return of the broker to the first message of another node."""
        return max((outage.returned - outage.end for outage in self.outages), default=0.0)


def besiege_nodes(plan: NodesPlan) -> NodesVerdict:
    """Run a siege to its end."""
    with tempfile.TemporaryDirectory(prefix="fastws-chaos-") as name, ExitStack() as stack:
        broker = stack.enter_context(BROKERS[plan.broker](Path(name) / "broker"))
        nodes = []
        for number in range(NODES):
            folder = Path(name) / f"node-{number}"
            folder.mkdir()
            (folder / "app.py").write_text(APP.format(history=plan.history))
            options = ["--port", 0, "--workers", plan.workers, "--broker", broker.url]
            options += ["--no-access-log", "--timeout-drain", 1]
            nodes.append(stack.enter_context(running(folder, "serve", "app:routes", *options)))
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            verdict = runner.run(Siege(plan, broker, nodes).run())
        for node in nodes:
            if node.stop() != 0:
                verdict.faults["a server ended with an error"] += 1
            verdict.log += node.stderr()
    if "Traceback" in verdict.log:
        verdict.faults["a traceback in the log"] += 1
    return verdict


class Siege:
    def __init__(self, plan: NodesPlan, broker: Any, nodes: list[Child]) -> None:
        self.plan = plan
        self.broker = broker
        self.nodes = nodes
        self.chance = random.Random(plan.seed)
        self.truth = Truth()
        self.verdict = NodesVerdict()
        ports = [urlsplit(node.address()).port or 0 for node in nodes]
        self.proxies = [CuttingProxy(port, self.chance, plan.shortest, plan.longest) for port in ports]
        self.once: list[OncePublisher] = []
        self.plain: list[NodePublisher] = []
        for topic, count in SPEAKERS.items():
            interval = 2 * NODES * count / plan.rate
            for node in [*range(NODES)] * count:
                number = len(self.once) + len(self.plain)
                if topic == "h":
                    self.once.append(OncePublisher(ports[node], number, interval, topic, node))
                else:
                    self.plain.append(NodePublisher(ports[node], number, interval, topic, node))
        self.publishers: list[OncePublisher | NodePublisher] = [*self.once, *self.plain]
        #: What any client has heard of each publisher of the plain topic.
        self.heard: dict[int, set[int]] = {each.number: set() for each in self.plain}
        self.outages = self.verdict.outages
        self.ports = ports
        self.histories: list[HistoryReader] = []
        self.plains: list[PlainReader] = []
        #: When something happened that is no outage of the broker.
        self.faults_at: list[float] = []

    async def run(self) -> NodesVerdict:
        plan, verdict = self.plan, self.verdict
        for proxy in self.proxies:
            await proxy.start()
        for publisher in self.once:
            publisher.port = self.proxies[publisher.node].port
        speakers = {each.number: each for each in self.plain}
        for number in range(plan.clients // 2):
            node = number % NODES
            chance, faults = random.Random(plan.seed + number), verdict.faults
            self.histories.append(HistoryReader(self.proxies[node].port, node, chance, faults, self.truth))
            self.plains.append(
                PlainReader(self.ports[node], node, chance, faults, speakers, self.outages, self.heard)
            )
        readers: list[FeedReader] = [*self.histories, *self.plains]
        reading = [asyncio.create_task(reader.run()) for reader in readers]
        await self._until(lambda: all(reader.is_synced for reader in readers), "all clients are there")
        publishing = [asyncio.create_task(publisher.run()) for publisher in self.publishers]
        await asyncio.gather(asyncio.sleep(plan.seconds), self._strike())
        await asyncio.sleep(AFTERWARDS)  # only who hears something can count what is missing
        for publisher in self.publishers:
            publisher.stop()
        await asyncio.gather(*publishing)
        for proxy in self.proxies:
            proxy.stop_cutting()
        await self._until(self._all_are_at_the_end, "all clients have everything")
        await self._until(self._plains_know_all, "all clients of a plain topic know what they missed")
        for reader in readers:
            reader.stop()
        await asyncio.gather(*reading)
        for proxy in self.proxies:
            await proxy.close()
        self._judge()
        return verdict

    async def _until(self, happened: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if time.monotonic() > deadline:
                self.verdict.faults[f"never: {what}"] += 1
                return
            await asyncio.sleep(0.02)

    def _all_are_at_the_end(self) -> bool:
        places = {reader.place for reader in self.histories}
        if len(places) > 1:
            return False
        [(epoch, offset)] = places
        # Who has published may know of a position before anybody has heard of it.
        acknowledged = max((each.last[1] for each in self.once if each.last[0] == epoch), default=0)
        return max(max(self.truth.epochs.get(epoch, {0: ""})), acknowledged) == offset

    def _plains_know_all(self) -> bool:
        """What is missing is what was reported: only the tail may take a second."""
        return all(
            segment.reported >= _missing(segment, self.heard)
            and all(segment.last.get(each.number, -1) >= each.sent - 1 for each in self.plain)
            for segment in (reader.segments[-1] for reader in self.plains)
        )

    # -- what dies ------------------------------------------------------------------------------

    async def _strike(self) -> None:
        plan = self.plan
        strikes: list[Callable[[], Any]] = [self._kill_worker] * plan.worker_kills
        strikes.insert(1, self._restart_broker)
        strikes.insert(3, self._stop_broker)
        pause = plan.seconds / (len(strikes) + 1)
        started = time.monotonic()
        for number, strike in enumerate(strikes, 1):
            await asyncio.sleep(max(started + number * pause - time.monotonic(), 0))
            await strike()

    async def _kill_worker(self) -> None:
        node = self.chance.choice(self.nodes)
        await self._until(lambda: len(self._workers(node)) >= self.plan.workers, "all workers are there")
        self.faults_at.append(time.monotonic())
        os.kill(self.chance.choice(self._workers(node)), signal.SIGKILL)
        self.verdict.kills += 1

    def _workers(self, node: Child) -> list[int]:
        return [pid for pid in map(int, READY.findall(node.stderr())) if not gone(pid)]

    def _outage(self, what: str) -> Outage:
        sent = {each.number: each.sent for each in self.publishers}
        outage = Outage(what, time.monotonic(), sent)
        self.outages.append(outage)
        return outage

    async def _restart_broker(self) -> None:
        outage = self._outage("SIGTERM")
        await asyncio.to_thread(self.broker.stop)
        await asyncio.sleep(self.plan.down)
        await asyncio.to_thread(self.broker.start)
        outage.end = time.monotonic()

    async def _stop_broker(self) -> None:
        outage = self._outage("SIGSTOP")
        self.broker.kick(signal.SIGSTOP)
        await asyncio.sleep(self.plan.still)
        self.broker.kick(signal.SIGCONT)
        outage.end = time.monotonic()

    # -- what it was ----------------------------------------------------------------------------

    def _judge(self) -> None:
        verdict, truth = self.verdict, self.truth
        verdict.cuts = sum(proxy.cuts for proxy in self.proxies)
        verdict.sent = sum(publisher.sent for publisher in self.publishers)
        verdict.epochs = len(truth.epochs)
        verdict.faults += truth.faults
        for reader in [*self.histories, *self.plains]:
            verdict.delivered += reader.messages
            verdict.told += reader.told
            verdict.codes += reader.codes
        verdict.missed = sum(reader.missed for reader in self.histories)
        self._judge_histories()
        for publisher in self.plain:
            if lost := publisher.lost(self.heard[publisher.number]):
                verdict.faults["messages of a plain topic that nobody has heard"] += len(lost)
        for reader in self.plains:
            self._judge_plain(reader)
        self._judge_latencies()
        for outage in self.outages:
            if not outage.returned:
                verdict.faults[f"nothing came from the other node after {outage.what}"] += 1

    def _judge_histories(self) -> None:
        verdict, truth = self.verdict, self.truth
        for messages in truth.epochs.values():
            if sorted(messages) != list(range(min(messages), max(messages) + 1)):
                verdict.faults["a position that nobody has seen"] += 1
            verdict.numbered += len(messages)
        published = truth.published()
        for publisher in self.once:
            verdict.repeated += publisher.repeated
            numbers = published.get(publisher.number, [])
            if numbers != sorted(set(numbers)):
                verdict.faults["a publisher out of order, or a double"] += 1
            if lacking := set(range(publisher.acknowledged)) ^ set(numbers):
                verdict.faults["acknowledged is not what has a position"] += 1
                verdict.log += f"publisher {publisher.number}: {sorted(lacking)} of {publisher.sent}\n"
            if publisher.strange:
                verdict.faults["an answer to something else"] += len(publisher.strange)
                verdict.log += f"publisher {publisher.number}: {publisher.strange[:3]}\n"

    def _judge_plain(self, reader: PlainReader) -> None:
        """What was reported is what is missing.

        Who comes or goes meanwhile may be told of more, but never of more than it did not get while it was
        there: it cannot know what came before its first message or behind its last one.
        """
        faults, verdict, published = self.verdict.faults, self.verdict, self.heard
        for segment in reader.segments:
            missing = _missing(segment, published)
            told = segment.settled if segment.ended else segment.reported
            if missing > told:
                faults["messages of a plain topic that were lost in silence"] += missing - told
            too_many = segment.reported - missing
            if len(reader.segments) > 1:
                verdict.missing_between += missing
                verdict.reported_between += segment.reported
                too_many -= segment.unseen(published)
            else:
                verdict.missing += missing
                verdict.reported += segment.reported
            if too_many > 0:
                faults["messages of a plain topic reported, and not lost"] += too_many
            for publisher in self.plain:
                left_out = segment.missing.get(publisher.number, set()) & published[publisher.number]
                if publisher.node == reader.node and left_out:
                    faults["messages of the same node that did not come"] += len(left_out)

    def _judge_latencies(self) -> None:
        before, away, back = [], [], []
        first = min((outage.start for outage in self.outages), default=math.inf)
        for reader in self.plains:
            for sent, took in reader.latencies:
                if any(outage.start < sent < outage.end for outage in self.outages):
                    away.append(took)
                elif any(at - CLEAR < sent < at + CLEAR for at in self.faults_at):
                    continue
                elif sent < first - CLEAR:
                    before.append(took)
                elif sent > first:
                    back.append(took)
        verdict = self.verdict
        verdict.local, verdict.local_p99 = _quantiles(before)
        verdict.local_away, verdict.local_p99_away = _quantiles(away)
        _, verdict.local_p99_back = _quantiles(back)
        answers = [int(text) for publisher in self.plain for text in publisher.answers]
        verdict.longest_publish = max(answers, default=0) / 1e9


def _missing(segment: Segment, published: dict[int, set[int]]) -> int:
    """How many were published, and left out between the first one that came and the last."""
    return sum(len(numbers & published[number]) for number, numbers in segment.missing.items())


def _quantiles(seconds: list[float]) -> tuple[float, float]:
    if not seconds:
        return 0.0, 0.0
    return median(seconds), sorted(seconds)[int(0.99 * len(seconds))]
