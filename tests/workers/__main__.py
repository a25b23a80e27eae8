"""``python -m tests.workers``: the figures that several workers promise, measured; about a minute.

They depend on what else the machine does, so no test decides by them: it should do nothing else, and have two
cores at least. Exit code: 0 every bound held, 1 otherwise.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import fastws
from fastws.loop.event_loops import loop_factory
from tests.cli.helpers import Child, running
from tests.workers.crowd import ECHO_APP
from tests.workers.processes import READY, gone, pids

LIMIT_SECONDS = 120
CONNECTS, CONNECTS_PER_SECOND, RELOADS = 6_000, 1_200, 3
HELD = 200
DRAIN_SECONDS = 3.0
CROWD = 2_000
LATE = 400

lines: list[tuple[str, str, str, bool]] = []


def note(what: str, bound: str, value: str, *, held: bool) -> None:
    lines.append((what, bound, value, held))
    print(f"{'ok    ' if held else 'MISSED'} {what}: {value} (bound: {bound})", flush=True)


def url_of(server: Child) -> str:
    return server.address().replace("http", "ws", 1) + "/"


async def connect(url: str) -> tuple[fastws.WebSocket, int]:
    """A WebSocket, and the process that serves it."""
    ws = await fastws.connect(url, open_timeout=30)
    return ws, int(await ws.recv())


async def until(happened: Callable[[], object]) -> float:
    """The time at which it has happened, as seen every 5 ms."""
    while not happened():
        await asyncio.sleep(0.005)
    return time.monotonic()


# -- three reloads under load -------------------------------------------------------------------------


class Reloads:
    """Connects at a fixed rate while the server reloads, and holds WebSockets that it closes."""

    def __init__(self, server: Child) -> None:
        self.server = server
        self.url = url_of(server)
        self.failures: Counter[str] = Counter()
        self.codes: Counter[int | None] = Counter()
        #: By process: when it said that it closes its connections; and when each of its clients was closed.
        self.left: dict[int, float] = {}
        self.closed: list[tuple[int, float]] = []
        self.connects = 0

    async def one(self) -> None:
        try:
            ws, _ = await connect(self.url)
        except fastws.ConnectionClosed:
            self.codes[1012] += 1  # opened, and closed by a worker that leaves
        except (OSError, fastws.FastWSError) as error:
            self.failures[type(error).__name__] += 1
        else:
            await ws.close()
            self.codes[ws.close_code] += 1

    async def hold(self) -> None:
        ws, pid = await connect(self.url)
        self.holding += 1
        await ws.wait_closed()
        self.codes[ws.close_code] += 1
        self.closed.append((pid, time.monotonic()))

    async def watch(self) -> None:
        """Note when each worker begins to leave."""
        while True:
            log = self.server.stderr()
            workers = dict(re.findall(r"worker (\d+) \(pid (\d+)\) is ready", log))
            for number in re.findall(r"\[(\d+)\] \d+ connections are closed within", log):
                self.left.setdefault(int(workers[number]), time.monotonic())
            await asyncio.sleep(0.01)

    async def run(self) -> None:
        self.holding = 0
        watching = asyncio.create_task(self.watch())
        held = [asyncio.create_task(self.hold()) for _ in range(HELD)]
        await until(lambda: self.holding == HELD)
        running: set[asyncio.Task[None]] = set()
        began = time.monotonic()
        reloads = 0
        while self.connects < CONNECTS or self.done() < RELOADS:
            if self.done() == reloads < RELOADS and self.connects >= (2 * reloads + 1) * CONNECTS // 8:
                self.server.process.send_signal(signal.SIGHUP)
                reloads += 1
            due = min(int((time.monotonic() - began) * CONNECTS_PER_SECOND), self.connects + 100)
            for _ in range(due - self.connects):
                task = asyncio.create_task(self.one())
                running.add(task)
                task.add_done_callback(running.discard)
            self.connects = due
            await asyncio.sleep(0.005)
        rate = self.connects / (time.monotonic() - began)
        await asyncio.gather(*running, *held)
        watching.cancel()
        late = max(at - self.left[pid] for pid, at in self.closed)
        failed = f"{self.failures.total()} of {self.connects:,} at {rate:,.0f}/s {dict(self.failures) or ''}"
        note("connects that fail in three reloads", "0 of 6,000", failed, held=not self.failures)
        codes = dict(sorted(self.codes.items(), key=str))
        held_so = set(codes) <= {1000, 1012} and self.codes[1012] >= HELD
        note("close codes in three reloads", "1000 and 1012", str(codes), held=held_so)
        window = f"{late:.2f} s after their worker begins to leave"
        note(f"the last of {HELD} held", f"{DRAIN_SECONDS:g} s", window, held=late <= DRAIN_SECONDS)

    def done(self) -> int:
        return self.server.stderr().count("reload: done")


async def reloads(server: Child) -> None:
    await Reloads(server).run()


# -- the others ---------------------------------------------------------------------------------------


async def replacement(server: Child) -> None:
    await asyncio.sleep(1)
    began = time.monotonic()
    os.kill(pids(server, 2)[0], signal.SIGKILL)
    took = await until(lambda: len(READY.findall(server.stderr())) == 3) - began
    note("replacement ready after kill -9", "2 s", f"{took:.2f} s", held=took <= 2)


async def fairness(server: Child) -> None:
    url = url_of(server)
    pids(server, 4)
    opened = await asyncio.gather(*(connect(url) for _ in range(CROWD)))
    shares = sorted(Counter(pid for _, pid in opened).values())
    ratio = shares[-1] / shares[0] if len(shares) == 4 else float("inf")
    note(f"{CROWD:,} connections at once, 4 workers", "1.15", f"{ratio:.3f} {shares}", held=ratio <= 1.15)
    await asyncio.gather(*(ws.close() for ws, _ in opened))


async def stopped(server: Child) -> None:
    url = url_of(server)
    victim = pids(server, 4)[0]
    await asyncio.sleep(1)
    os.kill(victim, signal.SIGSTOP)
    try:
        results = await asyncio.gather(*(connect(url) for _ in range(LATE)), return_exceptions=True)
    finally:
        os.kill(victim, signal.SIGCONT)
    failures = [each for each in results if isinstance(each, BaseException)]
    note(
        "connects that fail while one of 4 is stopped",
        f"0 of {LATE}",
        f"{len(failures)} {Counter(type(each).__name__ for each in failures) or ''}",
        held=not failures,
    )


async def orphans(server: Child) -> None:
    workers = pids(server, 4)
    clients = [await connect(url_of(server)) for _ in range(40)]
    began = time.monotonic()
    server.process.kill()
    took = await until(lambda: all(gone(pid) for pid in workers)) - began
    note("no worker after the supervisor's kill -9", "1 s", f"{took:.2f} s", held=took <= 1)
    await asyncio.gather(*(ws.wait_closed() for ws, _ in clients))


def measure(workers: int, what: Callable[[Child], Awaitable[None]], *options: object) -> None:
    async def run() -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await what(server)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(ECHO_APP)
        args = ["app:routes", "--port", 0, "--workers", workers, "--no-access-log", *options]
        with running(folder, "serve", *args) as server:
            server.address()
            pids(server, workers)
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(run())
            if server.process.poll() is None:
                server.stop(signal.SIGINT)
            if "Traceback" in server.stderr():
                note("the log", "no traceback", server.stderr()[-2000:], held=False)


def main() -> int:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}", flush=True)
    measure(2, reloads, "--timeout-drain", DRAIN_SECONDS)
    for _ in range(3):
        measure(2, replacement)
    measure(4, fairness)
    measure(4, stopped)
    measure(4, orphans)
    return 0 if all(held for *_, held in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
