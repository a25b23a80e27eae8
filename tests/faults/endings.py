"""F8 and F11: a signal while much is on its way, and a log that nobody reads."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time

from tests.cli.helpers import environment
from tests.faults.harness import Herd, Record, Site, herd, row, server
from tests.faults.slow import NARROW
from tests.live.raw import TEXT, Peer, frame

MESSAGES = 10


@row("F8", "SIGTERM with 10 messages waiting for each of 1,000 clients, 10 of whom read nothing")
def signalled(record: Record) -> None:
    readers, deaf = record.choose((990, 10), (95, 5))
    for size in (1, 16):
        with server(clean=False) as site:
            with (
                herd(site, readers, path="/last-words", **NARROW) as live,
                herd(site, deaf, path="/last-words", kind="deaf", **NARROW),
            ):
                _end(record, site, live, readers, size)
            record.equal(f"{size} KiB: tracebacks", site.stderr().count("Traceback"), 0)
    _second_signal(record)
    _embedded(record)


def _end(record: Record, site: Site, live: Herd, readers: int, size: int) -> None:
    closed: list[float] = []
    poller = threading.Thread(target=_until_refused, args=(site.port, closed))
    with Peer(site.port) as starter:
        starter.upgrade("/last-words")
        poller.start()
        starter.send(frame(TEXT, b"go %d %d" % (MESSAGES, size * 1024)))
        code = site.process.wait(30)
        ended = time.monotonic()
    poller.join()
    found = re.search(r"^signalled (\S+)", site.stdout(), re.M)
    assert found is not None, site.stdout()[-300:]
    sent = float(found[1])
    time.sleep(0.5)
    seen = live.stats()
    closing = (closed[0] - sent) * 1000
    if size == 1:
        record.at_most("1 KiB: listener closed after", closing, 50, "ms")
    else:
        record.note(
            f"{size} KiB each: {readers * MESSAGES * size // 1024} MiB go out in the turn of the signal, and "
            f"the listener closes behind them, after {closing:.0f} ms"
        )
    record.equal(f"{size} KiB: messages that live readers have", seen["messages"], readers * MESSAGES)
    record.equal(f"{size} KiB: out of order", seen["disorder"], 0)
    share = seen["closes"].get("1001", 0) / readers * 100
    record.at_least(f"{size} KiB: live readers that saw the close with 1001", share, 99, "%")
    record.equal(f"{size} KiB: exit code", code, 0)
    record.at_most(f"{size} KiB: process ended after", ended - sent, 10, "s")


def _until_refused(port: int, into: list[float]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            Peer(port).sock.close()
        except ConnectionRefusedError:
            into.append(time.monotonic())
            return
        except OSError:
            pass
        time.sleep(0.002)
    into.append(float("inf"))


def _second_signal(record: Record) -> None:
    with server(clean=False) as site, herd(site, 10, path="/never-returns", kind="deaf"):
        site.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        again = time.monotonic()
        site.process.send_signal(signal.SIGTERM)
        site.process.wait(15)
        record.at_most("second SIGTERM: ended after", time.monotonic() - again, 1, "s")


EMBEDDED = """
import asyncio, signal, fastws

async def echo(ws):
    async for message in ws:
        await ws.send(message)

async def main():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    async with fastws.serve(echo, "127.0.0.1", 0) as server:
        clients = [await fastws.connect(f"ws://127.0.0.1:{server.port}/") for _ in range(20)]
        for client in clients:
            await client.send("x")
            assert await client.recv() == "x"
    for client in clients:
        await client.close()
    await asyncio.sleep(0.1)
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    print(len(asyncio.all_tasks()) - 1, before == after)

asyncio.run(main())
"""


def _embedded(record: Record) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EMBEDDED], capture_output=True, text=True, timeout=30, env=environment()
    )
    said = done.stdout.strip() or done.stderr[-200:]
    record.equal("embedded: tasks left in the host's loop, signals as before", said, "0 True")


@row("F11", "a stdout pipe that nobody reads")
def unread_log(record: Record) -> None:
    source, sink = os.pipe()
    try:
        with server(stdout=sink) as site, herd(site, 1, kind="echo", interval=0.01) as normal:
            os.close(sink)
            normal.stats()
            count = record.choose(20_000, 3_000)
            with Peer(site.port) as plain:
                for _ in range(count):
                    plain.send(b"GET /nowhere/%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 100))
                    plain.response()
            seen = normal.stats()
            record.equal("an echo beside it: lost or wrong", seen["ended"] + seen["disorder"], 0)
            # A loop that waits for the pipe would stand until somebody reads: for ever, here.
            record.at_most("the slowest echo beside it", seen["delays"]["max"], 50, "ms")
            record.note(f"{count:,} lines of about 170 bytes for a pipe of 64 KiB")
    finally:
        os.close(source)
