"""Who is here, on several workers: a killed worker leaves no ghost, and a reload makes nobody leave."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import Child
from tests.workers.crowd import besieged, ready, until, url_of
from tests.workers.processes import gone, pids

pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

ROOM = """
import os
import fastws

hub = fastws.Hub()
hub.topic("room", presence="list")

def authenticate(request, token):
    return fastws.User(request.query_params["user"][0], info=os.getpid())

feed = fastws.Feed(hub, may_subscribe=fastws.anyone, authenticate=authenticate)
routes = [fastws.Route("/feed", feed)]
"""
#: Enough that both workers have some.
CLIENTS = 16
#: Each comes back in time, however often.
SOON = fastws.Backoff(first=0.2, limit=0.5)


class Watcher:
    """Keeps what it is told, over connections that come and go."""

    def __init__(self, url: str) -> None:
        self.members: dict[str, fastws.Member] = {}
        self.left: list[str] = []
        self._url = url

    async def run(self) -> None:
        async with fastws.follow(f"{self._url}?user=watcher", "room", backoff=SOON) as events:
            async for event in events:
                if isinstance(event, fastws.Presence):
                    if event.members is not None:
                        self.members = {member.id: member for member in event.members}
                    self.members |= {member.id: member for member in event.joined}
                    self.left += event.left
                    for id in event.left:
                        self.members.pop(id, None)
                    assert len(self.members) == event.count


def test_a_worker_that_is_killed_leaves_no_ghost(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(ROOM)

    async def siege(server: Child) -> None:
        first, second = pids(server, 2)
        url = url_of(server, "/feed")
        async with AsyncExitStack() as stack:
            for number in range(CLIENTS):
                await stack.enter_async_context(fastws.connect(f"{url}?topic=room&user=u{number}"))
            watchers = [Watcher(url) for _ in range(4)]
            tasks = [asyncio.create_task(watcher.run()) for watcher in watchers]
            names = {f"u{number}" for number in range(CLIENTS)}
            await until(lambda: all(watcher.members.keys() == names | {"watcher"} for watcher in watchers))
            killed = {id for id, member in watchers[0].members.items() if member.info == first} - {"watcher"}
            assert 0 < len(killed) < CLIENTS
            os.kill(first, signal.SIGKILL)
            await until(lambda: all(killed.isdisjoint(watcher.members) for watcher in watchers))
            left = names - killed | {"watcher"}
            await until(lambda: all(watcher.members.keys() == left for watcher in watchers))
            assert not any(watcher.members["watcher"].connections > 4 for watcher in watchers)
            assert "watcher" not in {id for watcher in watchers for id in watcher.left}
            for task in tasks:
                task.cancel()
        await until(lambda: len(ready(server)) == 3 and not gone(second))

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 2)


def test_who_comes_back_after_a_reload_has_not_left(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(ROOM)

    async def siege(server: Child) -> None:
        old = pids(server, 2)
        url = url_of(server, "/feed")
        watchers = [Watcher(url) for _ in range(3)]
        tasks: list[asyncio.Task[None]] = []
        async with AsyncExitStack() as stack:
            for name in ("ann", "bob"):
                following = fastws.follow(f"{url}?user={name}", "room", backoff=SOON)
                events = await stack.enter_async_context(following)
                tasks.append(asyncio.create_task(drained(events)))
            tasks += [asyncio.create_task(watcher.run()) for watcher in watchers]
            everybody = {"ann", "bob", "watcher"}
            await until(lambda: all(watcher.members.keys() == everybody for watcher in watchers))
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: all(gone(pid) for pid in old))
            await asyncio.sleep(6)  # by then whoever has not come back has left
            await until(lambda: all(watcher.members.keys() == everybody for watcher in watchers))
            assert not [id for watcher in watchers for id in watcher.left]
            for task in tasks:
                task.cancel()

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 2, "--timeout-drain", 0)


async def drained(events: fastws.FeedFollower) -> None:
    async for _ in events:
        pass
