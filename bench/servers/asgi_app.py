"""A small ASGI application, the same under every server: echo at /wsecho, broadcast to all at /broadcast.

At /hub it is the hub of fastws that broadcasts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
room: set[Send] = set()
hub: Any = None


def reply(event: Event) -> Event:
    if event.get("text") is not None:
        return {"type": "websocket.send", "text": event["text"]}
    return {"type": "websocket.send", "bytes": event["bytes"]}


async def app(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/hub":
        await in_hub(scope, receive, send)
        return
    echo = scope["path"] == "/wsecho"
    if not echo:
        room.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            for peer in (send,) if echo else list(room):
                await peer(reply(event))
    finally:
        room.discard(send)


async def in_hub(scope: Event, receive: Receive, send: Send) -> None:
    # Here, so that who does not use it need not have it.
    import fastws

    global hub
    hub = hub or fastws.Hub()
    with fastws.subscriber(scope, send) as me:
        hub.subscribe(me, "room")
        while (event := await receive())["type"] == "websocket.receive":
            message = event.get("text")
            hub.publish("room", event["bytes"] if message is None else message)
