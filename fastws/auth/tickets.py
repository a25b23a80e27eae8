"""One-use tickets: a page asks the application for one, and opens one connection with it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from typing import Any
from weakref import WeakValueDictionary

from fastws.auth.authenticator import Authenticator, checked_seconds
from fastws.auth.places import Places
from fastws.auth.refusals import NotNow, Refused
from fastws.errors import BrokerUnavailable
from fastws.feed.access import User
from fastws.pubsub.bus.registry import bus_of
from fastws.pubsub.hub import Hub

__all__ = ["Tickets"]

MIN_SECRET_BYTES = 32
MAX_CHARACTERS = 4096
#: Seconds: an id of ``publish_confirmed(once=)``, which says that a ticket was used, is known for 300.
MAX_TTL = 240.0
#: Tickets of this process that are known to be used.
MAX_USED = 100_000
#: What is signed begins with it, so that no other signature by the same secret is a ticket.
PURPOSE = b"fastws.ticket.v1\0"
TOPIC = "used"

#: The hubs by which processes tell each other, by their names and brokers.
_hubs: WeakValueDictionary[tuple[str, str | None], Hub] = WeakValueDictionary()


class Tickets(Authenticator):
    """Issues tickets, each of which opens one connection: an ``authenticate=`` of a feed, an ``authorize=``.

    A ticket says who somebody is, is signed with HMAC-SHA256, and good for ``ttl`` seconds and one use. So it
    may stand in a URL, ``?ticket=...``, which proxies log. Workers of one ``fastws serve``, and nodes with a
    broker, accept each ticket once in all.

    Args:
        secret: At least 32 bytes, as ``bytes`` or ``str``, the same in all processes; or several, of which
            the first signs, while all are accepted.
        ttl: Seconds, at most 240. Default 30.
        broker: As of :class:`fastws.Hub`: how processes tell each other which tickets were used.
        query: The name of the parameter of the URL. Default ``"ticket"``. Our access log hides it. None: a
            ticket is only taken from what a client of a feed says, and from ``Authorization: Bearer``.

    Raises:
        ValueError: A secret is too short, ``ttl`` out of range, or processes share by a path, where nobody
            can say which ticket was used.
        TypeError: A secret is neither text nor bytes.
    """

    what = "the ticket"

    def __init__(
        self,
        secret: str | bytes | Sequence[str | bytes],
        ttl: float = 30.0,
        *,
        broker: str | None = None,
        query: str | None = "ticket",
    ) -> None:
        super().__init__(Places("Authorization", query=query))
        given = [secret] if isinstance(secret, (str, bytes)) else list(secret)
        self._keys = [_checked(each) for each in given]
        if not self._keys:
            raise ValueError("Tickets need a secret")
        self._ttl = checked_seconds("ttl", ttl, 1, MAX_TTL)
        self._clock = time.time
        self._used: OrderedDict[str, float] = OrderedDict()
        #: The life of the topic that says what was used, and when another one was seen to begin.
        self._epoch: str | None = None
        self._forgotten_at = 0.0
        self._hub = _hub_for(self._keys[0], broker)

    def issue(self, user: User | str) -> str:
        """Return a new ticket. It may be called in any thread.

        Args:
            user: Whom it is for, or the id. ``info`` and ``claims`` of a :class:`fastws.User` must be JSON;
                who reads the ticket reads them.

        Raises:
            ValueError: It would have more than 4,096 characters, or something is not JSON.
            TypeError: As ValueError, or ``user`` is neither.
        """
        if isinstance(user, str):
            user = User(user)
        if not isinstance(user, User):
            raise TypeError(f"a ticket is for a fastws.User or an id, not {user!r}")
        said: dict[str, Any] = {"n": secrets.token_urlsafe(12), "x": self._clock() + self._ttl, "u": user.id}
        optional = {
            "p": None if user.public_id == user.id else user.public_id,
            "i": user.info,
            "e": user.expires_at,
            "t": list(user.topics),
            "c": dict(user.claims),
        }
        said |= {name: value for name, value in optional.items() if value not in (None, [], {})}
        text = json.dumps(said, separators=(",", ":"), allow_nan=False).encode()
        ticket = f"{_encoded(text)}.{_encoded(_signature(self._keys[0], text))}"
        if len(ticket) > MAX_CHARACTERS:
            raise ValueError(f"a ticket has at most {MAX_CHARACTERS} characters, not {len(ticket)}")
        return ticket

    def _check(self, credential: str) -> User | Awaitable[User]:
        said = self._read(credential)
        if said["x"] <= self._clock():
            raise Refused("it has expired")
        user = User(
            said["u"],
            said.get("p"),
            said.get("i"),
            said.get("e"),
            tuple(said.get("t", ())),
            said.get("c", {}),
        )
        if self._hub is None:
            self._use(said["n"], said["x"])
            return user
        return self._use_anywhere(self._hub, said["n"], said["x"] - self._ttl, user)

    def _read(self, ticket: str) -> dict[str, Any]:
        """Return what a ticket says. Raises :class:`Refused` where it is not one of ours."""
        if len(ticket) > MAX_CHARACTERS:
            raise Refused("it has more than %d characters", MAX_CHARACTERS)
        first, dot, second = ticket.partition(".")
        text, signature = _decoded(first), _decoded(second)
        if not dot or text is None or signature is None:
            raise Refused("it is no ticket")
        if not any([hmac.compare_digest(_signature(key, text), signature) for key in self._keys]):
            raise Refused("its signature is not ours")
        said: dict[str, Any] = json.loads(text)
        return said

    def _use(self, number: str, expires_at: float) -> None:
        """Note in this process that a ticket was used. Raises :class:`Refused` for one that was before."""
        used, now = self._used, self._clock()
        while used and next(iter(used.values())) <= now:
            used.popitem(last=False)
        if number in used:
            raise Refused("it was used before")
        if len(used) >= MAX_USED:
            raise NotNow(f"{MAX_USED} tickets were used within {self._ttl:g} s", 1.0)
        # No ticket lives longer than from now on, so that the first of these is the first to be forgotten.
        used[number] = max(expires_at, now + self._ttl)

    async def _use_anywhere(self, hub: Hub, number: str, issued_at: float, user: User) -> User:
        """Do the same for all processes."""
        try:
            done = await hub.publish_confirmed(TOPIC, "", once=number)
        except (BrokerUnavailable, TimeoutError, RuntimeError) as error:
            raise NotNow(f"nobody can say whether it was used: {error}") from None
        if self._epoch not in (None, done.at.epoch):
            self._forgotten_at = self._clock()
        self._epoch = done.at.epoch
        if done.duplicate:
            raise Refused("it was used before")
        if issued_at < self._forgotten_at:
            # Who knew what was used has ended meanwhile: nobody can say that this one was not.
            raise Refused("it may have been used: what was used before is not known any more")
        return user


def _hub_for(key: bytes, broker: str | None) -> Hub | None:
    """Return the hub by which processes tell each other; None where this one is alone."""
    if bus_of(broker) is None:
        return None
    name = "fastws.tickets." + hmac.new(key, b"name of the hub", hashlib.sha256).hexdigest()[:16]
    found = _hubs.get((name, broker))
    if found is None:
        found = Hub(name, broker=broker)
        try:
            found.topic(TOPIC, history=1, ttl=MAX_TTL)
        except ValueError as error:
            raise ValueError(f"Tickets cannot be told once for all processes: {error}") from None
        _hubs[name, broker] = found
    return found


def _checked(secret: str | bytes) -> bytes:
    if not isinstance(secret, (str, bytes)):
        raise TypeError(f"a secret is text or bytes, not {type(secret).__name__}")
    key = secret.encode() if isinstance(secret, str) else secret
    if len(key) < MIN_SECRET_BYTES:
        raise ValueError(f"a secret for tickets has at least {MIN_SECRET_BYTES} bytes, not {len(key)}")
    return key


def _signature(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, PURPOSE + text, hashlib.sha256).digest()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes | None:
    """Return the bytes of base64 without its padding; None where it is none, or not as we write it."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encoded(data) == text else None
