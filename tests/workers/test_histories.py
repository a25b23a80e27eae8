"""Topics with a history on several workers: they have one keeper, which outlives all of them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import fastws
from tests.cli.helpers import Child, running
from tests.workers.crowd import besieged, limited, ready, said, until, url_of
from tests.workers.processes import gone, pids

pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

ROOM = """
import os
import fastws

hub = fastws.Hub()
hub.topic("t", history=100)

class Room(fastws.Handler):
    __slots__ = ()
    def on_open(self, ws):
        asked = ws.request.query_params
        since = fastws.Position.parse(asked["since"][0]) if "since" in asked else None
        synced = hub.subscribe(ws, "t", since=since)
        if synced is not None:
            self.on_sync(ws, synced)
    def on_sync(self, ws, synced):
        ws.send_json_nowait({"at": str(synced.at), "why": synced.reason, "worker": os.getpid()})
    def on_message(self, ws, message):
        hub.publish("t", message)

routes = [fastws.Route("/", Room())]
"""
#: Enough that both workers have some.
CLIENTS = 16


def keepers(server: Child) -> list[int]:
    return [int(pid) for pid in re.findall(r"the keeper of histories \(pid (\d+)\) starts", server.stderr())]


class Client:
    def __init__(self, ws: fastws.WebSocket, said: dict[str, Any]) -> None:
        self.ws = ws
        self.said = said
        self.at = fastws.Position.parse(said["at"])

    async def heard(self, texts: list[str]) -> None:
        for text in texts:
            message = await self.ws.recv()
            assert message == text
        self.at = self.at.after(len(texts))

    async def told(self, why: str) -> None:
        said = json.loads(await self.ws.recv())
        assert said["why"] == why
        self.at = fastws.Position.parse(said["at"])


@asynccontextmanager
async def clients_of(url: str, query: str = "") -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(CLIENTS):
            ws = await stack.enter_async_context(fastws.connect(url + query))
            found.append(Client(ws, json.loads(await ws.recv())))
        assert len({client.said["worker"] for client in found}) == 2
        yield found


async def all_hear(url: str, since: fastws.Position, texts: list[str]) -> None:
    async with clients_of(url, f"?since={since}") as clients:
        for client in clients:
            assert client.at == since
            await client.heard(texts)


def test_a_reload_and_a_killed_worker_change_no_position(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(ROOM)

    async def siege(server: Child) -> None:
        url = url_of(server, "/")
        texts = [str(number) for number in range(20)]
        async with clients_of(url) as clients:
            start = clients[0].at
            assert {client.at for client in clients} == {start}
            for text in texts:
                await clients[0].ws.send(text)
            for client in clients:
                await client.heard(texts)
        server.process.send_signal(signal.SIGHUP)
        await until(partial(said, server, "reload: done", 1))
        await all_hear(url, start.after(5), texts[5:])
        os.kill(ready(server)[2], signal.SIGKILL)
        await until(lambda: len(ready(server)) == 5)
        await all_hear(url, start.after(15), texts[15:])
        assert len(keepers(server)) == 1 and not gone(keepers(server)[0])

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 2, "--timeout-drain", 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_end_of_the_keeper_is_told_and_what_was_published_meanwhile_comes(
    number: signal.Signals, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(ROOM)

    async def siege(server: Child) -> None:
        async with clients_of(url_of(server, "/")) as clients:
            first = clients[0].at
            await clients[0].ws.send("a")
            for client in clients:
                await client.heard(["a"])
            os.kill(keepers(server)[0], number)
            await clients[0].ws.send("b")
            for client in clients:
                await client.told("epoch")
                assert client.at.epoch != first.epoch and client.at.offset == 0
                await client.heard(["b"])
        assert len(keepers(server)) == 2
        assert said(server, "its topics begin a new epoch", 1)

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 2, "--timeout-worker", 2)


def test_a_reload_with_other_settings_waits_for_the_workers_that_leave(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(ROOM)

    async def siege(server: Child) -> None:
        url = url_of(server, "/")
        async with clients_of(url) as clients:
            start = clients[0].at
            await clients[0].ws.send("a")
            for client in clients:
                await client.heard(["a"])
        app.write_text(ROOM.replace("history=100", "history=50"))
        server.process.send_signal(signal.SIGHUP)
        await until(partial(said, server, "reload: done", 1))
        await all_hear(url, start, ["a"])
        assert said(server, "declared with history=50 here, and with history=100 by worker", 1)
        assert len(keepers(server)) == 1

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 2, "--timeout-drain", 1)


def test_no_keeper_without_a_history_and_none_without_a_supervisor(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(ROOM)
    (tmp_path / "plain.py").write_text(ROOM.replace("history=100", "merge=','"))

    async def siege(server: Child) -> None:
        pids(server, 2)
        assert keepers(server) == []

    besieged(tmp_path, siege, "plain:routes", "--port", 0, "--workers", 2)
    with running(tmp_path, "serve", "app:routes", "--port", 0, "--workers", 2) as server:
        workers = pids(server, 2)

        async def orphans() -> None:
            await until(lambda: keepers(server))
            [keeper] = keepers(server)
            server.process.kill()
            await until(lambda: all(gone(pid) for pid in [keeper, *workers]))

        limited(orphans)


FEED = """
import fastws

hub = fastws.Hub()
hub.topic("quotes/*", mode="keyed")
hub.topic("rooms/*", history=100)
feed = fastws.Feed(hub, may_subscribe=fastws.anyone, may_publish=fastws.anyone)
routes = [fastws.Route("/feed", feed)]
"""


async def told(ws: fastws.WebSocket, verb: str) -> dict[str, Any]:
    """The next object with that verb."""
    while verb not in (said := json.loads(await ws.recv())):
        pass
    found: dict[str, Any] = said
    return found


def test_feeds_of_keys_and_rooms_on_all_workers(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FEED)

    async def siege(server: Child) -> None:
        url = url_of(server, "/feed?topic=quotes/a&topic=rooms/b")
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(fastws.connect(url)) for _ in range(CLIENTS)]
            for ws in clients:
                await told(ws, "live")
                await told(ws, "live")
            for number, ws in enumerate(clients):
                await ws.send(json.dumps({"pub": "quotes/a", "k": f"k{number}", "d": number}))
            keys: list[dict[str, int]] = [{} for _ in clients]
            for ws, held in zip(clients, keys, strict=True):
                while len(held) < CLIENTS:
                    held |= (await told(ws, "set"))["set"]
                assert held == {f"k{number}": number for number in range(CLIENTS)}
            await clients[0].send(json.dumps({"pub": "rooms/b", "d": "hello", "id": 1}))
            ats = {(await told(ws, "d"))["at"] for ws in clients}
            assert len(ats) == 1
            late = await stack.enter_async_context(fastws.connect(url))
            assert (await told(late, "snap"))["snap"] == keys[0]

    besieged(tmp_path, siege, "app:routes", "--port", 0, "--workers", 2)
