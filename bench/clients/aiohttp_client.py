"""The rival `aiohttp`: its client's ``ws_connect`` with ``async for``."""

from __future__ import annotations

import asyncio

import aiohttp
from _measure import MAX_MESSAGE, Load, main


async def talk(session: aiohttp.ClientSession, load: Load) -> None:
    async with session.ws_connect(load.url, compress=0, max_msg_size=MAX_MESSAGE) as ws:
        send = ws.send_str if isinstance(load.message, str) else ws.send_bytes
        for _ in range(load.depth):
            await send(load.message)
        async for message in ws:
            load.heard += 1
            await send(message.data)


async def client(load: Load) -> None:
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(talk(session, load) for _ in range(load.connections)))


main(client)
