"""The chat room: a hub, a bounded queue per client, and messages merged with newlines."""

from __future__ import annotations

import logging

import fastws

__all__ = ["LIMITS", "TIMEOUTS", "Chat"]

log = logging.getLogger("fastws.error")

TOPIC = "room"
#: The largest message, and what may wait for a client that does not read.
LIMITS = {"max_message_size": 512, "send_queue": 256}
#: A ping every 54 s (nine tenths of the pong wait), a pong within 60 s, a write within 10 s.
TIMEOUTS = {"ping_interval": 54.0, "ping_timeout": 6.0, "write": 10.0}
#: Close codes without a line in the error log: closed as intended, or the peer went away
#: (RFC 6455, section 7.4.1).
EXPECTED = (1000, 1001, 1005, 1006)


class Chat(fastws.Handler):
    """Sends each message to everybody in the room, as text, in the hub's order."""

    __slots__ = ("hub",)

    def __init__(self) -> None:
        self.hub = fastws.Hub("fastws.chat")
        self.hub.topic(TOPIC, merge="\n")

    def on_open(self, ws: fastws.WebSocket) -> None:
        self.hub.subscribe(ws, TOPIC)

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        if isinstance(message, bytes):
            try:
                message = message.decode()
            except UnicodeDecodeError:
                ws.close_nowait(1007, "not UTF-8")  # RFC 6455, section 7.4.1
                return
        self.hub.publish(TOPIC, message.replace("\n", " ").strip())

    def on_close(self, ws: fastws.WebSocket, code: int, reason: str) -> None:
        if code not in EXPECTED:
            log.error("chat: %a closed with %d %s", ws.peer, code, ascii(reason)[1:-1])
