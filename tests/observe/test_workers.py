"""With three workers and ``--metrics``: the numbers of all are those that foreign clients counted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cli.helpers import Child, fastws, get, running
from tests.kit.redis import Redis, need_redis
from tests.observe.scrapes import Scrape, check_with_promtool, scrape, where
from tests.workers.helpers import until
from tests.workers.processes import pids, wait_gone

websockets = pytest.importorskip("websockets")
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.foreign]

APP = """
import os
import fastws

async def echo(ws):
    await ws.send(str(os.getpid()))
    async for message in ws:
        await ws.send(message)

routes = [fastws.Route("/echo", echo), fastws.Route("/other/{name}", echo)]
"""


class Client:
    """A client of another library, which counts for itself."""

    def __init__(self, count: Counter[str], path: str) -> None:
        self.count, self.path = count, path
        self.pid = 0

    async def connect(self, server: Child) -> None:
        url = server.address().replace("http", "ws") + self.path
        self.ws = await websockets.connect(url, compression=None, ping_interval=None)
        self.count["opened", self.route] += 1
        self.pid = int(await self.hear())

    @property
    def route(self) -> str:
        return "/echo" if self.path == "/echo" else "/other/{name}"

    async def hear(self) -> str:
        message = await self.ws.recv()
        self.count["received", self.route] += 1
        self.count["received bytes", self.route] += 2 + len(message)
        return str(message)

    async def talk(self, messages: int) -> None:
        for number in range(messages):
            await self.ws.send(str(number))
            self.count["sent", self.route] += 1
            self.count["sent bytes", self.route] += 6 + len(str(number))
            assert await self.hear() == str(number)


def compare(found: Scrape, count: Counter[str], open_now: Counter[str]) -> None:
    for route in ("/echo", "/other/{name}"):
        assert found.sum("fastws_messages_received_total", route=route) == count["sent", route]
        assert found.sum("fastws_messages_sent_total", route=route) == count["received", route]
        assert found.sum("fastws_bytes_received_total", route=route) == count["sent bytes", route]
        assert found.sum("fastws_bytes_sent_total", route=route) == count["received bytes", route]
        assert found.sum("fastws_connections", route=route) == open_now[route]
    opened = count["opened", "/echo"] + count["opened", "/other/{name}"]
    assert found.sum("fastws_handshakes_total", result="accepted") == opened
    assert found.sum("fastws_closes_total") == opened - open_now.total()


def test_sums_are_what_clients_counted_before_and_after_a_kill(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    count: Counter[str] = Counter()

    async def siege(server: Child) -> None:
        clients = [Client(count, "/echo" if number % 3 else f"/other/{number}") for number in range(24)]
        await asyncio.gather(*(client.connect(server) for client in clients))
        assert len({client.pid for client in clients}) == 3
        await asyncio.gather(*(client.talk(20) for client in clients))
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(server.address().replace("http", "ws") + "/nowhere")
        # Nothing is under way: exact.
        before = scrape(server)
        compare(before, count, Counter(client.route for client in clients))
        assert before.sum("fastws_handshakes_total", result="not_found") == 1
        assert before.sum("fastws_http_requests_total", status="404") == 1
        assert before.sum("fastws_workers", state="ready") == 3
        check_with_promtool(before.text)

        killed = clients[0].pid
        os.kill(killed, signal.SIGKILL)
        await asyncio.to_thread(pids, server, 4)
        await asyncio.to_thread(wait_gone, killed)
        kept = [client for client in clients if client.pid != killed]
        lost = len(clients) - len(kept)
        after = scrape(server)
        compare(after, count, Counter(client.route for client in kept))
        assert after.sum("fastws_closes_total", code="1006", initiator="none") == lost
        assert after.sum("process_cpu_seconds_total") >= before.sum("process_cpu_seconds_total")

        fresh = [Client(count, "/echo") for _ in range(9)]
        await asyncio.gather(*(client.connect(server) for client in fresh))
        await asyncio.gather(*(client.talk(20) for client in [*kept, *fresh]))
        last = scrape(server)
        compare(last, count, Counter(client.route for client in [*kept, *fresh]))
        for name, labels, value in before.samples:
            if name.endswith(("_total", "_count", "_sum", "_bucket")):
                assert last.sum(name, **labels) >= value, (name, labels)
        await asyncio.gather(*(client.ws.close(4001) for client in [*kept, *fresh]))
        await asyncio.to_thread(until, lambda: scrape(server).sum("fastws_connections") == 0)
        ended = scrape(server)
        assert ended.sum("fastws_closes_total", code="4xxx", initiator="client") == len(kept) + len(fresh)
        check_with_promtool(ended.text)

    with running(tmp_path, "serve", "app:routes", "--port", 0, "--workers", 3, "--metrics", 0) as server:
        metrics = where(server)
        assert get(metrics, "/livez")[0] == get(metrics, "/readyz")[0] == 200
        asyncio.run(siege(server))
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()


SLOW_START = """
import os, time
while not os.path.exists("go"):
    time.sleep(0.01)
