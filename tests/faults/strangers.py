"""One hostile client on each page of the gallery: what it costs, and what others notice."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import fastws
from fastws.yjs.protocol import SYNC, UPDATE, Entry, awareness_message, sync_message
from tests.faults.documents import EMBEDDED
from tests.faults.harness import MIB, Record, Site, row, server
from tests.kit.process import cpu_seconds
from tests.live.raw import BINARY, CLOSE, TEXT, frame, frames, upgrade
from tests.yjs.editors import structs

#: At most so many MiB, and so much of a core, may one client cost; others' echoes take so long at most.
MOST_MIB, MOST_CPU, MOST_MS = 64, 100, 250


CODE = re.compile(rb'"error":\{"code":"([a-z_]+)"')
#: The codes of errors and of closes that the strangers of one attack have heard.
HEARD: set[str] = set()


class Refused(Exception):
    """The server has answered by a status."""


class Stranger:
    """A client that reads nothing unless it is told to, and does not care what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._hearing: asyncio.Task[None] | None = None

    @classmethod
    async def come(cls, site: Site, path: str, *, listens: bool = False) -> Stranger:
        # It keeps little of what it is sent, so that the server has to.
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1024)
        writer.write(upgrade(path))
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head:
            writer.transport.abort()
            raise Refused(head.split(b"\r\n")[0].decode())
        stranger = cls(reader, writer)
        if listens:
            stranger._hearing = asyncio.create_task(stranger._hear())
        return stranger

    async def say(self, *texts: str | bytes | dict[str, Any]) -> bool:
        """Say all; False when the server does not listen any more, or takes nothing for a second."""
        for each in texts:
            said = json.dumps(each) if isinstance(each, dict) else each
            kind = BINARY if isinstance(said, bytes) else TEXT
            self._writer.write(
                frame(kind, said if isinstance(said, bytes) else said.encode("utf-8", "replace"))
            )
        try:
            async with asyncio.timeout(1):
                await self._writer.drain()
        except (OSError, TimeoutError):
            return False
        return not self._writer.transport.is_closing()

    async def _hear(self) -> None:
        """Read all; remember why the server refuses something."""
        with suppress(OSError):
            while said := await self._reader.read(65536):
                HEARD.update(code.decode() for code in CODE.findall(said))
                HEARD.update(
                    str(each.code)
                    for each in frames(said)
                    if each.opcode == CLOSE and len(each.payload) < 126 and 4400 <= each.code < 4600
                )

    def leave(self) -> None:
        self._writer.transport.abort()
        if self._hearing is not None:
            self._hearing.cancel()


Attack = Callable[[Site, float], Awaitable[None]]


def _feed(path: str, *first: Any, listens: bool = True, commands: Callable[[int], Any]) -> Attack:
    """Say commands as fast as a feed takes them, on one connection after the other when it is closed."""

    async def attack(site: Site, until: float) -> None:
        number = 0
        while time.monotonic() < until:
            stranger = await Stranger.come(site, path, listens=listens)
            await stranger.say(*first)
            while time.monotonic() < until:
                # Of more than 200 a second the feed closes.
                said = await stranger.say(*(commands(number + each) for each in range(10)))
                number += 10
                if not said:
                    break
                await asyncio.sleep(0.055)
            stranger.leave()

    return attack


def _many(path: str, said: bytes | str, *, listens: bool) -> Attack:
    """Say the same, as fast as the server reads."""

    async def attack(site: Site, until: float) -> None:
        while time.monotonic() < until:
            stranger = await Stranger.come(site, path, listens=listens)
            while time.monotonic() < until and await stranger.say(*[said] * 50):
                await asyncio.sleep(0)
            if not listens:  # it holds what it has
                await asyncio.sleep(max(until - time.monotonic(), 0) / 2)
            stranger.leave()

    return attack


async def _documents(site: Site, until: float) -> None:
    """Open a thousand documents, with names that look like paths, and write something large into each."""
    names = ("..%2f..%2fetc%2fpasswd", "%00", "a" * 255, "%e2%80%ae", "CON", ".", "%ff", "a%2fb")
    # As much as the page allows, in what takes most memory.
    update = sync_message(UPDATE, structs(7, 10_000, EMBEDDED))
    crowd: list[Stranger] = []
    for number in range(1_000):
        if time.monotonic() > until:
            break
        name = names[number] if number < len(names) else f"stranger-{number}"
        with suppress(OSError, asyncio.IncompleteReadError, Refused):
            crowd.append(await Stranger.come(site, f"/editor/{name}"))
            await crowd[-1].say(update)
    await asyncio.sleep(max(until - time.monotonic(), 0))
    for each in crowd:
        each.leave()


def _awareness(number: int) -> bytes:
    state = json.dumps({"user": {"name": "<b>" * 250}, "n": number}).encode()
    return awareness_message([Entry(5_000 + number % 1_000, number, state)])


def _in_turn(*said: Any) -> Callable[[int], Any]:
    return lambda number: said[number % len(said)]


