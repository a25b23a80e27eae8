"""The rival `aiohttp`: echo at /wsecho, broadcast to all at /broadcast."""

from __future__ import annotations

import uvloop
from _argv import HOST, MAX_MESSAGE, arguments, ready, tls_context
from aiohttp import WSMessage, WSMsgType, web

room: set[web.WebSocketResponse] = set()


async def send(ws: web.WebSocketResponse, message: WSMessage) -> None:
    if message.type is WSMsgType.TEXT:
        await ws.send_str(message.data)
    else:
        await ws.send_bytes(message.data)


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(max_msg_size=MAX_MESSAGE)
    await ws.prepare(request)
    async for message in ws:
        await send(ws, message)
    return ws


async def broadcast(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(max_msg_size=MAX_MESSAGE)
    await ws.prepare(request)
    room.add(ws)
    try:
        async for message in ws:
            for peer in list(room):
                if not peer.closed:
                    await send(peer, message)
    finally:
        room.discard(ws)
    return ws


def main() -> None:
    port, files = arguments()
    app = web.Application()
    app.add_routes([web.get("/wsecho", echo), web.get("/broadcast", broadcast)])
    web.run_app(
        app,
        host=HOST,
        port=port,
        ssl_context=tls_context(files),
        access_log=None,
        print=lambda *_: ready(port),
        loop=uvloop.new_event_loop(),
    )


main()
