"""``fastws.connect`` with ``async for``."""

from __future__ import annotations

import asyncio

from _measure import MAX_MESSAGE, Load, main

import fastws


async def talk(load: Load) -> None:
    limits = {"max_message_size": MAX_MESSAGE}
    async with fastws.connect(load.url, compression=None, proxy=None, limits=limits) as ws:
        for _ in range(load.depth):
            await ws.send(load.message)
        async for message in ws:
            load.heard += 1
            await ws.send(message)


async def client(load: Load) -> None:
    await asyncio.gather(*(talk(load) for _ in range(load.connections)))


main(client)
