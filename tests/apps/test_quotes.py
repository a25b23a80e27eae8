"""The quotes: all symbols at once, the checksum of them, who makes them, and that a slow client is right."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import fastws
from fastws.apps.quotes import MOVES_PER_SECOND, SUM, SYMBOLS, TOPIC, Market, Quotes
from fastws.testing import Clock, memory_broker
from tests.apps.clients import PAGES, Client, site

FEED = f"/feeds/quotes?topic={TOPIC}"


class Held:
    """What a client holds of the quotes."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.values: dict[str, Any] = {}
        self.changes = 0

    async def take(self) -> None:
        """Take one object."""
        message = await self.client.next()
        if message.get("sync", {}).get("snapshot"):
            self.values.clear()
        for name in ("snap", "set"):
            self.values |= message.get(name, {})
            self.changes += len(message.get(name, {}))

    async def whole(self, moves: int) -> dict[str, Any]:
        """Take until a move that late is here as a whole; return what was said of it."""
        while self.values.get(SUM, {"n": 0})["n"] < moves:
            await self.take()
        said: dict[str, Any] = self.values[SUM]
        return said

    def crc(self) -> int:
        """The checksum of what it holds, as a page makes it."""
        lines = [
            f"{symbol}{json.dumps(quote, separators=(',', ':'))}\n"
            for symbol, quote in sorted(self.values.items())
            if symbol != SUM
        ]
        return zlib.crc32("".join(lines).encode())


@contextlib.asynccontextmanager
async def producing(app: Quotes) -> AsyncIterator[None]:
    task = asyncio.create_task(app.produce(None))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def advance(clock: Clock, seconds: float) -> None:
    for _ in range(round(seconds / 0.025)):
        await clock.advance(0.025)


async def moves_of(app: Quotes) -> int:
    """How often all symbols have moved."""
    moves: int = json.loads((await app.hub.snapshot(TOPIC))[SUM])["n"]
    return moves


async def test_a_client_has_all_symbols_and_their_checksum() -> None:
    clock, app = Clock(), Quotes(PAGES)
    async with site(app.routes, FEED, clock) as made, producing(app):
        held = Held(made.first)
        await advance(clock, 2)
        said = await held.whole(20)
        assert len(held.values) == SYMBOLS + 1
        assert held.crc() == said["crc"]
        prices = [quote[0] for symbol, quote in held.values.items() if symbol != SUM]
        assert all(re.fullmatch(r"\d+\.\d\d", price) for price in prices)


async def test_it_moves_twenty_times_a_second() -> None:
    clock, app = Clock(), Quotes(PAGES)
    async with site(app.routes, FEED, clock), producing(app):
        await advance(clock, 1)
        first = await moves_of(app)
        await advance(clock, 4)
        assert await moves_of(app) - first == 4 * MOVES_PER_SECOND


async def test_nothing_is_made_while_nobody_looks() -> None:
    clock, app = Clock(), Quotes(PAGES)
    async with site(app.routes, "/feeds/quotes", clock) as made, producing(app):
        await advance(clock, 2)
        assert await app.hub.snapshot(TOPIC) == {}
        await made.first.say(sub=TOPIC)
        await advance(clock, 1)
        assert len(await app.hub.snapshot(TOPIC)) == SYMBOLS + 1
        await made.first.say(unsub=TOPIC)
        await advance(clock, 2)
        moves = await moves_of(app)
        await advance(clock, 2)
        assert await moves_of(app) == moves


async def test_a_stalled_client_gets_each_symbol_once_and_is_right() -> None:
    clock, app = Clock(), Quotes(PAGES)
    async with site(app.routes, FEED, clock) as made, producing(app):
        held = Held(made.first)
        await advance(clock, 1)
        await held.whole(10)
        made.ends.client_end.stall()
        await advance(clock, 5)
        before = held.changes
        made.ends.client_end.read()
        moves = await moves_of(app)
        await advance(clock, 0.2)
        said = await held.whole(moves)
        assert held.crc() == said["crc"]
        # What was on its way, and all symbols once; but not 200 changes of each.
        assert held.changes - before < 20 * SYMBOLS


async def test_a_slow_one_at_a_pace_of_its_own_is_right_too() -> None:
    clock, app = Clock(), Quotes(PAGES)
    async with site(app.routes, FEED, clock) as made, producing(app):
        slow = Held(await made.client("&rate=1"))
        await advance(clock, 5)
        said = await slow.whole(60)
        assert slow.crc() == said["crc"]
        assert slow.changes < 7 * (SYMBOLS + 1)


async def test_another_worker_goes_on_from_the_same_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Quotes(PAGES), Quotes(PAGES)
    async with memory_broker(one.hub, two.hub), site(two.routes, FEED) as made:
        held = Held(made.first)
        async with producing(one):
            await held.whole(3)
        last = await two.hub.snapshot(TOPIC)

        # A worker that does not answer may have somebody who looks.
        async def silent(topic: str) -> int:
            raise TimeoutError

        monkeypatch.setattr(two.hub, "total", silent)
        async with producing(two):
            said = await held.whole(json.loads(last[SUM])["n"] + 2)
        assert held.crc() == said["crc"]
        assert all(
            abs(float(held.values[name][0]) - float(json.loads(last[name])[0])) < 1
            for name in list(last)[:-1]
        )
        assert held.values["BABE"][1] == json.loads(last["BABE"])[1]


def test_prices_never_end_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    market = Market({"BABE": '["0.01","1.00","5"]', SUM: '{"n":7}'})
    monkeypatch.setattr("random.choices", lambda steps, k: [-3] * k)
    moved = dict(market.move())
    assert market.sum()["n"] == 8
    assert json.loads(moved["BABE"]) == ["0.01", "1.00", "45"]


async def test_what_a_stranger_may_not() -> None:
    async with site(Quotes(PAGES).routes, "/feeds/quotes") as made:
        client = made.first
        assert await client.error(sub="other") == "forbidden"
        assert await client.error(pub=TOPIC, k="BABE", d=["0.01"]) == "forbidden"
        await client.say(sub=TOPIC)
        await client.until("live")
        assert await client.error(sub="quotes/other") == "limit"
        await client.ws.send("x" * 1025)
        with pytest.raises(fastws.ConnectionClosed) as closed:
            await client.next()
        assert closed.value.code == 1009


def test_the_time_is_not_kept() -> None:
    answer = Quotes(PAGES).time(None)
    assert int(answer.body) > 1_600_000_000_000
    assert (b"Cache-Control", b"no-store") in answer.raw_headers
