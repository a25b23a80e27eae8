"""The handler that makes topics of a hub a feed."""

from __future__ import annotations

from typing import Any

from fastws.config import check_arguments, check_number
from fastws.connection.handlers import Handler
from fastws.connection.websocket import WebSocket
from fastws.feed.access import Authenticate, FeedClient, MayPublish, MaySubscribe, User
from fastws.feed.guests import Guest, accepted
from fastws.feed.protocol import MAX_TOPICS, PING_SECONDS, REPLAY_BYTES, SUBPROTOCOL
from fastws.feed.replay_budget import ReplayBudget
from fastws.feed.server_sent import events_for
from fastws.feed.session import Session
from fastws.feed.settings import FeedSettings
from fastws.pubsub.events import Synced
from fastws.pubsub.hub import Hub

__all__ = ["Feed"]


class Feed(Handler):
    """Topics of a hub for plain clients, browsers first: the handler of a :class:`fastws.Route`.

    Clients name their topics in the URL or subscribe by a command, come back with their position, publish,
    and are told what they missed; each message is a JSON object in a text frame. See the page "Feeds" for the
    protocol.

    The hooks are called on the event loop, one at a time for each client, and may be ``async def``; after 10
    s one is cancelled. A hook may raise :class:`fastws.FeedError`, of which the client is told. After any
    other exception, a hook that takes too long and an answer that means nothing the client is told
    ``internal``, and the log has the reason. The connection stays; but a client of which ``authenticate`` has
    not said who it is, is closed with 4408, and comes back.

    Args:
        hub: Whose topics they are.
        may_subscribe: Is called with a :class:`fastws.FeedClient` and the name of a topic. It returns True,
            False, or a :class:`fastws.Grant`. ``fastws.anyone`` lets everybody listen to everything.
        may_publish: Is called with a :class:`fastws.FeedClient` and a :class:`fastws.Publication`. It returns
            True, False, or another publication. Default None: clients do not publish.
        authenticate: Is called with the request and None when a client comes, and with the request and the
            token when that says one. It returns a :class:`fastws.User`; or None where there is none, or none
            yet: then a token must come within 10 s. Default None: clients are nobody in particular.
        max_topics: How many topics one client may have. Default 128.
        ping: Seconds of silence after which a client is sent ``{}``, so that it sees a dead line. Default 10.
        replay_bytes_by_address: How many bytes of what topics keep, messages and snapshots, and of lists of
            who is here, the clients of one address (of IPv6 its first 64 bits) are sent in a minute: as many
            at once, and as they come back evenly, again. While there are some left, a client is sent all that
            it asks for; when they are spent, one that comes for more is refused with ``too_fast``, and told
            when to come back (or with 429). What is published to who listens is not counted. Each process
            counts for itself.
            Behind a proxy all clients are of one address where that does not say whose the requests are.
            Default 256 MiB; None: no limit.

    Raises:
        TypeError: ``hub`` is no :class:`fastws.Hub`, a hook is none, or a number is none.
        ValueError: A number is out of range.
    """

    #: What browsers that ask for a subprotocol get.
    subprotocols = (SUBPROTOCOL,)

    def __init__(
        self,
        hub: Hub,
        *,
        may_subscribe: MaySubscribe,
        may_publish: MayPublish | None = None,
        authenticate: Authenticate | None = None,
        max_topics: int = MAX_TOPICS,
        ping: float = PING_SECONDS,
        replay_bytes_by_address: int | None = REPLAY_BYTES,
    ) -> None:
        if not isinstance(hub, Hub):
            raise TypeError(f"a feed is of a fastws.Hub, not {hub!r}")
        check_arguments(may_subscribe, "may_subscribe=", ("client", "topic"))
        if may_publish is not None:
            check_arguments(may_publish, "may_publish=", ("client", "publication"))
        if authenticate is not None:
            check_arguments(authenticate, "authenticate=", ("request", "token"))
        check_number("max_topics", max_topics, 1)
        if isinstance(ping, bool) or not isinstance(ping, (int, float)):
            raise TypeError(f"ping is a number of seconds, not {ping!r}")
        if not 1 <= ping <= 3600:
            raise ValueError(f"ping is from 1 to 3600 seconds, not {ping}")
        replays = None
        if replay_bytes_by_address is not None:
            check_number("replay_bytes_by_address", replay_bytes_by_address, 1)
            replays = ReplayBudget(replay_bytes_by_address)
        self._settings = FeedSettings(
            hub, may_subscribe, may_publish, authenticate, max_topics, ping, replays
        )
        self._sessions: dict[WebSocket, Session] = {}

    async def run(self, websocket: Any, *, user: User | None = None, request: Any = None) -> None:
        """Serve one client in a handler of another framework; return when it has gone.

        Call it in FastAPI, Starlette (which need not have accepted the WebSocket), aiohttp and websockets, or
        in an ``async def handler(ws)`` of fastws. The framework's own rules hold before it: it checks the
        origin. Cancelled, the client leaves its topics, and the WebSocket stays as it is.

        Args:
            websocket: The WebSocket, which nobody else reads.
            user: Who it is, where the application knows that already. Default None: ``authenticate`` says it.
            request: What hooks are given, and whose query names topics. Default: that of the WebSocket, which
                aiohttp's has not: give its request.

        Raises:
            TypeError: It is no WebSocket, or ``user`` no :class:`fastws.User`.
            RuntimeError: It is not accepted, and cannot be.
        """
        if user is not None and not isinstance(user, User):
            raise TypeError(f"user= is a fastws.User, not {user!r}")
        await accepted(websocket)
        guest = Guest(websocket, request)
        guest.session = session = Session(self._settings, guest, FeedClient(guest.request))
        session.start(guest.query, user)
        try:
            async for message in guest.messages():
                session.receive(message)
        finally:
            session.end()
            await guest.leave()

    async def sse(self, request: Any) -> Any:
        """Answer a plain request with server-sent events: for ``http=`` of a :class:`fastws.Route`, and in
        Starlette and FastAPI, which are given what they understand.

        The events have the objects that a WebSocket would bring, and as their ids the positions of all topics
        of the URL, so that an ``EventSource`` that connects again is sent what it has missed. A client that
        is refused gets a status (RFC 9110, section 15.5). ``authenticate`` is given the token of an
        ``Authorization: Bearer`` field where there is one. The topics are those of the URL, at most 32:
        ``User.topics`` does not add to them.

        A :class:`fastws.Route` lets those origins in that may open its WebSockets, and says so to browsers
        (CORS). In other frameworks their own rules hold.

        Args:
            request: A :class:`fastws.Request`, or Starlette's.

        Returns:
            A :class:`fastws.Response`, or a response of Starlette.
        """
        return await events_for(self._settings, request)

    def on_open(self, ws: WebSocket) -> None:
        assert ws.request is not None
        self._sessions[ws] = session = Session(self._settings, ws, FeedClient(ws.request))
        session.start(ws.request.query)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self._sessions[ws].receive(message)

    def on_sync(self, ws: WebSocket, synced: Synced) -> None:
        self._sessions[ws].sync(synced)

    def on_gap(self, ws: WebSocket, topic: str, missed: int | None, reason: str) -> None:
        self._sessions[ws].gap(topic, missed, reason)

    def _on_refused(self, ws: WebSocket, topic: str) -> None:
        """Tell a client that a broker refuses one of its topics."""
        self._sessions[ws].refuse(topic)

    def on_writable(self, ws: WebSocket) -> None:
        self._sessions[ws].work()

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self._sessions.pop(ws).end()
