"""The bullet comments alone, without robots, and a way in for those who send a flood of them."""

from __future__ import annotations

import orjson

import fastws
from fastws.apps.bullets import Bullets
from fastws.web.static_files import packaged_static

BULLETS = Bullets(fastws.Static("/", packaged_static()))


class Comments(fastws.Handler):
    """Whoever comes here says bullet comments, and sees none."""

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        BULLETS.hub.publish("bullets", json=orjson.loads(message))


routes = [fastws.Route("/comments", Comments()), *BULLETS.routes]
