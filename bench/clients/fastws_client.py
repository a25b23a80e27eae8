"""``fastws.connect`` with a ``Handler``: callbacks."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from _measure import MAX_MESSAGE, Load, main

import fastws


class Echo(fastws.Handler):
    def __init__(self, load: Load) -> None:
        self.load = load

    def on_open(self, ws: fastws.WebSocket) -> None:
        for _ in range(self.load.depth):
            ws.send_nowait(self.load.message)

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        self.load.heard += 1
        ws.send_nowait(message)


async def client(load: Load) -> None:
    async with AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(
                fastws.connect(
                    load.url,
                    handler=Echo(load),
                    compression=None,
                    proxy=None,
                    limits={"max_message_size": MAX_MESSAGE},
                )
            )
            for _ in range(load.connections)
        ]
        await asyncio.wait([asyncio.ensure_future(ws.wait_closed()) for ws in sockets])


main(client)
