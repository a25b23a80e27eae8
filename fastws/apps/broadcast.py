"""Broadcast: every message goes to every client connected here, the sender included."""

from __future__ import annotations

import fastws

__all__ = ["Broadcast"]

TOPIC = "broadcast"


class Broadcast(fastws.Handler):
    """Sends each message to everybody as it came: text as text, bytes as bytes, nothing merged."""

    __slots__ = ("hub",)

    def __init__(self) -> None:
        self.hub = fastws.Hub("fastws.broadcast")

    def on_open(self, ws: fastws.WebSocket) -> None:
        self.hub.subscribe(ws, TOPIC)

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        self.hub.publish(TOPIC, message)
