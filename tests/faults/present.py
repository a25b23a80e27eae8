"""F6: who is here on two nodes: very many that come within ten seconds, and a node that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastws.loop.event_loops import loop_factory
from fastws.pubsub.presence.others import BEAT_SECONDS, GONE_SECONDS
from tests.chaos.clients import Line
from tests.cli.helpers import Child, running
from tests.faults.harness import Missing, Record, row
from tests.kit.nats import Nats
from tests.kit.process import cpu_seconds
from tests.kit.redis import Redis

APP = """
import fastws

hub = fastws.Hub()
hub.topic("t", presence="list")
routes = [fastws.Route("/feed", fastws.Feed(hub, may_subscribe=fastws.anyone))]
"""
#: Seconds in which all come; and after which what they are told has settled.
SECONDS, SETTLE = 10.0, 3.0
#: Messages a second that tell a client who is here.
MOST = 2


@row("F6-presence-nats", "who is here: 10,000 come in 10 s to two nodes, of which one is killed; over NATS")
def nats(record: Record) -> None:
    _present(record, Nats, "nats-server")


@row("F6-presence-redis", "who is here: 10,000 come in 10 s to two nodes, of which one is killed; over Redis")
def redis(record: Record) -> None:
    _present(record, Redis, "redis-server")


def _present(record: Record, make: Any, program: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"{program} is not installed")
    many = record.choose(10_000, 400)
    took = {}
    for count in (many // 4, many):
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            server = stack.enter_context(make(Path(name) / "server"))
            nodes = [_node(Path(name) / f"node{number}", server.url, stack) for number in range(2)]
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                seconds = SECONDS if record.full else SECONDS / 5
                took[count] = runner.run(_come(record, nodes, count, seconds, is_last=count == many))
            for node in nodes:
                if node.process.poll() is None:
                    node.stop()
    each = {count: 1e6 * seconds / count for count, seconds in took.items()}
    record.note(f"CPU of both nodes: {', '.join(f'{us:,.0f} µs each of {n:,}' for n, us in each.items())}")
    if record.full:
        record.at_most(
            "CPU for each, times that where there are a quarter", each[many] / each[many // 4], 1.25
        )


def _node(folder: Path, url: str, stack: ExitStack) -> Child:
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    options = ["--port", 0, "--workers", 2, "--broker", url, "--no-access-log"]
    return stack.enter_context(running(folder, "serve", "app:routes", *options))


class Member(Line):
    """A client that counts what it is told of who is here."""

    def __init__(self) -> None:
        super().__init__("feed?topic=t")
        self.since = time.monotonic()
        self.told = self.count = 0

    def text(self, message: str) -> None:
        if '"presence"' in message:
            self.told += 1
            self.count = json.loads(message)["presence"]["count"]


async def _come(record: Record, nodes: list[Child], count: int, seconds: float, *, is_last: bool) -> float:
    """Let so many come; return the CPU seconds that the nodes needed."""
    loop = asyncio.get_running_loop()
    ports = [urlsplit(node.address()).port or 0 for node in nodes]
    processes = [pid for node in nodes for pid in _family(node.process.pid)]
    before = sum(map(cpu_seconds, processes))
    members: list[Member] = []
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(began + number * seconds / count - time.monotonic(), 0))
        members.append((await loop.create_connection(Member, "127.0.0.1", ports[number % 2]))[1])
    arrived = time.monotonic() - began
    await asyncio.sleep(SETTLE)
    cpu = sum(map(cpu_seconds, processes)) - before
    if is_last:
        now = time.monotonic()
        most = max(member.told - 1 - MOST * (now - member.since) for member in members)
        record.at_most("told too often: messages above two a second, for any client", max(most, 0), 0)
        wrong = sum(member.count != count for member in members)
        record.equal(f"clients that do not know of all {count:,} after {SETTLE:g} s", wrong, 0)
        record.note(f"{count:,} came within {arrived:.1f} s; {sum(m.told for m in members):,} messages")
        await _kill(record, nodes[1], members)
    for member in members:
        if member.transport is not None:
            member.transport.abort()
    return cpu


async def _kill(record: Record, node: Child, members: list[Member]) -> None:
    """Kill all that a node is, and wait until the other one has forgotten who was there."""
    for pid in _family(node.process.pid):
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    left = members[::2]
    most = GONE_SECONDS + BEAT_SECONDS
    while any(member.count != len(left) for member in left) and time.monotonic() - killed < 2 * most:
        await asyncio.sleep(0.1)
    record.at_most("a node was killed: its members are gone after", time.monotonic() - killed, most, "s")
    record.equal("clients that know of all others then", sum(m.count == len(left) for m in left), len(left))


def _family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]
