"""Our own server with an ``async for`` handler instead of callbacks: echo at /wsecho."""

from __future__ import annotations

import uvloop
from _argv import HOST, arguments, ready, tls_context

import fastws


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    port, files = arguments()
    async with fastws.serve([fastws.Route("/wsecho", echo)], HOST, port, ssl=tls_context(files)) as server:
        ready(port)
        await server.serve_forever()


uvloop.run(main())
