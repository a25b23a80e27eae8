"""Prometheus itself scrapes two workers under load."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from tests.cli.helpers import running
from tests.docs.test_operations import expressions
from tests.observe.scrapes import where
from tests.workers.helpers import until

websockets = pytest.importorskip("websockets")
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.foreign]

CONFIGURATION = """
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: chat
    static_configs: [{{targets: ["{target}"]}}]
"""
CLIENTS, ROOM = 20, 5


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian: prometheus")
def test_prometheus_scrapes_two_workers_under_load(tmp_path: Path, unused_tcp_port: int) -> None:
    def query(expression: str) -> float:
        url = f"http://127.0.0.1:{unused_tcp_port}/api/v1/query?query={quote(expression)}"
        with urlopen(url, timeout=10) as response:
            found = json.load(response)["data"]["result"]
        return sum(float(each["value"][1]) for each in found)

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
        assert await asyncio.to_thread(query, "min_over_time(up[1m])") == 1

    with running(tmp_path, "serve", "--port", 0, "--workers", 2, "--metrics", 0) as server:
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
