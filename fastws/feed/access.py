"""Who is on a feed, and what an application lets them do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from fastws import json
from fastws.errors import FastWSError
from fastws.feed.strict_json import MAX_DEPTH, loads
from fastws.protocol.http.messages import Request
from fastws.pubsub.notes import MAX_AUTHOR_BYTES
from fastws.pubsub.patterns import check_name
from fastws.pubsub.presence.shown import info_source
from fastws.web.routes import names

__all__ = [
    "Authenticate",
    "FeedClient",
    "FeedError",
    "Grant",
    "MayPublish",
    "MaySubscribe",
    "Publication",
    "User",
    "anyone",
    "note_user",
]

_BINARY = bytes, bytearray, memoryview
_CODE = re.compile(r"[a-z][a-z_]{0,31}")
#: A year: more seconds than anybody waits.
MAX_RETRY_SECONDS = 365 * 24 * 3600


class FeedError(FastWSError):
    """A feed refuses something.

    Raise it in a hook of a :class:`fastws.Feed`: the client is told, and stays. At the other end a
    :class:`fastws.FeedFollower` raises it. ``code``, ``reason`` and ``retry_after`` are attributes too.

    Args:
        code: What programs read: ``"forbidden"``, ``"too_fast"`` and so on, or one of your own in small
            letters and underscores.
        reason: What people read. Default: nothing.
        retry_after: Seconds after which it may be tried again, at most a year. Default None: not said.

    Raises:
        ValueError: ``code`` is none, ``reason`` no Unicode text, or ``retry_after`` out of range.
        TypeError: ``reason`` is no text, or ``retry_after`` no number.
    """

    def __init__(self, code: str, reason: str = "", retry_after: float | None = None) -> None:
        if _CODE.fullmatch(code) is None:
            raise ValueError(f"a code has small letters and underscores, at most 32, not {code!r}")
        if not isinstance(reason, str):
            raise TypeError(f"a reason is text, not {reason!r}")
        reason.encode()
        _check_seconds("retry_after", retry_after)
        if retry_after is not None and not 0 <= retry_after <= MAX_RETRY_SECONDS:
            raise ValueError(f"retry_after is from 0 to {MAX_RETRY_SECONDS} seconds, not {retry_after}")
        super().__init__(code, reason, retry_after)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}" if self.reason else self.code


@dataclass(frozen=True, slots=True)
class User:
    """Somebody whom ``authenticate`` of a :class:`fastws.Feed` knows.

    Raises ``TypeError`` and ``ValueError`` for names and times that cannot be.
    """

    #: The name in your application. A token that is renewed must be of the same.
    id: str
    #: The name that others see, as the author of messages; at most 125 bytes of UTF-8. Default: ``id``.
    public_id: str | None = None
    #: What others may see beside it, where a topic has a ``presence``: a value of JSON, at most 1 KiB.
    info: Any = None
    #: Unix time at which another token is needed. Default None: never.
    expires_at: float | None = None
    #: Topics to which this user is subscribed without asking for them, and without ``may_subscribe``.
    topics: tuple[str, ...] = ()
    #: For your hooks; no client is told.
    claims: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.public_id is None:
            object.__setattr__(self, "public_id", self.id)
        for name in (self.id, self.public_id):
            if not isinstance(name, str):
                raise TypeError(f"the name of a user is text, not {type(name).__name__}")
            if not name or len(name.encode()) > MAX_AUTHOR_BYTES:
                raise ValueError(f"the name of a user has 1 to {MAX_AUTHOR_BYTES} bytes")
        object.__setattr__(self, "topics", names("topics", self.topics))
        for topic in self.topics:
            if not isinstance(topic, str):
                raise TypeError(f"topics= is a list of names, and {topic!r} is none")
            check_name(topic)
        info_source(self.info)
        _check_seconds("expires_at", self.expires_at)


@dataclass(frozen=True, slots=True)
class Grant:
    """A yes of ``may_subscribe``, with conditions.

    Raises ``TypeError`` and ``ValueError`` for numbers that cannot be.
    """

    #: Whether others see this client among those who listen, where the topic has a ``presence``.
    visible: bool = True
    #: What they see beside its name, in place of the user's ``info``: a value of JSON, at most 1 KiB.
    info: Any = None
    #: Messages per second at most. Default None: as many as there are.
    max_rate: float | None = None
    #: Unix time at which the subscription ends. Default None: never.
    expires_at: float | None = None

    def __post_init__(self) -> None:
        info_source(self.info)
        _check_seconds("expires_at", self.expires_at)
        _check_seconds("max_rate", self.max_rate)
        if self.max_rate is not None and self.max_rate <= 0:
            raise ValueError(f"max_rate is more than 0, not {self.max_rate}")


def _check_seconds(name: str, value: object) -> None:
    """Raise for what is neither None nor a number that can be counted with."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number, not {value!r}")
    try:
        finite = isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"{name} is a finite number, not {value!r:.40}")


@dataclass(frozen=True, slots=True)
class Publication:
    """What a client wants to publish. ``may_publish`` may return another one in its place."""

    #: The topic's name.
    topic: str
    #: JSON text; None where it is bytes, or where a key shall have no value any more.
    source: str | None = None
    #: Bytes of a binary message.
    data: bytes | None = None
    #: Of a keyed topic: whose value it is.
    key: str | None = None
    #: The key shall have no value any more.
    remove: bool = False
    #: The client's id for it: within 300 s it is published once.
    once: str | None = None
    #: True where the JSON text is of our own making and not deep, and need not be looked at again.
    _is_ours: bool = field(default=False, init=False, repr=False, compare=False)

    @property
    def value(self) -> Any:
        """The value of the JSON text, or the bytes."""
        return self.data if self.source is None else loads(self.source)

    def with_value(self, value: Any) -> Publication:
        """Return the same with another value: ``bytes``, or anything that is JSON.

        Raises ``TypeError`` for what is none, ``ValueError`` for a NaN or an infinity in it.
        """
        if isinstance(value, _BINARY):
            return Publication(self.topic, None, bytes(value), self.key, once=self.once)
        source = json.finite_text(value)
        changed = Publication(self.topic, source, None, self.key, once=self.once)
        if source.count("[") + source.count("{") < MAX_DEPTH:
            object.__setattr__(changed, "_is_ours", True)
        return changed


class FeedClient:
    """A client of a feed, as its hooks see it."""

    __slots__ = ("_topics", "id", "request", "user")

    def __init__(self, request: Any) -> None:
        #: Names this connection.
        self.id = secrets.token_urlsafe(9)
        #: The request that opened it: a :class:`fastws.Request`, or what another framework has.
        self.request = request
        #: None where nobody asked, or before the token.
        self.user: User | None = None
        self._topics: dict[str, Any] = {}

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that it is subscribed to."""
        return tuple(self._topics)


def note_user(request: Any, user: User) -> None:
    """Let the log name the user of a request. That of another framework is left as it is."""
    if isinstance(request, Request):
        request.user = user


def anyone(client: FeedClient, subject: str | Publication) -> bool:
    """Let everybody: for ``may_subscribe=`` and ``may_publish=`` of a :class:`fastws.Feed`."""
    return True


MaySubscribe = Callable[[FeedClient, str], bool | Grant | Awaitable[bool | Grant]]
MayPublish = Callable[[FeedClient, Publication], bool | Publication | Awaitable[bool | Publication]]
Authenticate = Callable[[Any, str | None], User | Awaitable[User | None] | None]
