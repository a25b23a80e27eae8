"""A server without an access log and without pings, and clients of it made of bytes."""

from __future__ import annotations

from typing import Any

import fastws
from fastws import Server, WebSocket
from tests.kit import Kernel, ManualLoop, RawClient, Recorder

__all__ = ["NO_PINGS", "QUIET", "Panic", "Scripted", "collect", "opened", "served", "stall"]

NO_PINGS: dict[str, Any] = {"ping_interval": None}
QUIET: dict[str, Any] = {"access_log": False, "timeouts": NO_PINGS}


class Panic(BaseException):
    """As pyo3's ``PanicException``: it is not an ``Exception``."""


class Scripted(Recorder):
    """Does what the text of a message says."""

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        super().on_message(ws, message)
        if message == "raise":
            raise ValueError("broken")
        if message == "close":
            ws.close_nowait(4000, "as told")
        if message == "pause":
            ws.pause_reading()


def served(loop: ManualLoop, app: Any, **settings: Any) -> Server:
    async def start() -> Server:
        return await fastws.serve(app, **{**QUIET, **settings})

    return loop.run(start())


def opened(
    loop: ManualLoop,
    app: Any,
    *headers: str,
    path: str = "/",
    early: bytes = b"",
    ssl_object: Any = None,
    kernel: Kernel | None = None,
    **settings: Any,
) -> RawClient:
    """A client with an open WebSocket, of a ``Server`` or of a new one with ``app``."""
    server = app if isinstance(app, Server) else served(loop, app, **settings)
    tls = {} if ssl_object is None else {"ssl_object": ssl_object}
    client = RawClient(server, loop, kernel=kernel, **tls)
    assert client.upgrade(path, *headers, early=early).status == 101
    return client


def collect(loop: ManualLoop, *headers: str, **settings: Any) -> tuple[RawClient, WebSocket, Recorder]:
    """The same with a handler that notes everything: the client, its WebSocket on the server, the handler."""
    handler = Recorder()
    client = opened(loop, handler, *headers, **settings)
    return client, handler.ws, handler


def stall(loop: ManualLoop, client: RawClient, ws: WebSocket) -> None:
    """Let the socket refuse: one message is written of which it takes one byte."""
    client.stall(1)
    ws.send_nowait("stalls")
    loop.settle()
    assert ws.outbox.blocked
