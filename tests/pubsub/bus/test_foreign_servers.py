"""Processes that other servers start share a hub by a path: uvicorn's workers, gunicorn's, and forks."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

import fastws
from tests.cli.helpers import ROOT, environment

pytestmark = pytest.mark.live

APP = "tests.pubsub.bus.chat_app:app"
UVICORN = [sys.executable, "-m", "uvicorn", APP, "--port", "0", "--workers", "2", "--app-dir", str(ROOT)]
GUNICORN = [sys.executable, "-m", "gunicorn", APP, "-k", "uvicorn_worker.UvicornWorker"]
GUNICORN += ["-w", "2", "-b", "127.0.0.1:0", "--chdir", str(ROOT)]
SERVERS = {
    "uvicorn": UVICORN,
    "plug-in": [*UVICORN, "--ws", "fastws.uvicorn:FastWSProtocol"],
    "gunicorn": GUNICORN,
    "gunicorn, preloaded": [*GUNICORN, "--preload"],
}
CLIENTS, MESSAGES = 10, 200


@dataclass
class Site:
    process: subprocess.Popen[bytes]
    log: Path
    bus: Path

    def text(self) -> str:
        return self.log.read_text()

    @property
    def address(self) -> str:
        return re.search(r"http://(127\.0\.0\.1:\d+)", self.text())[1]  # type: ignore[index]

    def who(self) -> dict[str, int]:
        """Ask one of the processes, as soon as one answers."""
        for _ in range(3000):
            try:
                with urlopen(f"http://{self.address}/pid", timeout=10) as answer:
                    found: dict[str, int] = json.load(answer)
                    return found
            except OSError:
                assert self.process.poll() is None, self.text()
                time.sleep(0.01)
        raise AssertionError(self.text())

    def both(self, but: int = 0) -> set[int]:
        """Return the numbers of both processes, as soon as both answer."""
        seen: set[int] = set()
        for _ in range(3000):
            seen.add(self.who()["pid"])
            seen.discard(but)
            if len(seen) == 2:
                return seen
            time.sleep(0.01)  # uvicorn may take 5 s to see that one of its processes is gone
        raise AssertionError(self.text())


@contextmanager
def running(name: str, folder: Path) -> Iterator[Site]:
    log = folder / "log"
    command = SERVERS[name]
    if name.startswith("gunicorn"):
        pytest.importorskip("gunicorn")
    bus = folder / "bus"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(FASTWS_BROKER=f"bus:{bus}"),
        )
    site = Site(process, log, bus)
    try:
        while "http://127.0.0.1:" not in site.text():
            assert process.poll() is None, site.text()
            time.sleep(0.01)
        site.both()
        yield site
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def talk(site: Site) -> tuple[list[list[str]], dict[int, int]]:
    """What each client hears of what all of them say, and how many each process has."""
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(CLIENTS):
            url = f"ws://{site.address}/ws/{number}"
            clients.append(await stack.enter_async_context(fastws.connect(url)))
        counts: dict[int, int] = {}
        while sum(counts.values()) < CLIENTS or len(counts) < 2:
            found = await asyncio.to_thread(site.who)
            counts[found["pid"]] = found["here"]
        for number in range(MESSAGES):
            await clients[number % CLIENTS].send(f"{number:04}")
        own = MESSAGES // CLIENTS
        heard = [[str(await ws.recv()) for _ in range(MESSAGES + own)] for ws in clients]
        return heard, counts


@pytest.mark.parametrize("name", SERVERS)
def test_fastapis_example_loses_nothing_between_processes(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as site:
        heard, counts = asyncio.run(talk(site))
        assert sum(counts.values()) == CLIENTS
        wanted = {f"Client #{n % CLIENTS} says: {n:04}" for n in range(MESSAGES)}
        for each in heard:
            said = [text for text in each if not text.startswith("You")]
            assert len(said) == len(set(said)) and set(said) == wanted
            for client in range(CLIENTS):
                numbers = [text[-4:] for text in said if text.startswith(f"Client #{client} ")]
                assert numbers == sorted(numbers)
        site.process.send_signal(signal.SIGTERM)
        site.process.wait(15)
        assert "Traceback" not in site.text()
        asyncio.run(take_over(site.bus))
        assert [path.name for path in site.bus.iterdir()] == ["lock"]


async def take_over(bus: Path) -> None:
    """uvicorn ends by the signal that it was sent, so its sockets stay; the next one removes them."""
    async with fastws.Hub("other", broker=f"bus:{bus}") as hub:
        assert await hub.total("chat") == 0


def test_a_killed_process_costs_the_clients_of_the_other_nothing(tmp_path: Path) -> None:
    with running("uvicorn", tmp_path) as site:
        first = site.who()["pid"]
        before = set(site.bus.glob("*.sock"))
        os.kill(first, signal.SIGKILL)
        site.both(but=first)
        heard, counts = asyncio.run(talk(site))
        assert sum(counts.values()) == CLIENTS and first not in counts
        assert all(len(set(each)) == MESSAGES + MESSAGES // CLIENTS for each in heard)
        # The newcomer has removed the socket of the dead one.
        after = set(site.bus.glob("*.sock"))
        assert len(after) == 2 and len(after & before) == 1