import fastws

async def echo(ws):
    async for message in ws:
        await ws.send(message)
"""


def test_readyz_is_503_while_the_server_starts_and_drains(tmp_path: Path, unused_tcp_port: int) -> None:
    (tmp_path / "app.py").write_text(SLOW_START)
    metrics = f"http://127.0.0.1:{unused_tcp_port}"
    options = ["--port", 0, "--workers", 2, "--metrics", unused_tcp_port]

    def readyz() -> tuple[int, bytes]:
        try:
            status, _, body = get(metrics, "/readyz")
        except OSError:
            return 0, b""
        return status, body

    with running(tmp_path, "serve", "app:echo", *options, "--pid", "server.pid") as server:
        until(lambda: readyz() == (503, b"not ready: it starts\n"))
        assert get(metrics, "/livez")[0] == 200
        assert int((tmp_path / "server.pid").read_text()) == server.process.pid
        (tmp_path / "go").touch()
        server.address()
        until(lambda: readyz()[0] == 200)

        async def drain() -> None:
            url = server.address().replace("http", "ws") + "/"
            # It answers no close frame, so that the server waits for it.
            client = await websockets.connect(url, close_timeout=30, ping_interval=None)
            client.transport.pause_reading()
            server.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: readyz() == (503, b"not ready: it drains\n"))
            client.transport.abort()

        asyncio.run(drain())
        assert server.process.wait(30) == 0
    assert not (tmp_path / "server.pid").exists()


def test_a_person_looks_and_gives_orders(tmp_path: Path) -> None:
    """The commands of docs/operations.md."""
    workers = 2
    (tmp_path / "app.py").write_text(APP)
    tmp_path.chmod(0o700)

    def look() -> dict[str, Any]:
        done = fastws("top", "control", "--once", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def order(*words: str) -> str:
        done = fastws("ctl", *words, cwd=tmp_path, FASTWS_CONTROL="control")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    async def visit(server: Child) -> None:
        count: Counter[str] = Counter()
        clients = [Client(count, "/echo") for _ in range(12)]
        await asyncio.gather(*(client.connect(server) for client in clients))
        found = await asyncio.to_thread(look)
        assert found["websockets"] == 12 and len(found["clients"]) == 12
        assert {each["pid"] for each in found["workers"]} == {client.pid for client in clients}
        name = found["clients"][0]["id"]
        assert await asyncio.to_thread(order, "close", name) == f"closed {name}"
        closed = [asyncio.create_task(client.ws.wait_closed()) for client in clients]
        await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED)
        found = await asyncio.to_thread(look)
        assert found["websockets"] == 11 and found["closes"] == {"1008 server": 1}
        assert "debug now" in await asyncio.to_thread(order, "log-level", "debug")
        await asyncio.to_thread(order, "reload")
        await asyncio.to_thread(pids, server, 2 * workers)
        await asyncio.to_thread(order, "drain")
        await asyncio.gather(*closed)
        assert {client.ws.close_code for client in clients} <= {1001, 1008, 1012}

    options = ["--port", 0, "--workers", workers, "--control", "control", "--timeout-drain", 0.1]
    with running(tmp_path, "serve", "app:routes", *options) as server:
        server.address()
        assert (tmp_path / "control").stat().st_mode & 0o777 == 0o600
        asyncio.run(visit(server))
        assert server.process.wait(30) == 0
    assert not (tmp_path / "control").exists()
    orders = re.findall(r"an order at the control socket: (.*)", server.stderr())
    assert [order.split()[0] for order in orders] == ["close", "log-level", "reload", "drain"]
    assert orders[1] == "log-level debug"
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("workers", [1, 2])
def test_whether_the_broker_is_up(tmp_path: Path, workers: int) -> None:
    need_redis()
    with Redis(tmp_path / "redis") as redis:
        options = ["--workers", workers, "--metrics", 0, "--broker", redis.url, "--require-broker"]
        with running(tmp_path, "serve", "--port", 0, *options) as server:

            def up() -> float:
                found = scrape(server)
                assert "fastws_broker_up" in found.names()
                return found.sum("fastws_broker_up", broker="redis")

            until(lambda: get(where(server), "/readyz")[0] == 200)
            assert up() == 1
            redis.stop(signal.SIGKILL)
            until(lambda: get(where(server), "/readyz")[2] == b"not ready: the broker is away\n")
            assert up() == 0 and get(where(server), "/livez")[0] == 200
            redis.start()
            until(lambda: get(where(server), "/readyz")[0] == 200)
            assert up() == 1
            assert server.stop() == 0
