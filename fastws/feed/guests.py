"""WebSockets of other frameworks, and of coroutine handlers, as a feed needs them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastws.asgi.subscriber import Subscriber, close_verb, subscriber, websocket_of
from fastws.connection.websocket import WebSocket
from fastws.feed.protocol import SUBPROTOCOL
from fastws.feed.query import query_of
from fastws.feed.replay_budget import peer_of
from fastws.feed.session import Session
from fastws.pubsub.events import Synced

__all__ = ["Guest", "accepted"]

log = logging.getLogger("fastws.error")

#: So long a framework may take to close a WebSocket.
CLOSE_SECONDS = 5.0


async def accepted(websocket: Any) -> None:
    """Accept a WebSocket of Starlette or FastAPI where the application has not."""
    state = getattr(websocket, "application_state", None)
    if getattr(state, "name", None) == "CONNECTING":
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)


class Guest:
    """The line of a session that does not begin with a :class:`fastws.Route`.

    Raises as :func:`fastws.subscriber`.
    """

    def __init__(self, websocket: Any, request: Any = None) -> None:
        self._websocket = websocket
        #: The socket behind it, if that is ours.
        self._ours = websocket_of(websocket)
        self._member: Subscriber = subscriber(websocket)
        self.outbox = self._member.outbox
        #: For hooks, and for its query.
        self.request = _request_of(websocket) if request is None else request
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._closing: asyncio.Task[None] | None = None
        #: Waits until the socket takes answers, while it does not.
        self._pause: asyncio.Task[None] | None = None
        #: Whose line this is.
        self.session: Session | None = None

    @property
    def query(self) -> str:
        """The query of the URL, as it came."""
        return query_of(self.request)

    @property
    def peer(self) -> Any:
        """The client's address, as the framework knows it; None where it does not."""
        return peer_of(self.request, self._websocket)

    # -- what a session needs (``Line``) --------------------------------------------------------

    def tell_sync(self, synced: Synced) -> bool:
        """Tell the session where a subscription begins; the hub does."""
        assert self.session is not None
        self.session.sync(synced)
        return True

    def tell_gap(self, topic: str, missed: int | None, reason: str) -> bool:
        """Tell the session that changes of a keyed topic do not come; the hub does."""
        assert self.session is not None
        self.session.gap(topic, missed, reason)
        return True

    def tell_refused(self, topic: str) -> bool:
        """Tell the session that a broker refuses one of its topics; the hub does."""
        assert self.session is not None
        self.session.refuse(topic)
        return True

    def close_nowait(self, code: int, reason: str) -> None:
        if self._ours is not None:
            self._ours.close_nowait(code, reason)
        else:
            self.outbox.leave_topics()
            self._closing = asyncio.get_running_loop().create_task(self._close(code, reason))

    def pause_reading(self) -> None:
        self._may_read.clear()
        if self._pause is None and self.outbox.blocked:
            self._pause = asyncio.get_running_loop().create_task(self._work_on())

    def resume_reading(self) -> None:
        self._may_read.set()

    async def _work_on(self) -> None:
        """Let the session work when the socket takes answers again."""
        assert self.session is not None
        while self.outbox.blocked and self.outbox.is_open:
            await self._member.sent()
        self._pause = None
        self.session.work()

    async def _close(self, code: int, reason: str) -> None:
        """Close when what was said before has been sent."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._member.sent()
                await close_verb(self._websocket)(code, reason)
        except Exception as error:
            log.debug("a client of a feed could not be closed: %r", error)

    # -- what the feed needs --------------------------------------------------------------------

    async def messages(self) -> AsyncIterator[str | bytes]:
        """What the client says, until it is gone. Nothing is read while a session does not want it."""
        while True:
            await self._may_read.wait()
            message = await self._receive()
            if message is None:
                return
            yield message

    async def _receive(self) -> str | bytes | None:
        websocket = self._websocket
        if isinstance(websocket, WebSocket):
            return await anext(aiter(websocket), None)
        if hasattr(websocket, "receive"):
            return _message(await websocket.receive())
        return await anext(aiter(websocket), None)

    async def leave(self) -> None:
        """Leave every topic; let a close that has begun end."""
        if self._pause is not None:
            self._pause.cancel()
        try:
            if self._closing is not None:
                await self._closing
        finally:
            self._member.leave()


def _message(event: Any) -> str | bytes | None:
    """Return the message of an event of ASGI, or of aiohttp; None for the end."""
    if isinstance(event, dict):
        if event["type"] != "websocket.receive":
            return None
        text = event.get("text")
        found: str | bytes = event.get("bytes") or b"" if text is None else text
        return found
    data = event.data
    return data if event.type.name in ("TEXT", "BINARY") else None


def _request_of(websocket: Any) -> Any:
    found = getattr(websocket, "request", None)
    return websocket if found is None else found
