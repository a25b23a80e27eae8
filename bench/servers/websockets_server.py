"""The rival `websockets`: echo at /wsecho, broadcast to all at /broadcast."""

from __future__ import annotations

import asyncio

import uvloop
from _argv import HOST, MAX_MESSAGE, arguments, ready, tls_context
from websockets.asyncio.server import ServerConnection, broadcast, serve

room: set[ServerConnection] = set()


async def handler(ws: ServerConnection) -> None:
    assert ws.request is not None
    if ws.request.path == "/wsecho":
        async for message in ws:
            await ws.send(message)
        return
    room.add(ws)
    try:
        async for message in ws:
            broadcast(room, message)
    finally:
        room.discard(ws)


async def main() -> None:
    port, files = arguments()
    async with serve(handler, HOST, port, ssl=tls_context(files), max_size=MAX_MESSAGE):
        ready(port)
        await asyncio.get_running_loop().create_future()


uvloop.run(main())
