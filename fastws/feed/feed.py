"""The handler that makes topics of a hub a feed."""

from __future__ import annotations

from fastws.config import check_arguments, check_number
from fastws.connection.handlers import Handler
from fastws.connection.websocket import WebSocket
from fastws.feed.access import Authenticate, MayPublish, MaySubscribe
from fastws.feed.protocol import MAX_TOPICS, PING_SECONDS, SUBPROTOCOL
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
    ``internal``, and the log has the reason. The connection stays.

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
        self._settings = FeedSettings(hub, may_subscribe, may_publish, authenticate, max_topics, ping)
        self._sessions: dict[WebSocket, Session] = {}

    def on_open(self, ws: WebSocket) -> None:
        assert ws.request is not None
        self._sessions[ws] = session = Session(self._settings, ws, ws.request)
        session.start(ws.request.query)

    def on_message(self, ws: WebSocket, message: str | bytes) -> None:
        self._sessions[ws].receive(message)

    def on_sync(self, ws: WebSocket, synced: Synced) -> None:
        self._sessions[ws].sync(synced)

    def on_writable(self, ws: WebSocket) -> None:
        self._sessions[ws].work()

    def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
        self._sessions.pop(ws).end()
