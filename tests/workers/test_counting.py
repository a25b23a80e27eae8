"""What ``fastws serve --workers N`` counts, and what its limits mean, while workers die and are replaced.

Each wait is for an event; its limit only ends a test that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

import fastws
from tests.cli.helpers import Child, running
from tests.cli.test_serve import get
from tests.workers.crowd import ECHO_APP, limited, ready, said, until, url_of
from tests.workers.processes import pids, wait_gone

pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

#: ``/totals`` is what all workers have counted.
APP = f"""{ECHO_APP}
import json

def totals(request):
    server = request.server
    found = {{"all": server.totals(), "own": server.counters.as_dict(), "pid": os.getpid()}}
    return fastws.Response(200, json.dumps(found))

routes.append(fastws.Route("/totals", http=totals))
"""

#: Connections that each other worker may let in beyond a limit by address, until it hears (docs/workers.md).
SLIP = 32


class Count:
    """What all clients have counted."""

    def __init__(self, server: Child) -> None:
        self.server = server
        self.connections = self.sent = self.received = 0

    def totals(self) -> dict[str, Any]:
        """What the server says, by one connection more."""
        self.connections += 1
        found: dict[str, Any] = json.loads(get(self.server.address(), "/totals")[2])
        return found


class Client:
    """Sends, and hears its echo before it sends again."""

    def __init__(self, count: Count, ws: fastws.WebSocket) -> None:
        self.count, self.ws = count, ws
        self.worker = 0

    @classmethod
    async def connect(cls, count: Count, **options: Any) -> Client:
        ws = await fastws.connect(url_of(count.server, "/"), **options)
        count.connections += 1
        client = cls(count, ws)
        client.worker = int(await client.hear())
        return client

    async def hear(self) -> str:
        message = str(await self.ws.recv())
        self.count.received += 1
        return message

    async def echo(self, messages: int) -> None:
        for number in range(messages):
            await self.ws.send(str(number))
            self.count.sent += 1
            assert await self.hear() == str(number)


def served_line(server: Child) -> tuple[int, int, int]:
    """What the supervisor says in the end: connections, messages in, messages out."""
    (found,) = re.findall(r"served (\d+) connections, (\d+) messages in and (\d+) out", server.stderr())
    connections, received, sent = map(int, found)
    return connections, received, sent


def test_the_totals_are_what_clients_counted_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)

    async def siege(count: Count) -> None:
        server = count.server
        clients = [await Client.connect(count) for _ in range(20)]
        assert len({client.worker for client in clients}) == 2
        await asyncio.gather(*(client.echo(25) for client in clients))
        before = await asyncio.to_thread(count.totals)
        assert before["all"]["messages_received"] == count.sent == 500
        assert before["all"]["messages_sent"] == count.received == 520
        assert 0 < before["own"]["messages_received"] < 500
        assert before["all"]["connections"] == count.connections == 21
        assert before["all"]["websockets_opened"] == 20 and before["all"]["websockets_closed"] == 0
        # Nothing is under way: exact.
        killed = clients[0].worker
        os.kill(killed, signal.SIGKILL)
        await until(lambda: len(ready(server)) == 3)
        lost = [client for client in clients if client.worker == killed]
        kept = [client for client in clients if client.worker != killed]
        after = await asyncio.to_thread(count.totals)
        assert after["all"]["messages_received"] == 500 and after["all"]["messages_sent"] == 520
        assert after["all"]["connections"] == count.connections
        assert after["all"]["websockets_closed"] == len(lost)
        assert before["all"]["bytes_sent"] == after["all"]["bytes_sent"]
        for client in lost:
            with pytest.raises(fastws.ConnectionClosed):
                await client.ws.recv()
        # The new worker counts from nothing, and the totals go on.
        fresh = [await Client.connect(count) for _ in range(12)]
        await asyncio.gather(*(client.echo(25) for client in [*kept, *fresh]))
        last = await asyncio.to_thread(count.totals)
        assert last["all"]["messages_received"] == count.sent
        assert last["all"]["messages_sent"] == count.received
        assert last["own"]["messages_received"] < last["all"]["messages_received"]
        for client in [*kept, *fresh]:
            await client.ws.close()

    with running(tmp_path, "serve", "app:routes", "--port", 0, "--workers", 2) as server:
        count = Count(server)
        limited(lambda: siege(count))
        assert server.stop() == 0
    assert served_line(server) == (count.connections, count.sent, count.received)
    assert "Traceback" not in server.stderr()


def test_a_kill_in_the_middle_loses_no_count_of_what_clients_have(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)

    async def siege(count: Count) -> None:
        server = count.server
        clients = [await Client.connect(count) for _ in range(20)]
        killed = clients[0].worker
        for client in clients:
            client.count = Count(server)

        async def talk(client: Client) -> None:
            with contextlib.suppress(fastws.ConnectionClosed):
                await client.echo(100_000)

        talking = {client: asyncio.create_task(talk(client)) for client in clients}
        lost = [client for client in clients if client.worker == killed]
        await until(lambda: min(client.count.received for client in clients) > 50)
        os.kill(killed, signal.SIGKILL)
        await asyncio.wait([talking[client] for client in lost])
        await until(lambda: len(ready(server)) == 3)
        for client in clients:
            if client.worker != killed:
                talking[client].cancel()
        await asyncio.wait(list(talking.values()))
        for client in clients:
            if client.worker != killed:
                # Whatever was under way has been answered before the close.
                client.ws.close_nowait()
                with contextlib.suppress(fastws.ConnectionClosed):
                    while True:
                        await client.hear()
        await asyncio.gather(*(client.ws.wait_closed() for client in clients))
        totals = (await asyncio.to_thread(count.totals))["all"]
        received = count.received + sum(client.count.received for client in clients)
        most = sum(client.count.sent + 1 for client in clients)
        greetings = len(clients)
        assert received <= totals["messages_sent"] <= totals["messages_received"] + greetings
        assert totals["messages_received"] <= most
        # Each has at most one message under way.
        assert totals["messages_sent"] - received <= len(clients)

    with running(tmp_path, "serve", "app:routes", "--port", 0, "--workers", 2) as server:
        limited(lambda: siege(Count(server)))
        assert server.stop() == 0


def test_a_reload_in_the_middle_loses_no_count(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)

    async def siege(count: Count) -> None:
        server = count.server
        stop = asyncio.Event()

        async def talk() -> None:
            while not stop.is_set():
                client = await Client.connect(count)
                with contextlib.suppress(fastws.ConnectionClosed):
                    while not stop.is_set():
                        # Counted when it is echoed: a worker that closes takes no more.
                        await client.ws.send("x")
                        await client.hear()
                        count.sent += 1
                await client.ws.close()

        talking = [asyncio.create_task(talk()) for _ in range(20)]
        for reload in range(1, 3):
            before = count.received
            await until(lambda before=before: count.received > before + 500)
            server.process.send_signal(signal.SIGHUP)
            await until(lambda reload=reload: said(server, "reload: done", reload))
        first = pids(server, 6)
        for pid in first[:4]:
            await asyncio.to_thread(wait_gone, pid)
        stop.set()
        await asyncio.gather(*talking)
        totals = (await asyncio.to_thread(count.totals))["all"]
        assert totals["messages_sent"] == count.received
        assert totals["messages_received"] == count.sent
        assert totals["connections"] == count.connections
        assert totals["websockets_opened"] == totals["websockets_closed"] == count.connections - 1

    options = ["--port", 0, "--workers", 2, "--timeout-drain", 0.5]
    with running(tmp_path, "serve", "app:routes", *options) as server:
        count = Count(server)
        limited(lambda: siege(count))
        assert server.stop() == 0
    assert served_line(server) == (count.connections, count.sent, count.received)


# -- limits -------------------------------------------------------------------------------------------


async def attempt(count: Count, host: str = "127.0.0.1") -> Client | None:
    """Connect from an address of this machine; None where the server does not take it."""
    port = int(count.server.address().rpartition(":")[2])
    sock = socket.socket()
    sock.settimeout(0)
    sock.bind((host, 0))
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await Client.connect(count, sock=sock)
    except fastws.HandshakeRefused as refusal:
        assert refusal.response.status in (429, 503)
    except (OSError, fastws.FastWSError):
        pass
    sock.close()
    return None


async def full(count: Count, limit: int, host: str) -> list[Client]:
    """Connect until so many are open, all in all. A place that is free may need a moment to be one."""
    clients: list[Client] = []
    while len(clients) < limit:
        client = await attempt(count, host)
        if client is not None:
            clients.append(client)
    return clients


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize(
    ("option", "slip"), [("--limit-concurrency", 0), ("--limit-connections-per-address", SLIP)]
)
def test_a_limit_counts_for_all_workers(tmp_path: Path, workers: int, option: str, slip: int) -> None:
    (tmp_path / "app.py").write_text(APP)
    limit = 12

    async def siege(count: Count) -> None:
        server = count.server
        host = "127.0.0.2"
        tried = await asyncio.gather(*(attempt(count, host) for _ in range(100)))
        clients = [client for client in tried if client is not None]
        # Those who were refused may have held a place for a moment, so that fewer got in.
        assert 0 < len(clients) <= limit + slip * (workers - 1)
        for client in clients[limit:]:
            await client.ws.close()
        clients = clients[:limit]
        clients += await full(count, limit - len(clients), host)
        assert len({client.worker for client in clients}) > 1
        if not slip:
            assert await attempt(count, host) is None
        else:
            # Another address has its own places, and this one soon has no more.
            other = await attempt(count, "127.0.0.3")
            assert other is not None
            await other.ws.close()
            while (more := await attempt(count, host)) is not None:
                await more.ws.close()
        # A place that somebody leaves is there again, and so is that of a worker's that is killed.
        await clients.pop().ws.close()
        clients += await full(count, 1, host)
        killed = clients[0].worker
        os.kill(killed, signal.SIGKILL)
        await until(lambda: len(ready(server)) == workers + 1)
        kept = [client for client in clients if client.worker != killed]
        fresh = await full(count, limit - len(kept), host)
        for client in [*kept, *fresh]:
            await client.echo(1)
        for client in [*kept, *fresh]:
            await client.ws.close()

    with running(tmp_path, "serve", "app:routes", "--port", 0, "--workers", workers, option, limit) as server:
        limited(lambda: siege(Count(server)))
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()
