"""The rival `websockets`: its asyncio client with ``async for``."""

from __future__ import annotations

import asyncio

from _measure import MAX_MESSAGE, Load, main
from websockets.asyncio.client import connect


async def talk(load: Load) -> None:
    async with connect(load.url, compression=None, proxy=None, max_size=MAX_MESSAGE) as ws:
        for _ in range(load.depth):
            await ws.send(load.message)
        async for message in ws:
            load.heard += 1
            await ws.send(message)


async def client(load: Load) -> None:
    await asyncio.gather(*(talk(load) for _ in range(load.connections)))


main(client)
