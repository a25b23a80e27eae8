"""The rival `tornado`: echo at /wsecho, broadcast to all at /broadcast."""

from __future__ import annotations

import asyncio

import uvloop
from _argv import HOST, MAX_MESSAGE, arguments, ready, tls_context
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketHandler

room: set[Broadcast] = set()


class Socket(WebSocketHandler):
    def get_compression_options(self) -> dict[str, object]:
        return {}  # accepted when offered; None would decline it


class Echo(Socket):
    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, isinstance(message, bytes))


class Broadcast(Socket):
    def open(self) -> None:
        room.add(self)

    def on_close(self) -> None:
        room.discard(self)

    def on_message(self, message: str | bytes) -> None:
        binary = isinstance(message, bytes)
        for peer in room:
            peer.write_message(message, binary)


async def main() -> None:
    port, files = arguments()
    app = Application(
        [("/wsecho", Echo), ("/broadcast", Broadcast)],
        websocket_max_message_size=MAX_MESSAGE,
    )
    HTTPServer(app, ssl_options=tls_context(files)).listen(port, HOST)
    ready(port)
    await asyncio.get_running_loop().create_future()


uvloop.run(main())
