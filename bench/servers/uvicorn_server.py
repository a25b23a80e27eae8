"""The rival `uvicorn`, a small ASGI application: echo at /wsecho, broadcast to all at /broadcast.

``--wsproto`` takes uvicorn's protocol on wsproto, otherwise its own choice, which is websockets.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from _argv import HOST, MAX_MESSAGE, arguments, ready

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
room: set[Send] = set()


def reply(event: Event) -> Event:
    if event.get("text") is not None:
        return {"type": "websocket.send", "text": event["text"]}
    return {"type": "websocket.send", "bytes": event["bytes"]}


async def app(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    echo = scope["path"] == "/wsecho"
    if not echo:
        room.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for peer in (send,) if echo else list(room):
                await peer(reply(event))
    finally:
        room.discard(send)


class Server(uvicorn.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        ready(self.config.port)


def main() -> None:
    port, files = arguments()
    cert, key = files or (None, None)
    config = uvicorn.Config(
        app,
        HOST,
        port,
        loop="uvloop",
        ws="wsproto" if "--wsproto" in sys.argv else "auto",
        ws_max_size=MAX_MESSAGE,
        lifespan="off",
        access_log=False,
        log_level="warning",
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    Server(config).run()


main()
