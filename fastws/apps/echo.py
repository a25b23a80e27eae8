"""Echo: every message goes back as it came, in its own type."""

from __future__ import annotations

import logging

from fastws import logs
from fastws.connection.handlers import Handler
from fastws.connection.websocket import WebSocket

__all__ = ["Echo"]

log = logging.getLogger("fastws.error")


class Echo(Handler):
    """Sends each message back, and logs it where the level was DEBUG when this was made."""

    __slots__ = ("_verbose",)

    def __init__(self) -> None:
        self._verbose = log.isEnabledFor(logging.DEBUG)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        if self._verbose:
            log.debug("recv: %s", logs.escape(message if isinstance(message, str) else repr(message)))
        ws.send_nowait(message)
