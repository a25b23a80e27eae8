"""What a server knows of itself, as a page that rows ask for."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import fastws
from fastws.protocol.http.messages import Request, Response

__all__ = ["counters"]


def _server() -> fastws.Server:
    return next(each for each in gc.get_objects() if isinstance(each, fastws.Server))


def counters(request: Request) -> Response:
    """The server's counters, and how much waits for the clients now."""
    server = _server()
    waiting = [connection.outbox.buffered_amount for connection in server.connections]
    state: dict[str, Any] = {
        **server.counters.as_dict(),
        "open": len(server.connections),
        "buffered_max": max(waiting, default=0),
        # Of those that are open, since they came: messages that waited at the same time.
        "peak_queue_max": max((each.outbox.peak_queue for each in server.connections), default=0),
        "tasks": len(asyncio.all_tasks()),
        "uncollectable": len(gc.garbage),
    }
    return Response(200, json.dumps(state))
