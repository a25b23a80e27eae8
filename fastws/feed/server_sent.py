"""Feeds as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections import deque
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from fastws import json
from fastws.asgi.sink import open_sink
from fastws.config import Limits
from fastws.feed.access import FeedClient, FeedError, Grant, User
from fastws.feed.commands import Sub
from fastws.feed.granting import granted, is_over, replay_of, start_of
from fastws.feed.hooks import ask, nonsense
from fastws.feed.query import topics_of
from fastws.feed.session import Session
from fastws.feed.settings import FeedSettings
from fastws.protocol.http.messages import Request, Response
from fastws.protocol.websocket.handshake import is_origin_allowed
from fastws.pubsub.events import Synced

__all__ = ["events_for"]

#: Topics of one stream: an id has a position for each, and browsers send it in a field of a request.
MAX_TOPICS = 32
#: Bytes that wait for a client; with more, its topics wait.
HIGH_WATER_BYTES = 64 * 1024
#: Milliseconds after which a browser connects again: not all at the same time.
RETRY_MS = (1000, 4000)
#: What stands in an id for a topic without a position.
NOWHERE = "-"
#: The position that a message says: of a message, of where a topic begins, of a client that has caught up.
_POSITION = re.compile(
    r'\{"t":("(?:[^"\\]|\\.)*"),(?:"at":"([^"]*)"|"live":"([^"]*)"|"sync":\{"at":(?:null|"([^"]*)").*"snapshot":(true|false))'
)
_LINE_END = re.compile(r"\r\n|\r|\n")
#: The status of a refusal (RFC 9110, section 15.5; RFC 6585, section 4).
STATUS = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "subscribed": 400,
    "limit": 400,
    "too_large": 413,
    "too_fast": 429,
}


async def events_for(settings: FeedSettings, request: Any) -> Any:
    """Return the response to a request for events."""
    headers: dict[str, str] = {}
    try:
        if isinstance(request, Request):
            headers = _fields_for_origin(request)
        client, user, topics = await _admit(settings, request)
    except FeedError as error:
        # A page of an origin that may come here is to see the status, as it would see the events.
        refusal = headers
        if error.retry_after is not None:
            refusal["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        if error.code == "unauthorized":
            refusal["WWW-Authenticate"] = "Bearer"
        text = error.reason or error.code
        return _answer(
            request, STATUS.get(error.code, 503), f"{text}\n", refusal, "text/plain; charset=utf-8"
        )
    headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    events = EventStream(settings, client, user, topics)
    return _answer(request, 200, events, headers, "text/event-stream")


def _answer(request: Any, status: int, body: Any, headers: dict[str, str], kind: str) -> Any:
    if isinstance(request, Request):
        if isinstance(body, str):
            return Response(status, body, headers, kind)
        return Response(status, headers=headers, content_type=kind, stream=body)
    responses: Any = import_module("starlette.responses")
    if isinstance(body, str):
        return responses.Response(body, status, headers, kind)
    return responses.StreamingResponse(_closing(body), status, headers, kind)


async def _closing(events: EventStream) -> AsyncIterator[bytes]:
    """Close the events in any case: Starlette closes generators alone."""
    try:
        async for piece in events:
            yield piece
    finally:
        await events.aclose()


def _fields_for_origin(request: Request) -> dict[str, str]:
    """Return the fields for a page of another origin. Raises :class:`FeedError` where that may not come."""
    origins = request.headers.get_list("origin")
    if not origins:
        return {}
    endpoint = None if request.server is None else request.server.endpoint_of(request)
    allowed = frozenset() if endpoint is None else endpoint.origins
    if len(origins) > 1 or not is_origin_allowed(origins[0], request.headers.get("host"), allowed):
        raise FeedError("forbidden", "this origin may not come here")
    return {
        "Access-Control-Allow-Origin": origins[0],
        "Access-Control-Allow-Credentials": "true",
        "Vary": "Origin",
    }


async def _admit(
    settings: FeedSettings, request: Any
) -> tuple[FeedClient, User | None, list[tuple[Sub, Grant]]]:
    """Return who it is, and what was granted. Raises :class:`FeedError`."""
    client = FeedClient(request)
    if settings.authenticate is not None:
        user = await ask(settings.authenticate, request, _token_of(request))
        if user is None:
            raise FeedError("unauthorized", "who are you?")
        if not isinstance(user, User):
            raise nonsense(settings.authenticate, user, "a fastws.User or None")
        if is_over(user):
            raise FeedError("unauthorized", "the token has expired")
        client.user = user
    subs = _asked(request)
    if not 1 <= len(subs) <= min(MAX_TOPICS, settings.max_topics):
        raise FeedError("limit", f"1 to {min(MAX_TOPICS, settings.max_topics)} topics in the URL")
    if len({sub.topic for sub in subs}) < len(subs):
        raise FeedError("subscribed", "a topic stands twice in the URL")
    for sub in subs:
        start_of(sub)
    grants = [await granted(settings, client, sub.topic) for sub in subs]
    topics = list(zip(subs, grants, strict=True))
    if settings.replays is not None and request.method != "HEAD":
        sizes = [replay_of(settings, sub, grant) for sub, grant in topics]
        known = sum(size for size in sizes if size is not None)
        settings.replays.admit(known or (None if None in sizes else 0), request)
    return client, client.user, topics


def _token_of(request: Any) -> str | None:
    """Return the token of a request. Raises :class:`FeedError` where a proxy may have read another one."""
    headers = request.headers
    given = (headers.get_list if isinstance(request, Request) else headers.getlist)("authorization")
    if len(given) > 1:
        raise FeedError("bad_request", "Authorization stands twice")
    scheme, _, token = (given[0] if given else "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _asked(request: Any) -> list[Sub]:
    """Return the topics of the URL, from the positions of the last event on where the client has seen one."""
    query = request.query if isinstance(request, Request) else request.url.query
    try:
        subs = topics_of(query)
    except ValueError as error:
        raise FeedError("bad_request", str(error)) from None
    seen = request.headers.get("last-event-id")
    if not seen:
        return subs
    positions = seen.split(" ")
    if len(positions) != len(subs):
        raise FeedError("bad_request", "Last-Event-ID has one position for each topic of the URL")
    return [
        Sub(sub.topic, None if position == NOWHERE else position, sub.recent, sub.rate)
        for sub, position in zip(subs, positions, strict=True)
    ]


class EventStream:
    """The body of a response: an async iterator, which begins with its first step.

    It is also the line of a session.
    """

    def __init__(
        self,
        settings: FeedSettings,
        client: FeedClient,
        user: User | None,
        topics: list[tuple[Sub, Grant]],
    ) -> None:
        self._begin = settings, client, user, topics
        #: Read by the server: little is to wait in the kernel.
        self.is_of_latest_values = any(settings.hub._is_keyed(sub.topic) for sub, _ in topics)
        #: Each topic's position, and the topics that have not said one yet. While there are some, an event
        #: has no id, and a browser keeps the last one that it has seen.
        self._unknown = {sub.topic for sub, _ in topics}
        self._positions = dict.fromkeys([sub.topic for sub, _ in topics], NOWHERE)
        #: Topics whose snapshot has not come whole: their position is none yet.
        self._incomplete: set[str] = set()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._session: Session | None = None
        self._is_over = False
        #: The step, or the senders, that wait.
        self._waiter: asyncio.Future[None] | None = None
        self._senders: list[asyncio.Future[None]] = []
        self._sink: Any = None

    # -- an async iterator ----------------------------------------------------------------------

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        if self._session is None and not self._is_over:
            self._start()
        while not self._pieces:
            if self._is_over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        senders, self._senders = self._senders, []
        for sender in senders:
            if not sender.done():
                sender.set_result(None)
        return taken

    async def aclose(self) -> None:
        """The client has gone, or nobody wants the rest."""
        self._end()
        self._pieces.clear()

    def server_stops(self) -> None:
        """The server stops: end with what there is. Browsers come back."""
        self._end()

    def _start(self) -> None:
        settings, client, user, topics = self._begin
        self._sink = open_sink(self._send, self._close, Limits(), lambda: self._size)
        self.outbox = self._sink.outbox
        self._pieces.append(b"retry: %d\n\n" % random.randint(*RETRY_MS))
        self._session = Session(settings, self, client)
        self._session.begin(user, topics)

    def _end(self) -> None:
        self._is_over = True
        if self._session is not None:
            self._session.end()
            self._sink.end()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- what the sink sends --------------------------------------------------------------------

    async def _send(self, message: str | bytes) -> None:
        assert isinstance(message, str)
        piece = self._event(message)
        self._pieces.append(piece)
        self._size += len(piece)
        self._wake()
        while self._size >= HIGH_WATER_BYTES and not self._is_over:
            taken = asyncio.get_running_loop().create_future()
            self._senders.append(taken)
            await taken

    async def _close(self, code: int, reason: str) -> None:
        self._end()

    def _event(self, text: str) -> bytes:
        found = _POSITION.match(text)
        if found is not None:
            self._note_position(found)
        # What a client has published may have been written in several lines.
        data = _LINE_END.sub("\ndata: ", text)
        id = "" if self._unknown else f"id: {' '.join(self._positions.values())}\n"
        return f"{id}data: {data}\n\n".encode()

    def _note_position(self, found: re.Match[str]) -> None:
        topic = json.loads(found[1])
        if topic not in self._positions:
            return
        self._unknown.discard(topic)
        if found[5] == "true":
            self._incomplete.add(topic)
            self._positions[topic] = NOWHERE
            return
        if found[3] is not None:
            self._incomplete.discard(topic)
        if topic not in self._incomplete:
            self._positions[topic] = found[2] or found[3] or found[4] or NOWHERE

    # -- the line of a session ------------------------------------------------------------------

    def tell_sync(self, synced: Synced) -> bool:
        """Tell the session where a subscription begins; the hub does."""
        assert self._session is not None
        self._session.sync(synced)
        return True

    def tell_gap(self, topic: str, missed: int | None, reason: str) -> bool:
        """Tell the session that changes of a keyed topic do not come; the hub does."""
        assert self._session is not None
        self._session.gap(topic, missed, reason)
        return True

    def tell_refused(self, topic: str) -> bool:
        """Tell the session that a broker refuses one of its topics; the hub does."""
        assert self._session is not None
        self._session.refuse(topic)
        return True

    def close_nowait(self, code: int, reason: str) -> None:
        """End when what was said has been sent: a browser comes back, and is told a status."""
        self._is_over = True
        self._wake()

    def pause_reading(self) -> None:
        """A client says nothing after its request."""

    def resume_reading(self) -> None:
        """See :meth:`pause_reading`."""
