"""F7: more clients than the process may have file descriptors."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from tests.faults.harness import Record, Site, herd, row, server
from tests.kit.process import cpu_seconds
from tests.live.raw import Peer, upgrade

FILES = 256


@row("F7", "400 clients of a process that may have 256 files")
def exhausted(record: Record) -> None:
    for loop in ("uvloop", "asyncio"):
        _exhaust(record, loop, record.choose(60, 2))


def _exhaust(record: Record, loop: str, seconds: float) -> None:
    limit = ("prlimit", f"--nofile={FILES}:{FILES}")
    with server("--loop", loop, "--no-access-log", prefix=limit) as site, herd(site, 100, **ECHO) as existing:
        with herd(site, 50, **ECHO):
            existing.stats()
            cpu, lines = cpu_seconds(site.pid), site.stderr().count("\n")
            answers = asyncio.run(_press(site, 250, seconds))
            seen = existing.stats()
            cpu = cpu_seconds(site.pid) - cpu
            lines = site.stderr().count("\n") - lines
        served = _served_again(site)
        left = existing.stats()
    record.equal(f"{loop}: existing clients lost", left["ended"] + seen["disorder"] + left["disorder"], 0)
    record.at_most(f"{loop}: existing clients' p99", seen["delays"]["p99"], 100, "ms")
    record.at_most(f"{loop}: server's CPU", cpu / seconds * 100, 20, "% of a core")
    record.at_most(f"{loop}: lines in the log", lines / seconds, 1, "a second")
    record.equal(f"{loop}: of the excess, unanswered for 10 s", answers["nothing"], 0)
    record.at_most(f"{loop}: a new client, once files are free", served, 1, "s")
    record.note(f"{loop}: the excess was answered {dict(answers)}")


ECHO: dict[str, Any] = {"kind": "echo", "interval": 0.5}


async def _press(site: Site, count: int, seconds: float) -> Counter[str]:
    """Clients that want to come in, and try again a second after each refusal; who is in, stays."""
    answers: Counter[str] = Counter()
    until = time.monotonic() + seconds

    async def one(number: int) -> None:
        await asyncio.sleep(number / count)
        while time.monotonic() < until:
            answer, writer = await _ask(site)
            answers[answer] += 1
            if answer == "101" and writer is not None:
                await asyncio.sleep(max(0.0, until - time.monotonic()))
            if writer is not None:
                writer.close()
            await asyncio.sleep(1)

    await asyncio.gather(*[one(number) for number in range(count)])
    return answers


async def _ask(site: Site) -> tuple[str, asyncio.StreamWriter | None]:
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(upgrade("/echo"))
        async with asyncio.timeout(10):
            head = await reader.read(12)
    except TimeoutError:
        return "nothing", writer
    except OSError:
        return "closed", writer
    return (head[9:12].decode() if head else "closed"), writer


def _served_again(site: Site) -> float:
    """Seconds until a new client has its WebSocket, from the moment when others have gone."""
    started = time.monotonic()
    while time.monotonic() - started < 10:
        try:
            with Peer(site.port) as peer:
                peer.upgrade("/echo")
                return time.monotonic() - started
        except (OSError, EOFError, AssertionError):
            time.sleep(0.05)
    return float("inf")
