"""Echo: every message goes back as it came, in its own type."""

from __future__ import annotations

import logging

import fastws

__all__ = ["Echo"]

log = logging.getLogger("fastws.error")


class Echo(fastws.Handler):
    """Sends each message back, and logs it where the level was DEBUG when this was made."""

    __slots__ = ("_verbose",)

    def __init__(self) -> None:
        self._verbose = log.isEnabledFor(logging.DEBUG)

    def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
        if self._verbose:
            log.debug("recv: %s", ascii(message)[1:-1] if isinstance(message, str) else ascii(message))
        ws.send_nowait(message)
