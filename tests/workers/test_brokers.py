"""Two servers of two workers each, joined by a real Redis: who dies, and what goes over the wire."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import Child, assert_one_line, running
from tests.cli.helpers import fastws as command
from tests.kit import until
from tests.kit.redis import Redis, need_redis

pytestmark = [pytest.mark.live, pytest.mark.system]

APP = """
import fastws

hub = fastws.Hub()
hub.topic("h", history=1000)
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=lambda client, publication: True)
routes = [fastws.Route("/feed", feed)]
"""
CLIENTS = 6


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    need_redis()
    with Redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def servers(tmp_path: Path, redis: Redis) -> Iterator[list[Child]]:
    with running_at(tmp_path / "one", redis) as one, running_at(tmp_path / "two", redis) as two:
        yield [one, two]


def running_at(folder: Path, redis: Redis) -> AbstractContextManager[Child]:
    folder.mkdir()
    (folder / "app.py").write_text(APP)
    return running(folder, "serve", "app:routes", "--port", 0, "--workers", 2, FASTWS_BROKER=redis.url)


def keeper(server: Child) -> int:
    return int(re.findall(r"the keeper of histories \(pid (\d+)\) starts", server.stderr())[-1])


def worker(server: Child) -> int:
    return int(re.findall(r"worker \d+ \(pid (\d+)\) is ready", server.stderr())[-1])


class Client:
    """One of a feed: what it has heard, and what it was told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: dict[str, list[object]] = {"p": [], "h": []}
        self.missed = 0
        self.syncs: list[fastws.Synced] = []
        self.is_there = False

    async def run(self) -> None:
        async with fastws.follow(self.url, "p", "h") as feed:
            async for event in feed:
                if isinstance(event, fastws.Message):
                    self.heard[event.topic].append(event.message)
                elif isinstance(event, fastws.Gap):
                    self.missed += event.missed or 0
                elif isinstance(event, fastws.Synced):
                    self.syncs.append(event)
                elif isinstance(event, fastws.Live) and event.topic == "h":
                    self.is_there = True


@asynccontextmanager
async def clients_of(servers: list[Child]) -> AsyncIterator[list[Client]]:
    urls = [server.address().replace("http", "ws") + "/feed" for server in servers]
    found = [Client(url) for url in urls for _ in range(CLIENTS)]
    tasks = [asyncio.create_task(client.run()) for client in found]
    await until(lambda: all(client.is_there for client in found))
    await asyncio.sleep(0.2)
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def publish(url: str, topic: str, count: int, start: int = 0) -> None:
    """Publish numbers, each as often as it takes."""
    async with fastws.follow(url, "x") as feed:
        for number in range(start, start + count):
            while True:
                try:
                    await feed.publish(topic, number, once=f"{topic}{number}" if topic == "h" else None)
                    break
                except (fastws.FeedError, fastws.BrokerUnavailable, TimeoutError):
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0.025)


async def test_one_connection_and_one_subscription_for_each_server(
    servers: list[Child], redis: Redis
) -> None:
    async with clients_of(servers) as clients:
        url = clients[0].url
        await asyncio.gather(publish(url, "p", 20), publish(clients[-1].url, "h", 20))
        await until(lambda: all(len(client.heard["p"]) == len(client.heard["h"]) == 20 for client in clients))
        for channel in ("fastws:{default/h}:q", "fastws:{default/p}:p"):
            assert redis.cli("PUBSUB", "NUMSUB", channel).split()[-1] == "2"
        ours = [line for line in redis.cli("CLIENT", "LIST").splitlines() if "redis-cli" not in line]
        assert len(ours) == 4 + 1  # two for each server, and redis-cli's own
        assert all(client.missed == 0 for client in clients)


async def test_gateways_and_workers_are_killed(servers: list[Child]) -> None:
    """Of a topic with a history each message comes once, in one order, in one epoch."""
    async with clients_of(servers) as clients:
        publishing = asyncio.gather(
            publish(clients[0].url, "h", 120), publish(clients[-1].url, "h", 120, start=1000)
        )
        await asyncio.sleep(1)
        os.kill(keeper(servers[0]), signal.SIGKILL)
        await asyncio.sleep(1)
        os.kill(worker(servers[1]), signal.SIGKILL)
        await asyncio.sleep(1)
        os.kill(keeper(servers[1]), signal.SIGKILL)
        await publishing
        await until(lambda: all(len(client.heard["h"]) >= 240 for client in clients))
        for client in clients:
            assert client.heard["h"] == clients[0].heard["h"]
            assert all(sync.reason is None for sync in client.syncs)
        heard = [number for number in clients[0].heard["h"] if isinstance(number, int)]
        assert [number for number in heard if number < 1000] == list(range(120))
        assert [number for number in heard if number >= 1000] == list(range(1000, 1120))
        assert "until the next one is there, nothing goes to other nodes" in servers[0].stderr()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_server_starts_without_its_broker(tmp_path: Path, redis: Redis, workers: int) -> None:
    redis.cli("CONFIG", "SET", "requirepass", "s3cret")
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "url").write_text(redis.url.replace("//", "//:wr0ng@"))
    options = ("--port", 0, "--workers", workers)
    result = command("serve", "app:routes", *options, "--broker-file", "url", cwd=tmp_path)
    assert_one_line(result, 3, f"--broker redis://***@127.0.0.1:{redis.port}: wrong user or password")
    result = command("serve", "app:routes", *options, "--broker", "redis://h/x", cwd=tmp_path)
    assert result.returncode == 2 and "no number of a database" in result.stderr


def test_a_single_process_shares_too(tmp_path: Path, redis: Redis) -> None:
    (tmp_path / "app.py").write_text(APP)
    with running(tmp_path, "serve", "app:routes", "--port", 0, "--broker", redis.url) as server:
        server.address()
        assert redis.cli("CLIENT", "LIST").count("\n") + 1 == 3
        assert server.stop() == 0
    assert "rror" not in server.stderr(), server.stderr()


def test_a_program_that_runs_in_uvicorn(tmp_path: Path, redis: Redis) -> None:
    """``hub.lifespan`` starts it; nothing is left at the end."""
    program = f"""
import asyncio, fastws
hub = fastws.Hub(broker={redis.url!r})
hub.topic("h", history=10)
async def main():
    async with hub.lifespan(None):
        print((await hub.publish_confirmed("h", "1")).at.offset)
        hub.publish("p", "1")
asyncio.run(main())
asyncio.run(main())
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("1\n2\n", "")


async def test_a_hub_with_a_broker_of_its_own(tmp_path: Path, redis: Redis) -> None:
    """Each worker is a node then, and nothing has to be started by the application."""
    app = APP.replace("Hub()", f"Hub(broker={redis.url!r})")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(app)
    serve = ("serve", "app:routes", "--port", 0)
    with running(tmp_path / "one", *serve, "--workers", 2) as one, running(tmp_path / "two", *serve) as two:
        async with clients_of([one, two]) as clients:
            await asyncio.gather(publish(clients[0].url, "p", 5), publish(clients[-1].url, "h", 5))
            expected = list(range(5))
            await until(lambda: all(each.heard["p"] == each.heard["h"] == expected for each in clients))
            census = redis.cli("PUBSUB", "NUMSUB", "fastws:{%00nodes/census}:p")
            assert census.split()[-1] == "3"