ROOM = "rooms/strangers"
NAME = {"auth": "secret-of-sixteen <b onclick=alert(1)>"}
#: What no feed takes.
NONSENSE = (
    "",
    "{",
    "[]",
    "null",
    '{"pub":"t","pub":"t"}',
    '{"sub":7}',
    '{"sub":"\\ud800"}',
    '{"pub":"\\udfff","d":"\\ud83d"}',
    '{"pub":"rooms/strangers","d":' + "[" * 900 + "]" * 900 + "}",
    '{"pub":"bullets","d":' + "9" * 900 + "}",
    '{"sub":"' + "x" * 900 + '"}',
    '{"unsub":"quotes/*"}',
    b"\x00\xff",
)
ATTACKS: dict[str, Attack] = {
    "rooms, a flood": _feed(
        "/feeds/rooms",
        NAME,
        {"sub": ROOM},
        commands=lambda n: {"pub": ROOM, "d": {"text": "x" * 500}, "id": n},
    ),
    "rooms, a thousand names": _feed(
        "/feeds/rooms", NAME, {"sub": ROOM}, commands=lambda n: {"auth": f"secret-of-sixteen {n}"}
    ),
    "rooms, what nobody may": _feed(
        "/feeds/rooms",
        NAME,
        {"sub": ROOM},
        commands=_in_turn(
            {"pub": f"{ROOM}/said-0", "k": "x", "d": 1},
            {"pub": "quotes", "k": "BAKO", "d": 1},
            {"pub": f"{ROOM}/typing", "k": "x" * 255, "d": "y" * 3000},
            {"sub": "rooms/*"},
        ),
    ),
    "rooms, nonsense": _feed("/feeds/rooms", NAME, commands=_in_turn(*NONSENSE)),
    "rooms, no token and no reading": _feed("/feeds/rooms", listens=False, commands=_in_turn(*NONSENSE)),
    "rooms, 10,000 subscriptions": _feed(
        "/feeds/rooms", NAME, commands=lambda n: {"sub": f"rooms/room-{n % 10_000}", "id": n}
    ),
    "chat, a flood": _many("/ws", "x" * 500, listens=True),
    "chat, one that does not read": _many("/ws", "<script>" * 60, listens=False),
    "quotes, one that does not read": _feed(
        "/feeds/quotes?topic=quotes", listens=False, commands=_in_turn({"unsub": "quotes"}, {"sub": "quotes"})
    ),
    "quotes, nonsense": _feed("/feeds/quotes?topic=quotes", commands=_in_turn(*NONSENSE)),
    "bullets, a flood": _feed(
        "/feeds/bullets?topic=bullets",
        commands=lambda n: {"pub": "bullets", "d": {"text": "x" * 80, "colour": 1}, "id": n},
    ),
    "bullets, one that does not read": _feed(
        "/feeds/bullets?topic=bullets", listens=False, commands=lambda n: {"sub": "x" * 900, "id": n}
    ),
    "bullets, nonsense": _feed("/feeds/bullets?topic=bullets", commands=_in_turn(*NONSENSE)),
    "editor, a thousand documents": _documents,
    "editor, a thousand who are here": _feed("/editor/here", commands=_awareness),
    "editor, garbage": _feed(
        "/editor/garbage",
        commands=lambda n: bytes((SYNC, n % 4)) + bytes((n * 37 + each * each) % 256 for each in range(200)),
    ),
    "editor, one that does not read": _feed(
        "/editor/here", listens=False, commands=lambda n: b"\x00\x00\x01\x00"
    ),
    "echo, one that does not read": _many("/echo", b"x" * 60_000, listens=False),
    "echo, a flood": _many("/echo", b"x" * 60_000, listens=True),
}


#: What those hear who listen: their attacks are no other ones than they should be.
TOLD: dict[str, set[str]] = {
    "rooms, a flood": {"too_fast"},
    "rooms, a thousand names": {"too_fast"},
    "rooms, what nobody may": {"bad_request", "forbidden", "too_fast"},
    "rooms, nonsense": {"bad_request", "too_fast"},
    "rooms, 10,000 subscriptions": {"too_fast"},
    "quotes, nonsense": {"bad_request"},
    "bullets, a flood": {"too_fast"},
    "bullets, nonsense": {"bad_request"},
    "editor, garbage": {"4400"},
}


@row("strangers", "one hostile client on each page of the gallery")
def strangers(record: Record) -> None:
    with server("--no-access-log", app=None) as site:
        asyncio.run(_all(record, site))
        record.equal("tracebacks", site.stderr().count("Traceback"), 0)


async def _all(record: Record, site: Site) -> None:
    # Once, for what the process itself keeps: buffers, threads, pycrdt.
    is_built = True
    try:
        (await Stranger.come(site, "/editor/here")).leave()
    except Refused:
        record.note("the editor is not built: nobody attacks it")
        is_built = False
    await _witness(site, ATTACKS["chat, a flood"], 1)
    for name, attack in ATTACKS.items():
        if name.startswith("editor") and not is_built:
            continue
        HEARD.clear()
        worst, memory, share = await _witness(site, attack, record.choose(8, 1))
        if name in TOLD:
            record.equal(f"{name}: is told", ", ".join(sorted(HEARD)), ", ".join(sorted(TOLD[name])))
        record.at_most(f"{name}: an echo beside", 1000 * worst, MOST_MS, "ms")
        record.at_most(f"{name}: memory", memory / MIB, MOST_MIB, "MiB")
        record.at_most(f"{name}: the server", share, MOST_CPU, "% of a core")


@asynccontextmanager
async def _canary(site: Site) -> AsyncIterator[fastws.WebSocket]:
    async with fastws.connect(f"ws://127.0.0.1:{site.port}/echo") as ws:
        yield ws


async def _witness(site: Site, attack: Attack, seconds: float) -> tuple[float, int, float]:
    """Attack; return the slowest echo of another client, how much memory grew, and the share of a core."""
    async with _canary(site) as canary:
        before, spent, began = site.rss(), cpu_seconds(site.pid), time.monotonic()
        task = asyncio.create_task(attack(site, began + seconds))
        worst, top = 0.0, before
        while not task.done():
            asked = time.monotonic()
            await canary.send("x")
            await canary.recv()
            worst, top = max(worst, time.monotonic() - asked), max(top, site.rss())
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        await task
    return worst, top - before, 100 * (cpu_seconds(site.pid) - spent) / took
