"""F18: clients that come, say something and go, without end: nothing may stay behind."""

from __future__ import annotations

import asyncio
import time
from statistics import median

from tests.faults.harness import MIB, Record, Site, herd, row, server
from tests.live.raw import CLOSE, TEXT, close_frame, frame, frames, upgrade

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


@row("F18", "50 connections a second that echo and go, 200 messages a second, deflate on")
def churn(record: Record) -> None:
    seconds = record.choose(300, 4)
    with server("--no-access-log") as site, herd(site, 20, kind="echo", interval=0.1, fields=[OFFER]) as stay:
        asyncio.run(_churn(site, 2.0))
        stay.stats()
        files = site.files()
        samples: list[tuple[float, float]] = []
        quantiles: list[float] = []
        done = asyncio.run(_churn(site, seconds, samples))
        quantiles.append(stay.stats()["delays"]["p99"])
        time.sleep(0.5)
        counters = site.counters()
        record.at_least("connections", done, int(seconds * 45))
        record.at_most("files more", site.files() - files - 0, 5)
        record.equal("uncollectable objects", counters["uncollectable"], 0)
        record.at_most("the p99 of those who stay", quantiles[0], 100, "ms")
        if record.full:
            # The first third warms up: buffers, compressors, the allocator's arenas.
            settled = samples[len(samples) // 3 :]
            record.at_most("resident, growth once settled", slope(settled) * 3600 / MIB, 1, "MiB an hour")
            grown = (median([m for _, m in settled[-10:]]) - median([m for _, m in settled[:10]])) / MIB
            record.note(
                f"shortened: {seconds / 60:.0f} minutes instead of 2 hours; {done:,} connections, and in "
                f"the last {settled[-1][0] - settled[0][0]:.0f} s resident memory went from "
                f"{settled[0][1] / MIB:.2f} by {grown:+.2f} MiB"
            )


def slope(samples: list[tuple[float, float]]) -> float:
    """The least-squares slope of (x, y)."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


async def _churn(site: Site, seconds: float, samples: list[tuple[float, float]] | None = None) -> int:
    """Open 50 connections a second for so long; return how many were right from end to end."""
    began = time.monotonic()
    running: set[asyncio.Task[bool]] = set()
    done = failed = number = 0
    while (now := time.monotonic() - began) < seconds:
        running.add(asyncio.create_task(_visit(site.port, number)))
        number += 1
        if samples is not None and number % 50 == 0:
            samples.append((now, site.rss()))
        await asyncio.sleep(max(0.0, number / 50 - (time.monotonic() - began)))
        for task in [task for task in running if task.done()]:
            running.discard(task)
            done, failed = done + task.result(), failed + (not task.result())
    results = await asyncio.gather(*running)
    assert failed + results.count(False) == 0, f"{failed} visits failed"
    return done + results.count(True)


async def _visit(port: int, number: int) -> bool:
    """Connect, echo three messages, one of them large enough to come back compressed, and close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(upgrade("/echo", OFFER))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            return False
        words = [b"%d short" % number, b"%d " % number * 300, b"last"]
        for word in words:
            writer.write(frame(TEXT, word))
        writer.write(close_frame(1000))
        data = b""
        while more := await reader.read(65536):
            data += more
        answers = frames(data)
        return [each.opcode for each in answers] == [TEXT] * 3 + [CLOSE] and answers[2].payload == b"last"
    finally:
        writer.close()
