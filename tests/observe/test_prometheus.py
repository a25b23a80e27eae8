"""Prometheus itself scrapes two workers under load."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.cli.helpers import running
from tests.docs.test_operations import expressions
from tests.observe.scrapes import where
from tests.workers.helpers import until
from tests.workers.processes import pids

websockets = pytest.importorskip("websockets")
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.foreign]

CONFIGURATION = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: chat
    static_configs: [{{targets: ["{target}"]}}]
"""
CLIENTS, ROOM = 20, 5
COUNTER = re.compile("(fastws|process_cpu)_.*_(total|count|sum|bucket)")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian: prometheus")
def test_prometheus_scrapes_two_workers_under_load(tmp_path: Path, unused_tcp_port: int) -> None:
    def query(expression: str) -> float:
        url = f"http://127.0.0.1:{unused_tcp_port}/api/v1/query?query={quote(expression)}"
        with urlopen(url, timeout=10) as response:
            found = json.load(response)["data"]["result"]
        return sum(float(each["value"][1]) for each in found)

    def known() -> list[str]:
        with urlopen(f"http://127.0.0.1:{unused_tcp_port}/api/v1/label/__name__/values", timeout=10) as found:
            names: list[str] = json.load(found)["data"]
        return names

    async def load(address: str, finished: asyncio.Event) -> tuple[int, int]:
        """Talk until told to stop; how many messages were sent and received."""
        sent = received = 0

        async def talk(number: int) -> None:
            nonlocal sent, received
            path = "/echo" if number >= ROOM else "/broadcast"
            async with websockets.connect(address + path, compression=None) as client:
                while not finished.is_set():
                    await client.send("x" * 100)
                    sent += 1
                    if path == "/echo":
                        await client.recv()
                        received += 1
                    await asyncio.sleep(0.005)

        await asyncio.gather(*(talk(number) for number in range(CLIENTS)))
        return sent, received

    async def siege(address: str) -> None:
        finished = asyncio.Event()
        loading = asyncio.create_task(load(address, finished))

        def scraped() -> bool:
            try:
                return query("sum(rate(fastws_messages_received_total[2s]))") > 0
            except OSError:
                return False

        await asyncio.to_thread(until, scraped)
        assert await asyncio.to_thread(query, 'sum(fastws_connections{job="chat"})') == CLIENTS
        for expression in expressions():
            text = expression.replace("$__rate_interval", "2s").replace("$job", "chat")
            await asyncio.to_thread(query, text)  # each panel has an answer
        finished.set()
        sent, _ = await loading
        await asyncio.to_thread(until, lambda: query("sum(fastws_messages_received_total)") == sent)
        await asyncio.to_thread(until, lambda: query("sum(fastws_connections)") == 0)
        await disturbed(address)
        assert await asyncio.to_thread(query, "min_over_time(up[1m])") == 1

    async def restless(address: str, finished: asyncio.Event) -> None:
        """Echo until told to stop, and connect again."""
        while not finished.is_set():
            with suppress(OSError, websockets.ConnectionClosed, websockets.InvalidHandshake):
                async with websockets.connect(f"{address}/echo") as client:
                    while not finished.is_set():
                        await client.send("x" * 100)
                        await client.recv()
                        await asyncio.sleep(0.005)

    async def disturbed(address: str) -> None:
        """Kill a worker, and reload all of them: no counter goes back, and none begins anew."""
        finished = asyncio.Event()
        loading = [asyncio.create_task(restless(address, finished)) for _ in range(CLIENTS)]

        def ended(code: int) -> bool:
            return query(f'sum(fastws_closes_total{{code="{code}"}})') > 0

        await asyncio.to_thread(until, lambda: query("sum(fastws_connections)") == CLIENTS)
        os.kill((await asyncio.to_thread(pids, server, 2))[0], signal.SIGKILL)
        await asyncio.to_thread(pids, server, 3)
        await asyncio.to_thread(until, lambda: ended(1006))
        server.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(pids, server, 5)
        await asyncio.to_thread(until, lambda: ended(1012))
        finished.set()
        await asyncio.gather(*loading)
        names = await asyncio.to_thread(known)
        counters = [name for name in names if COUNTER.fullmatch(name)]
        moved = 0.0
        for name in counters:
            assert await asyncio.to_thread(query, f"sum(resets({name}[10m]))") == 0, name
            moved += await asyncio.to_thread(query, f"sum(changes({name}[10m]))")
        assert len(counters) > 20 and moved > 50

    with running(
        tmp_path, "serve", "--port", 0, "--workers", 2, "--timeout-drain", 0.5, "--metrics", 0
    ) as server:
        target = where(server).removeprefix("http://")
        (tmp_path / "prometheus.yml").write_text(CONFIGURATION.format(target=target))
        command = [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{unused_tcp_port}", "--log.level=error",
        ]  # fmt: skip
        with (tmp_path / "prometheus.log").open("wb") as log:
            prometheus = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            asyncio.run(siege(server.address().replace("http", "ws")))
        finally:
            prometheus.terminate()
            prometheus.wait(30)
        assert server.stop() == 0
