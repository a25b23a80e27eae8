"""Broadcast: every message goes to every client connected here, the sender included."""

from __future__ import annotations

from fastws.connection.handlers import Handler
from fastws.connection.websocket import WebSocket
from fastws.pubsub.hub import Hub

__all__ = ["Broadcast"]

TOPIC = "broadcast"


class Broadcast(Handler):
    """Sends each message to everybody as it came: text as text, bytes as bytes, nothing merged."""

    __slots__ = ("hub",)

    def __init__(self) -> None:
        self.hub = Hub("fastws.broadcast")

    def on_open(self, ws: WebSocket) -> None:
        self.hub.subscribe(ws, TOPIC)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self.hub.publish(TOPIC, message)
