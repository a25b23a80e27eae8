"""A look at one process: its connections, the slowest of them, and its topics. Made when somebody asks."""

from __future__ import annotations

import heapq
import logging
import os
import time
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from fastws import logs
from fastws.connection.flow import FlowState
from fastws.pubsub.kept import HUBS
from fastws.server.server import Server

if TYPE_CHECKING:
    from fastws.connection.connection import Connection

__all__ = ["LEVELS", "SORTS", "Asked", "answer", "inspect"]

#: What is asked, with the values of the question.
Asked = tuple[str, dict[str, Any]]
LEVELS = ("critical", "error", "warning", "info", "debug")
#: Most connections and topics of one answer.
MOST = 200
#: Characters of a user's name.
MAX_USER = 64
#: Topics that one look goes through, in the order in which they were made.
TOPICS_SEEN = 20_000


def queued(connection: Connection) -> int:
    outbox = connection.outbox
    return outbox.buffered_amount if outbox.flow or outbox.fragmenting else 0


def age(connection: Connection) -> float:
    """Seconds that the oldest message which waits has waited, at most."""
    since = connection.outbox.waiting_since
    return 0.0 if since is None else connection.loop_state.clock() - since


#: By what connections can be sorted, the most first.
SORTS: dict[str, Callable[[Any], float]] = {
    "queued": queued,
    "age": age,
    "rtt": lambda connection: connection.ws.latency or 0.0,
    "received": lambda connection: connection.received_messages,
    "sent": lambda connection: connection.outbox.sent_messages,
    "dropped": lambda connection: connection.outbox.dropped,
    "open": lambda connection: -connection.opened_at,
}


def answer(server: Server | None, worker: int, ask: str, values: dict[str, Any]) -> Any:
    """Answer a question about this process; None where there is nothing to say.

    Raises ``ValueError``, ``TypeError`` and ``KeyError`` for a question that makes no sense.
    """
    if ask == "log_level":
        level = str(values["level"])
        if level not in LEVELS:
            raise ValueError(f"{level} is no level")
        for name in ("fastws", "asyncio"):
            logging.getLogger(name).setLevel(level.upper())
        return True
    if server is None:
        return None
    if ask == "close":
        return close(server, worker, str(values["id"]))
    if ask == "inspect":
        return inspect(server, worker, int(values["limit"]), str(values["sort"]), str(values["match"]))
    raise ValueError(f"there is no question {ask!r}")


def inspect(server: Server, worker: int, limit: int = 20, sort: str = "queued", match: str = "") -> Any:
    """Return what ``fastws top`` shows of a process, as JSON can carry it.

    Args:
        server: of this process.
        worker: its number.
        limit: how many connections and topics at most.
        sort: by which of :data:`SORTS`.
        match: only connections in whose address, user or path this text is.
    """
    limit = min(max(limit, 0), MOST)
    rank = SORTS[sort]
    found = [each for each in server.connections if each.ws is not None and each.callbacks is not None]
    opened = len(found)
    if match:
        found = [
            each
            for each in found
            if match in logs.peer_text(each.peer) or match in path_of(each) or match in user_of(each)
        ]
    most = heapq.nlargest(limit, found, key=rank)
    return {
        "worker": worker,
        "pid": os.getpid(),
        "connections": len(server.connections),
        "websockets": opened,
        "counters": server.counters.as_dict(),
        "cpu": time.process_time(),
        "clients": [client(each, worker) for each in most],
        "topics": topics(limit),
    }


def client(connection: Connection, worker: int) -> dict[str, Any]:
    """Return one connection."""
    outbox = connection.outbox
    return {
        "id": identity(connection, worker),
        "peer": logs.peer_text(connection.peer),
        "user": user_of(connection),
        "path": path_of(connection),
        "state": FlowState(outbox.flow).name.lower(),
        "queued": queued(connection),
        "age": age(connection),
        "rtt": connection.ws.latency,
        "seconds": connection.loop_state.clock() - connection.opened_at,
        "received": connection.received_messages,
        "sent": outbox.sent_messages,
        "dropped": outbox.dropped,
    }


def identity(connection: Connection, worker: int) -> str:
    """Return a name that no other connection of the server has, now or soon."""
    sock = connection.transport.get_extra_info("socket")
    number = id(connection) if sock is None else sock.fileno()
    return f"{worker}-{number}-{int(connection.opened_at * 1e4) & 0xFFFFF:x}"


def path_of(connection: Connection) -> str:
    return logs.escape(connection.ws.request.path)


def user_of(connection: Connection) -> str:
    """Return who it is, as ``authorize`` has noted; "" where nobody knows."""
    user = getattr(connection.ws.request, "user", None)
    return logs.escape(logs.user_text(user)[:MAX_USER])


def topics(limit: int) -> list[dict[str, Any]]:
    """Return the topics that most clients listen to, over all hubs of this process."""
    found = [
        (listeners, name, hub.name)
        for hub in list(HUBS)
        for name, listeners in islice(hub.audience(), TOPICS_SEEN)
        if listeners and not name.startswith("\0")
    ]
    return [
        {"topic": logs.escape(name), "hub": hub, "listeners": listeners}
        for listeners, name, hub in heapq.nlargest(limit, found)
    ]


def close(server: Server, worker: int, name: str) -> bool | None:
    """Close one connection as an operator: 1008; None where it is not ours, or has gone."""
    for connection in list(server.connections):
        if connection.ws is not None and identity(connection, worker) == name:
            connection.ws.close_nowait(1008, "closed by the operator")
            return True
    return None
