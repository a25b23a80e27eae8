"""What the attacked servers serve: the built-in application, and handlers that attacks aim at."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson

from fastws import Handler, Hub, Request, Response, Route, basic_auth, token_auth
from fastws.apps import builtin
from fastws.apps.echo import Echo

__all__ = ["routes"]


class JSON(Handler):
    """Answers JSON with the same JSON; what is none, or too deep to be written, ends its sender."""

    def on_message(self, ws: Any, message: str | bytes) -> None:
        try:
            ws.send_json_nowait(orjson.loads(message))
        except (TypeError, ValueError):
            ws.close_nowait(1007, "not JSON")


class Feed(Handler):
    """Everybody hears a message of 1 KiB each tick, from the first ``start`` on, until nobody listens."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.task: asyncio.Task[None] | None = None

    def on_open(self, ws: Any) -> None:
        self.hub.subscribe(ws, "feed")

    def on_message(self, ws: Any, message: str | bytes) -> None:
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self.run(int(message)))

    async def run(self, rate: int) -> None:
        number = 0
        loop = asyncio.get_running_loop()
        started = loop.time()
        while self.hub.count("feed"):
            while number < (loop.time() - started) * rate:
                self.hub.publish("feed", f"{number:08}".encode() * 128)
                number += 1
            await asyncio.sleep(0.005)


class Parting(Handler):
    """Remembers what it heard and how each WebSocket ended; ``GET`` tells, and forgets."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.closes: list[int] = []

    def on_message(self, ws: Any, message: str | bytes) -> None:
        self.heard.append(len(message))

    def on_close(self, ws: Any, code: int, reason: str) -> None:
        self.closes.append(code)

    def tell(self, request: Request) -> Response:
        body = json.dumps({"heard": self.heard, "closes": self.closes})
        self.heard, self.closes = [], []
        return Response(200, body)


def upload(request: Request) -> Response:
    """Tells the size of the body, and whether a field came that only a trailer had."""
    return Response(200, f"{len(request.body)} {'x-trailer' in request.headers}\n")


EVIL = "a\r\nX-Injected: yes\r\n\r\n<script>"


def split(request: Request) -> Response:
    """Tries to put a client's words where they would become lines of their own."""
    where = request.path_params["where"]
    if where == "value":
        return Response(200, "", [("X-A", EVIL)])
    if where == "name":
        return Response(200, "", [("X-A: b\r\nX-Injected", "yes")])
    if where == "nul":
        return Response(200, "", [("X-A", "a\0b")])
    if where == "type":
        return Response(200, "", content_type=EVIL)
    return Response(302, "", [("Location", "/" + EVIL)])


def redirect(request: Request) -> Response:
    """An ``authorize`` that sends a client's own words as where to go."""
    return Response(302, "", [("Location", request.query_params.get("to", [EVIL])[0])])


parting = Parting()

routes = [
    *builtin.routes(),
    Route("/json", JSON()),
    Route("/feed", Feed()),
    Route("/parting", parting, http=parting.tell),
    Route("/upload", http=upload, methods=["POST"]),
    Route("/split/{where}", http=split),
    Route("/redirect", Echo(), authorize=redirect),
    Route("/chosen", Echo(), subprotocols=["chat", "superchat"]),
    Route("/basic", Echo(), authorize=basic_auth("hostile", {"ann": "the-password"})),
    Route("/token", Echo(), authorize=token_auth("the-token", query="token")),
]
