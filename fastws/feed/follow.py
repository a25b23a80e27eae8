"""The client of feeds: ``fastws.follow``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from fastws import json
from fastws.client.connect import connect
from fastws.client.reconnect import Backoff
from fastws.config import check_number
from fastws.feed.access import FeedError
from fastws.feed.commands import Pub
from fastws.feed.event_buffer import EventBuffer
from fastws.feed.followed import FollowedTopic
from fastws.feed.line import FeedLine, Token
from fastws.feed.protocol import MAX_COMMAND_BYTES
from fastws.pubsub.events import Event, Position, Published
from fastws.pubsub.hub_history import starts_of

__all__ = ["FeedFollower", "follow"]

OUTSIDE = "a follower is used in its block: async with fastws.follow(...) as feed"
#: JSON and base64 make more bytes of a message than the server's own limit counts.
LIMITS: dict[str, Any] = {"max_message_size": 16 * 2**20}
#: A line that dies in silence is noticed within the sum of both.
TIMEOUTS: dict[str, Any] = {"ping_interval": 10.0, "ping_timeout": 10.0}


def follow(
    url: str,
    *topics: str,
    token: Token | None = None,
    since: Position | str | Mapping[str, Position | str] | None = None,
    recent: int | None = None,
    rate: float | None = None,
    buffer: int = 1024,
    backoff: Backoff | None = None,
    **options: Any,
) -> FeedFollower:
    """Follow topics of a feed, wherever it is: a :class:`fastws.FeedFollower`.

    Use it as ``async with fastws.follow(url, "rooms/1") as feed: async for event in feed: ...``. It connects
    again by itself, and each topic goes on where it was.

    Args:
        url: The feed's, ``ws://`` or ``wss://``.
        topics: Their names. None: only :meth:`FeedFollower.publish` is used.
        token: Who this client is, where the feed asks. A function, also an ``async def``, is called for each
            connection, and before a token expires. Default None: no token.
        since: Where to begin: a position or its text for one topic, or a mapping from names to these for
            several. Default: from now on.
        recent: How many of the last messages come first, where there is no ``since``, or where that is not
            known any more. Default None: as many as the topic says, which are none where it says nothing.
        rate: At most so many messages of a topic a second; then the newest counts. Default: as the server
            allows.
        buffer: Events that wait to be taken. With more, the connection is not read, and the server takes this
            client for a slow one. Default 1024.
        backoff: How long to wait before connecting again. Default ``fastws.Backoff(first=2)``.
        options: As for :class:`fastws.connect`, but for ``handler``, ``streaming`` and ``retry``. Here
            ``limits`` has a ``max_message_size`` of 16 MiB by default, and ``timeouts`` pings every 10 s.

    Raises:
        InvalidURL: ``url`` is none for a WebSocket.
        ValueError: A topic is given twice, ``since`` is no position or names another topic, or an argument is
            out of range.
        TypeError: An argument is unknown, or of a wrong type.
    """
    for name in ("handler", "streaming", "retry"):
        if name in options:
            raise TypeError(f"follow() takes no {name}=")
    for name, ours in (("limits", LIMITS), ("timeouts", TIMEOUTS)):
        given = options.get(name)
        if given is None or isinstance(given, Mapping):
            options[name] = {**ours, **(given or {})}
    connect(url, **options)  # says now what is wrong with them
    if token is not None and not isinstance(token, str) and not callable(token):
        raise TypeError(f"token= is text or a function, not {type(token).__name__}")
    if recent is not None:
        check_number("recent", recent, 0)
    check_number("buffer", buffer, 1)
    if rate is not None and not rate > 0:
        raise ValueError(f"rate= is more than 0, not {rate}")
    starts = starts_of(topics, since) if topics or since is not None else {}

    def begin(events: EventBuffer) -> FeedLine:
        followed = [FollowedTopic(name, events.positions.get(name), recent, rate) for name in starts]
        return FeedLine(
            lambda: connect(url, **options),
            followed,
            token,
            Backoff(first=2.0) if backoff is None else backoff,
            events,
        )

    known = {name: start for name, start in starts.items() if start is not None}
    return FeedFollower(begin, EventBuffer(buffer, known))


class FeedFollower:
    """Brings what topics of a feed publish, over connections that come and go: made by :func:`fastws.follow`.

    Each topic begins with a :class:`fastws.Synced`, again after each reconnect. Then come a
    :class:`fastws.Message` for each message, :class:`fastws.Live` when all that was published before is
    here, and :class:`fastws.Gap` where messages do not come. A keyed topic brings a ``Message`` for each key
    that has changed, and :class:`fastws.Removed`. :class:`fastws.Presence` says who listens, where the topic
    shows it, and :class:`fastws.Ended` that the server has ended a topic. With the last topic the iteration
    ends.

    What a later attempt may mend is tried again without an end: lost networks, restarts. What is final, the
    iteration and :meth:`publish` raise: :class:`fastws.FeedError` where a topic is refused, or where the
    server is no feed; ``ConnectionClosed`` where the server refuses this client, by a code from 4400 to 4499
    (but for 4408, 4429, and 4401 where ``token`` is a function); and what :func:`fastws.is_retryable` calls
    final, such as a status of 403.

    One coroutine at a time may take events: for another one a step raises
    :class:`fastws.ConcurrencyError`. Any number may publish. Cancelling a step loses nothing. A follower
    belongs to one loop, and outside of its block a step raises ``RuntimeError``. Leaving the block closes the
    connection.
    """

    __slots__ = ("_begin", "_events", "_line")

    def __init__(self, begin: Any, events: EventBuffer) -> None:
        self._begin = begin
        self._events = events
        self._line: FeedLine | None = None

    @property
    def positions(self) -> dict[str, Position]:
        """For each topic the position behind what was taken: where to follow on, as ``since=``."""
        return dict(self._events.positions)

    async def __aenter__(self) -> FeedFollower:
        if self._line is not None:
            raise RuntimeError("this follower is used already")
        self._events.begin()
        self._line = self._begin(self._events)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        line, self._line = self._line, None
        assert line is not None
        await line.close(RuntimeError(OUTSIDE))

    def __aiter__(self) -> FeedFollower:
        """Iterate over events until all topics have ended."""
        return self

    async def __anext__(self) -> Event:
        if self._line is None:
            raise RuntimeError(OUTSIDE)
        return await self._events.take()

    async def publish(
        self,
        topic: str,
        message: Any = None,
        *,
        key: str | None = None,
        remove: bool = False,
        once: str | None = None,
        timeout: float = 5.0,
    ) -> Published:
        """Publish to a topic, followed or not; return when the server has done it.

        Without a connection it waits for one.

        Args:
            topic: Its name.
            message: ``bytes`` go as such, all else as a value of JSON.
            key: The key of a keyed topic.
            remove: True: remove the key. Default False.
            once: An id of this message. With it what got no answer is published again on the next connection,
                and counts once. Default None.
            timeout: How long to wait, in seconds. Default 5.

        Returns:
            Where it is, in a topic that keeps messages.

        Raises:
            FeedError: The server refuses it; ``code`` says why. ``"too_large"``: as JSON it has more
                than 64 KiB, and was not sent. ``"lost"``: the connection ended before the answer, so it may
                have been published; not with ``once``.
            TimeoutError: No answer within ``timeout``: it may have been published.
            TypeError: ``message`` is no JSON.
            ValueError: There is a NaN or an infinity in it.
            RuntimeError: Outside of the block.
            Exception: What the class calls final.
        """
        if self._line is None:
            raise RuntimeError(OUTSIDE)
        source = data = None
        if isinstance(message, (bytes, bytearray, memoryview)):
            data = bytes(message)
        elif not remove:
            source = json.finite_text(message)

        def build(command: int) -> str:
            text = Pub(topic, source, data, key, remove, once, command).build()
            if len(text.encode()) > MAX_COMMAND_BYTES:
                raise FeedError("too_large", f"a command has at most {MAX_COMMAND_BYTES} bytes")
            return text

        try:
            async with asyncio.timeout(timeout) as limit:
                while True:
                    try:
                        return await self._line.ask(build)
                    except FeedError as error:
                        if error.code != "lost" or once is None:
                            raise
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"no answer to what was published within {timeout:g} s") from None
            raise
