"""Stock quotes: 500 symbols that move 20 times a second, with a checksum and the time that they are of."""

from __future__ import annotations

import asyncio
import json
import random
import time
import zlib
from itertools import product
from typing import Any

import fastws

__all__ = ["Market", "Quotes", "application"]

TOPIC, SYMBOLS, MOVES_PER_SECOND = "quotes", 500, 20
#: The last key of each move: its number, its time, and the checksum of all symbols then.
SUM = "#"


class Quotes:
    """One worker makes the quotes as long as somebody looks at them; all workers serve them.

    Args:
        pages: The folder with ``quotes.html``.
    """

    def __init__(self, pages: fastws.Static) -> None:
        self.hub = fastws.Hub("fastws.quotes")
        self.hub.topic(TOPIC, mode="keyed", max_keys=SYMBOLS + 1)
        feed = fastws.Feed(self.hub, may_subscribe=lambda client, topic: topic == TOPIC, max_topics=1)
        self.routes = [
            fastws.Route("/quotes", http=pages.page("quotes.html")),
            fastws.Route("/quotes/time", http=self.time),
            fastws.Route("/feeds/quotes", feed, http=feed.sse, limits={"max_message_size": 1024}),
        ]

    def time(self, request: Any) -> fastws.Response:
        """Answer the time, by which a page knows how old its quotes are."""
        return fastws.Response(200, str(milliseconds()), [("Cache-Control", "no-store")])

    async def produce(self, server: Any) -> None:
        """Make the quotes: the background task of one worker. It goes on from what there is."""
        market = Market(await self.hub.snapshot(TOPIC))
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.wait_for_viewers()
            due = max(due, loop.time() - 0.1)
            for _ in range(MOVES_PER_SECOND):
                # What one turn of the loop publishes leaves as one change.
                for symbol, quote in market.move():
                    self.hub.publish(TOPIC, quote, key=symbol)
                self.hub.publish(TOPIC, json=market.sum(), key=SUM)
                due += 1 / MOVES_PER_SECOND
                await asyncio.sleep(due - loop.time())

    async def wait_for_viewers(self) -> None:
        try:
            while not await self.hub.total(TOPIC):
                await asyncio.sleep(0.5)
        except TimeoutError:  # of a worker that has just ended: somebody may look
            pass


class Market:
    """Prices at random. A quote is absolute, in decimal strings: ``["101.24", "100.00", "81200"]``, which are
    price, opening price and volume.

    Args:
        quotes: What each symbol is at, as JSON; empty for a new day.
    """

    def __init__(self, quotes: dict[str, str]) -> None:
        chance = random.Random(500)
        names = ["".join(letters) for letters in product("BDKLMNRSTVZ", "AEIO", "BDKLMNRSTVZ", "AEIO")]
        self.moves = json.loads(quotes[SUM])["n"] if SUM in quotes else 0
        #: In cents; and pieces.
        self.symbols: dict[str, list[int]] = {}
        for symbol in sorted(chance.sample(names, SYMBOLS)):
            opening = chance.randrange(1_000, 50_000)
            quote = json.loads(quotes[symbol]) if symbol in quotes else [f"{opening / 100:.2f}"] * 2 + ["0"]
            self.symbols[symbol] = [*(round(100 * float(price)) for price in quote[:2]), int(quote[2])]
        self.quotes = {symbol: text_of(*values) for symbol, values in self.symbols.items()}

    def move(self) -> list[tuple[str, str]]:
        """Move all; return each symbol and its quote as JSON."""
        self.moves += 1
        steps = random.choices((-3, -1, 0, 0, 1, 3), k=SYMBOLS)
        for (symbol, values), step in zip(self.symbols.items(), steps, strict=True):
            values[0] = max(values[0] + step * (1 + values[0] // 10_000), 1)
            values[2] += 10 * (1 + abs(step))
            self.quotes[symbol] = text_of(*values)
        return list(self.quotes.items())

    def sum(self) -> dict[str, Any]:
        """Number and time of this move, and the CRC-32 of all lines ``BAKO["1.00","1.00","0"]``, sorted."""
        lines = "".join(f"{symbol}{quote}\n" for symbol, quote in self.quotes.items())
        return {"n": self.moves, "at": milliseconds(), "crc": zlib.crc32(lines.encode())}


def text_of(price: int, opening: int, volume: int) -> str:
    return f'["{price // 100}.{price % 100:02}","{opening // 100}.{opening % 100:02}","{volume}"]'


def milliseconds() -> int:
    return round(1000 * time.time())


def application(folder: str = "site") -> fastws.Application:
    """Return the quotes alone: ``quotes.html`` in a folder, and its scripts from fastws."""
    quotes = Quotes(fastws.Static("/site", folder))
    return fastws.Application(
        [*quotes.routes, fastws.Static.packaged("/assets")], background=[quotes.produce]
    )


if __name__ == "__main__":
    fastws.run(application())
