"""Documents of Yjs: a thousand that come and go, a large one, a hundred people who move, and an attack."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import fastws
from fastws.yjs.protocol import STEP_1, STEP_2, SYNC, UPDATE, Entry, awareness_message, sync_message
from tests.faults.harness import MIB, Record, Site, row, server
from tests.kit.process import cpu_seconds
from tests.yjs.editors import number, structs

#: Each a struct that never becomes one with its neighbour, or always does.
EMBEDDED, SINGLE_VALUE = b"\x05\x031.5", b"\x08\x01\x7e"


@row("documents", "1,000 documents that come and go; one of 1 MB; 100 people who move; a hostile client")
def documents(record: Record) -> None:
    with server("--no-access-log") as site:
        asyncio.run(_come_and_go(record, site))
    with server("--no-access-log") as site:
        asyncio.run(_large(record, site))
        asyncio.run(_move(record, site))
    with server("--no-access-log") as site:
        asyncio.run(_attack(record, site))


async def _come_and_go(record: Record, site: Site) -> None:
    count, pause = record.choose(1000, 50), record.choose(8, 1)
    # Once, for what the process itself keeps: buffers of connections, threads, pycrdt.
    await _open_and_close(site, count, 0)
    await asyncio.sleep(pause)
    before = site.rss()
    top = await _open_and_close(site, count, count)
    await asyncio.sleep(pause)
    back = 100 * (top - site.rss()) / (top - before)
    record.note(f"{count:,} documents take {(top - before) / MIB:.1f} MiB, with their connections")
    if record.full:
        record.at_least("of that given back", back, 95, "%")


async def _open_and_close(site: Site, count: int, first: int) -> int:
    """Open so many documents with a few pages of text each; return the memory of the process meanwhile."""
    few = asyncio.Semaphore(20)
    update = sync_message(UPDATE, structs(7, 300, EMBEDDED))
    clients: list[Any] = []

    async def one(index: int) -> None:
        async with few:
            ws = await _connect(site, f"document-{index}")
            await ws.send(update)
            await _synced(ws)
            clients.append(ws)

    await asyncio.gather(*(one(first + index) for index in range(count)))
    top = site.rss()
    await asyncio.gather(*(ws.close() for ws in clients))
    return top


async def _large(record: Record, site: Site) -> None:
    """A text of 1 MB, which was typed in many places."""
    ws = await _connect(site, "large")
    await ws.send(sync_message(UPDATE, structs(7, 10_000, EMBEDDED)))
    await ws.send(sync_message(UPDATE, structs(8, 10_000, b"\x04\x55" + b"x" * 85)))
    await _synced(ws)
    await ws.close()
    await asyncio.sleep(1)  # it is stored, and leaves memory
    began = time.monotonic()
    ws = await _connect(site, "large")
    size = await _synced(ws)
    record.at_least("bytes of a document", size, 900_000)
    record.at_most("to open it", 1000 * (time.monotonic() - began), 1000, "ms")
    await ws.close()


async def _move(record: Record, site: Site) -> None:
    seconds = record.choose(10, 2)
    clients = [await _connect(site, "moving") for _ in range(100)]
    told = [0]

    async def hear(ws: Any) -> None:
        async for _ in ws:
            told[0] += 1

    tasks = [asyncio.create_task(hear(ws)) for ws in clients]
    clock = 0

    async def move() -> None:
        nonlocal clock
        clock += 1
        began = time.monotonic()
        for client, ws in enumerate(clients):
            state = {"user": {"name": f"Person {client}"}, "cursor": {"anchor": clock, "head": clock}}
            ws.send_nowait(awareness_message([Entry(1000 + client, clock, json.dumps(state).encode())]))
        await asyncio.sleep(max(0.0, began + 0.05 - time.monotonic()))

    await move()
    await asyncio.sleep(1)
    told[0], before, began = 0, cpu_seconds(site.pid), time.monotonic()
    while time.monotonic() < began + seconds:
        await move()
    took = time.monotonic() - began
    record.note(f"each moves {(clock - 1) / took:.1f} times a second")
    record.at_most("messages a second and client", told[0] / took / len(clients), 10.5)
    record.at_most("the server", 100 * (cpu_seconds(site.pid) - before) / took, 8, "% of a core")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*(ws.close() for ws in clients))


async def _attack(record: Record, site: Site) -> None:
    def below_the_last(client: int, clock: int) -> bytes:
        """Structs in front of the last one of 30,000, each of which is compared with all others."""
        body = b"\x44" + number(1) + number(29_999) + b"\x01y"
        return number(1) + number(2000) + number(client) + number(clock) + body * 2000 + number(0)

    attacks = {
        "values that become one": [structs(7, 100_000, SINGLE_VALUE)],
        "structs in a crowd": [
            structs(1, 30_000, EMBEDDED),
            *(below_the_last(7, 2000 * n) for n in range(9)),
        ],
    }
    canary = await fastws.connect(f"ws://127.0.0.1:{site.port}/echo")
    for name, updates in attacks.items():
        before, spent, began = site.rss(), cpu_seconds(site.pid), time.monotonic()
        ws = await _connect(site, name.replace(" ", "-"))
        for update in updates:
            await ws.send(sync_message(UPDATE, update))
        worst, top = 0.0, 0
        until = time.monotonic() + record.choose(10, 2)
        while time.monotonic() < until:
            asked = time.monotonic()
            await canary.send("x")
            await canary.recv()
            worst, top = max(worst, time.monotonic() - asked), max(top, site.rss())
            await asyncio.sleep(0.01)
        share = 100 * (cpu_seconds(site.pid) - spent) / (time.monotonic() - began)
        record.at_most(f"{name}: an echo beside", 1000 * worst, 250, "ms")
        record.at_most(f"{name}: memory", (top - before) / MIB, 64, "MiB")
        record.at_most(f"{name}: the server", share, 50, "% of a core")
        await ws.close()
    await canary.close()


async def _connect(site: Site, document: str) -> Any:
    ws = await fastws.connect(
        f"ws://127.0.0.1:{site.port}/yjs/{document}", limits={"max_message_size": 2**24}
    )
    await ws.recv()
    return ws


async def _synced(ws: Any) -> int:
    """Ask for the whole document; return its size."""
    await ws.send(sync_message(STEP_1, b"\x00"))
    while True:
        message = await ws.recv()
        if message[:2] == bytes((SYNC, STEP_2)):
            return len(message)
