"""What goes over the wire: one subscription for each topic and node, and nothing that is for one client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.chaos.clients import TEXT, Line, masked
from tests.cli.helpers import Child, running
from tests.kit import until
from tests.kit.nats import Nats, need_nats
from tests.kit.ports import free_port
from tests.kit.redis import Redis, need_redis

pytestmark = pytest.mark.system

APP = """
import fastws

hub = fastws.Hub()
hub.topic("h", history=1000)
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=lambda client, publication: True)
routes = [fastws.Route("/feed", feed)]
"""
NODES, WORKERS = 2, 2
#: Of each node: those that are there when the wire is looked at, and those that come and go after that.
CLIENTS, GUESTS = 100, 25
MESSAGES = 20
#: There may be more, for what nodes say to each other; but nothing that is of one client.
TOPICS = {"fastws:{default/h}:q", "fastws:{default/p}:p", "fastws:{%00nodes/census}:p"}


class Client(Line):
    """One that hears both topics."""

    def __init__(self) -> None:
        super().__init__("feed?topic=h&topic=p")
        self.synced = 0
        self.heard: list[str] = []

    def text(self, message: str) -> None:
        said = json.loads(message)
        self.synced += "sync" in said
        if "d" in said:
            self.heard.append(f"{said['t']} {said['d']}")

    def publish(self, topic: str, text: str) -> None:
        assert self.transport is not None
        self.transport.write(masked(TEXT, json.dumps({"pub": topic, "d": text}).encode()))


@contextmanager
def served(folder: Path, url: str) -> Iterator[list[int]]:
    """Two nodes with two workers each; their ports."""
    with ExitStack() as stack:
        nodes: list[Child] = []
        for number in range(NODES):
            place = folder / str(number)
            place.mkdir()
            (place / "app.py").write_text(APP)
            options = ["--port", 0, "--workers", WORKERS, "--broker", url, "--no-access-log"]
            nodes.append(stack.enter_context(running(place, "serve", "app:routes", *options)))
        yield [urlsplit(node.address()).port or 0 for node in nodes]
        for node in nodes:
            assert node.stop() == 0
            assert "Traceback" not in node.stderr()


async def joined(port: int, count: int) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(count)]
    await until(lambda: all(client.synced == 2 for client in clients))
    return clients


async def crowd(ports: list[int], look: Callable[[], Any]) -> tuple[Any, Any]:
    """Let clients publish, and come and go; what ``look`` says before, and while all are there."""
    clients = [client for port in ports for client in await joined(port, CLIENTS)]
    await asyncio.sleep(0.5)  # the broker knows what all nodes hear
    before = await asyncio.to_thread(look)
    guests = [client for port in ports for client in await joined(port, GUESTS)]
    wanted = []
    for number in range(MESSAGES):
        for topic in "hp":
            clients[0].publish(topic, str(number))
            wanted.append(f"{topic} {number}")
        await asyncio.sleep(0.02)
    for client in [*clients, *guests]:
        await until(lambda client=client: len(client.heard) == len(wanted))  # type: ignore[misc]
        assert sorted(client.heard) == sorted(wanted)
    after = await asyncio.to_thread(look)
    for client in [*clients, *guests]:
        assert client.transport is not None
        client.transport.abort()
    await asyncio.wait([client.lost for client in [*clients, *guests]])
    return before, after


async def test_redis(tmp_path: Path) -> None:
    need_redis()
    with Redis(tmp_path / "redis") as redis, served(tmp_path, redis.url) as ports:
        with (tmp_path / "monitor").open("wb") as out:
            monitor = subprocess.Popen(["redis-cli", "-p", str(redis.port), "MONITOR"], stdout=out)
            try:
                before, after = await crowd(ports, lambda: seen_by_redis(redis))
            finally:
                monitor.kill()
                monitor.wait()
        said = (tmp_path / "monitor").read_text()
    channels, connections, patterns = before
    assert before == after
    assert set(channels) >= TOPICS and set(channels.values()) == {NODES}
    assert (connections, patterns) == (2 * NODES, 0)
    # A message is one command, whoever hears it; after a second of silence the last number is said again.
    assert said.count('"PUBLISH" "fastws:{default/p}:p"') <= MESSAGES + NODES
    assert said.count('lua] "PUBLISH" "fastws:{default/h}:q"') <= MESSAGES
    assert said.count('"SUBSCRIBE" "fastws:{default/h}:q"') == NODES
    assert said.count('"SUBSCRIBE" "fastws:{default/p}:p"') == NODES


def seen_by_redis(redis: Redis) -> tuple[dict[str, int], int, int]:
    """How many hear each channel; how many connections there are; how many patterns."""
    found = {
        channel: int(redis.cli("PUBSUB", "NUMSUB", channel).split()[-1])
        for channel in redis.cli("PUBSUB", "CHANNELS").split()
    }
    clients = [line for line in redis.cli("CLIENT", "LIST").splitlines() if " lib-name=redis-py" in line]
    if not clients:  # Redis 7.0 has no names of libraries
        ours = (" cmd=client", " cmd=monitor")
        lines = redis.cli("CLIENT", "LIST").splitlines()
        clients = [line for line in lines if not any(cmd in line for cmd in ours)]
    return found, len(clients), int(redis.cli("PUBSUB", "NUMPAT"))


async def test_nats(tmp_path: Path) -> None:
    need_nats()
    port = free_port()
    with Nats(tmp_path / "nats", "-m", str(port)) as nats, served(tmp_path, nats.url) as ports:
        before, after = await crowd(ports, lambda: seen_by_nats(port))
    assert before == after
    subjects, count = before
    assert len(subjects) == NODES
    for of_one in subjects:
        assert len(of_one) == len(set(of_one))
        assert sum("default/p" in subject for subject in of_one) == 1
        assert sum("default/h" in subject for subject in of_one) == 1
    assert sum(map(len, subjects)) <= count


def seen_by_nats(port: int) -> tuple[list[list[str]], int]:
    """What each connection hears, and how many subscriptions there are."""
    found = [sorted(each["subscriptions_list"]) for each in asked(port, "connz?subs=1")["connections"]]
    return found, asked(port, "subsz")["num_subscriptions"]


def asked(port: int, what: str) -> Any:
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
