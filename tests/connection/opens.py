"""Handlers whose ``on_open`` is a coroutine, which ends when the test says so."""

from __future__ import annotations

import asyncio
from typing import Any

from fastws import WebSocket
from tests.kit import ManualLoop, Recorder


class Opens(Recorder):
    """Its ``on_open`` waits until the test lets it go on, and then does what the test says."""

    def __init__(self, then: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self.then = then
        self.go_on = asyncio.Event()

    async def on_open(self, ws: WebSocket) -> None:  # type: ignore[override]
        self.sockets.append(ws)
        self.events.append(("open",))
        try:
            await self.go_on.wait()
            if self.then is not None:
                await self.then(ws)
        except BaseException as exc:
            self.events.append((type(exc).__name__,))
            raise
        self.events.append(("opened",))


def finish(loop: ManualLoop, handler: Opens) -> None:
    handler.go_on.set()
    loop.settle()


async def greet(ws: WebSocket) -> None:
    await ws.send("welcome")
