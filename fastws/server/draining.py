"""Let the clients of a server go in small numbers, so that they do not all connect again at the same time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from fastws.server.responses import Responses

if TYPE_CHECKING:
    from fastws.connection.connection import Connection
    from fastws.server.server import Server

__all__ = ["LINGER_SECONDS", "drain"]

#: Seconds in which connections that were accepted just before may still become WebSockets.
LINGER_SECONDS = 0.5
#: Seconds between two looks whether there are still such connections.
LOOK_SECONDS = 0.05
#: The part of the time in which the closes begin; in the rest clients answer them.
CLOSING_PART = 0.9


async def drain(
    server: Server, seconds: float, code: int, reason: str, *, linger: float = LINGER_SECONDS
) -> None:
    """Stop to listen, and close every WebSocket at a random moment of the next ``seconds``.

    A response of an async iterator ends at such a moment too, where that wants to know (``server_stops``).

    Connections that were accepted are served on, and their upgrades are too; with ``linger`` it waits for
    those whose request is still to come, far clients with TLS. It returns when the close of every WebSocket
    has begun; :meth:`Server.shutdown` has to follow.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    server.stop_listening()
    linger = min(linger, seconds / 2)
    if linger:
        await asyncio.sleep(linger)
    window = max(seconds * CLOSING_PART - linger, 0.0)
    begin = began + linger
    clients = [each for each in server.connections if each.ws is not None or _is_streaming(each)]
    random.shuffle(clients)
    for index, connection in enumerate(clients):
        due = begin + window * (index + random.random()) / len(clients)
        if connection in server.connections and (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        if connection.ws is not None:
            connection.close(code, reason)
        elif _is_streaming(connection):
            connection.phase.end_stream()
    while linger and loop.time() < begin + window and server.is_opening():
        await asyncio.sleep(LOOK_SECONDS)
    for connection in list(server.connections):
        if connection.ws is not None:
            connection.close(code, reason)


def _is_streaming(connection: Connection) -> bool:
    """Whether its response is an async iterator, which may have no end of its own."""
    phase = connection.phase
    return isinstance(phase, Responses) and phase.is_streaming()
