"""A hostile client for each page of the gallery: it costs little memory, and nobody else notices it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import Child, running

pytestmark = pytest.mark.live

MIB = 2**20
#: What one client of a page may cost at most.
MOST = 64 * MIB
MOST_COMMANDS = 1000
#: As a feed takes at most, 50 a second, and without any.
PATIENT, AT_ONCE = 1 / 48, 0.0


def resident(child: Child) -> int:
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@contextlib.asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Child, str]]:
    with running(folder, "serve", "--port", 0) as child:
        yield child, child.address().replace("http", "ws", 1)
        child.stop()
        assert "Traceback" not in child.stderr()


async def flood(url: str, commands: list[str], pause: float) -> None:
    """Say commands again and again, and read what comes, until it is over."""
    async with fastws.connect(url) as ws:
        reading = asyncio.create_task(read(ws))
        with contextlib.suppress(fastws.ConnectionClosed):
            for command in itertools.islice(itertools.cycle(commands), MOST_COMMANDS):
                await ws.send(command)
                await asyncio.sleep(pause)
        reading.cancel()
        await asyncio.wait([reading])


async def read(ws: fastws.WebSocket) -> None:
    with contextlib.suppress(fastws.ConnectionClosed):
        async for _ in ws:
            pass


async def stall(url: str, *commands: str) -> None:
    """Say commands, and read nothing of what comes."""
    async with fastws.connect(url, limits={"receive_queue": 1}) as ws:
        for command in commands:
            await ws.send(command)
        await asyncio.sleep(2)


TEXT = "x" * 500
ROOMS = [json.dumps({"auth": f"secret-of-sixteen {TEXT[:20]}"})]
ROOMS += [json.dumps({"sub": f"rooms/{n}{part}"}) for n in range(40) for part in ("", "/typing", "/rules")]
TALK = [json.dumps({"pub": f"rooms/{n % 10}", "d": {"text": TEXT}, "id": n}) for n in range(40)]
COMMENTS = [json.dumps({"pub": "bullets", "d": {"text": "x" * 80, "colour": 1}, "id": n}) for n in range(40)]
QUOTES = [json.dumps({"sub": "quotes"}), json.dumps({"unsub": "quotes"})]


@pytest.mark.parametrize(
    ("path", "commands"),
    [
        ("/feeds/rooms", [*ROOMS, *TALK]),
        ("/feeds/quotes", QUOTES),
        ("/feeds/bullets", ['{"sub":"bullets"}', *COMMENTS]),
    ],
    ids=["rooms", "quotes", "bullets"],
)
@pytest.mark.parametrize("pause", [PATIENT, AT_ONCE], ids=["patient", "at-once"])
async def test_who_floods_costs_little(path: str, commands: list[str], pause: float, tmp_path: Path) -> None:
    async with served(tmp_path) as (child, url):
        before = resident(child)
        async with fastws.connect(url + "/echo") as other:
            hostile = [asyncio.create_task(flood(url + path, commands, pause)) for _ in range(5)]
            for n in range(20):
                await other.send(f"{n}")
                assert await other.recv() == f"{n}"
                await asyncio.sleep(0.1)
            for each in hostile:
                each.cancel()
            await asyncio.gather(*hostile, return_exceptions=True)
        assert resident(child) - before < MOST


@pytest.mark.parametrize(
    ("path", "commands"),
    [
        ("/feeds/rooms", ROOMS[:3]),
        ("/feeds/quotes", QUOTES[:1]),
        ("/feeds/bullets", ['{"sub":"bullets"}']),
    ],
    ids=["rooms", "quotes", "bullets"],
)
async def test_who_does_not_read_costs_little(path: str, commands: list[str], tmp_path: Path) -> None:
    async with served(tmp_path) as (child, url):
        before = resident(child)
        await asyncio.gather(*[stall(url + path, *commands) for _ in range(10)])
        assert resident(child) - before < MOST
