"""One client of a feed: its commands, one after the other, and its topics."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from fastws.feed.access import FeedClient, FeedError, Grant, User, note_user
from fastws.feed.commands import Auth, BadCommand, Pub, Sub, Unsub, parse_command
from fastws.feed.granting import granted, recent_of, replay_of, seen_as, start_of
from fastws.feed.hooks import ask, nonsense
from fastws.feed.messages import Ack, End, Error, Gap, Hello, Live, Sync
from fastws.feed.protocol import MAX_COMMANDS_PER_SECOND, Close
from fastws.feed.publishing import publish
from fastws.feed.query import topics_of
from fastws.feed.session_core import Line, SessionCore, Stage
from fastws.feed.settings import FeedSettings
from fastws.pubsub.events import Position, Synced
from fastws.pubsub.pace import least
from fastws.pubsub.replays import replay_size_of

__all__ = ["Session"]

log = logging.getLogger("fastws.error")

#: Close codes for what ``authenticate`` raises.
CLOSE_CODES = {
    "unauthorized": Close.UNAUTHORIZED,
    "forbidden": Close.FORBIDDEN,
    "too_fast": Close.TOO_FAST,
    "bad_request": Close.BAD_REQUEST,
}


@dataclass(slots=True)
class Subscription:
    """One topic of a session."""

    view: Any
    #: Whether messages may be left out though the client keeps up.
    skips: bool
    #: Messages a second, as the client has asked.
    rate: float | None
    #: Of the command that began it.
    id: str | int | None = None
    #: What answers the client where the subscription ends before it is known where it begins; None: it is.
    unsaid: Sync | None = None


class Session(SessionCore):
    """Everything here runs on the loop of its WebSocket.

    Args:
        settings: Those of the feed.
        line: The WebSocket.
        client: What hooks are given.
    """

    __slots__ = ("_asked", "_settings", "_topics", "client")

    def __init__(self, settings: FeedSettings, line: Line, client: FeedClient) -> None:
        SessionCore.__init__(self, line, settings.ping)
        self._settings = settings
        self._topics = client._topics
        #: What the URL asked for, until it is known who asks.
        self._asked: list[Sub] = []
        self.client = client

    def start(self, query: str, user: User | None = None) -> None:
        """The WebSocket is open. ``user`` is known already, or ``authenticate`` says who it is."""
        self._advance(self._open(query, user))
        self.work()

    # -- one command after the other ------------------------------------------------------------

    async def _obey(self, message: str | bytes, *, too_fast: bool) -> None:
        command: Any = None
        try:
            command = parse_command(message)
            if too_fast:
                raise FeedError("too_fast", f"at most {MAX_COMMANDS_PER_SECOND} commands a second", 1)
            if isinstance(command, Auth):
                await self._authenticate(command.token)
            elif self._stage is Stage.UNKNOWN:
                raise FeedError("unauthorized", "the token comes first")
            else:
                await self._do(command)
        except BadCommand as bad:
            self.say(Error(bad.code, bad.reason, bad.id, bad.topic))
        except FeedError as error:
            self.say_error(error, getattr(command, "id", None), getattr(command, "topic", None))
        except Exception:
            log.exception("a feed failed")
            failed = FeedError("internal", "the server failed")
            self.say_error(failed, getattr(command, "id", None), getattr(command, "topic", None))

    async def _do(self, command: Sub | Unsub | Pub) -> None:
        match command:
            case Sub():
                await self._subscribe(command)
            case Unsub():
                self.unsubscribe(command.topic, "unsub")
            case Pub():
                at, is_duplicate = await publish(self._settings, self._line, self.client, command)
                if command.id is not None:
                    self.say(Ack(command.id, at, is_duplicate))

    # -- who it is ------------------------------------------------------------------------------

    async def _open(self, query: str, user: User | None) -> None:
        try:
            self._asked = topics_of(query)
        except ValueError as error:
            self.close(Close.BAD_REQUEST, str(error)[:100])
            return
        if user is not None or self._settings.authenticate is None:
            await self._welcome(user)
            return
        try:
            found = await ask(self._settings.authenticate, self.client.request, None)
            if found is None:
                self._watch.wait_for_token()
            else:
                await self._accept(found)
        except FeedError as error:
            self._refuse(error)

    async def _authenticate(self, token: str) -> None:
        if self._settings.authenticate is None:
            raise FeedError("bad_request", "this feed takes no token")
        self._watch.token_came()
        try:
            user = await ask(self._settings.authenticate, self.client.request, token)
            if user is None:
                self.close(Close.UNAUTHORIZED, "the token is not valid")
            else:
                await self._accept(user)
        except FeedError as error:
            if error.code not in CLOSE_CODES and self._stage is not Stage.UNKNOWN:
                raise  # the client is still the one that it was
            self._refuse(error)

    def _refuse(self, error: FeedError) -> None:
        self.close(CLOSE_CODES.get(error.code, Close.UNAVAILABLE), error.reason or error.code)

    async def _accept(self, user: Any) -> None:
        """Take what ``authenticate`` has returned."""
        assert self._settings.authenticate is not None
        if not isinstance(user, User):
            raise nonsense(self._settings.authenticate, user, "a fastws.User or None")
        before = self.client.user
        if before is not None and before.id != user.id:
            self.close(Close.FORBIDDEN, "the token of another user")
        elif self._stage is Stage.UNKNOWN:
            await self._welcome(user)
        else:
            self._know(user)
            if self._say_hello():
                await self._ask_again()
                had = {*self._topics, *(() if before is None else before.topics)}
                await self._subscribe_all([Sub(topic) for topic in user.topics if topic not in had])

    def _know(self, user: User | None) -> None:
        self.client.user = user
        if user is not None:
            note_user(self.client.request, user)
            self._settings.hub._know(user.id, self)

    def end(self) -> None:
        user = self.client.user
        if user is not None:
            self._settings.hub._forget(user.id, self)
        SessionCore.end(self)

    def kick(self, topic: str | None, reason: str) -> None:
        """The application sends this user away, or takes a topic from it."""
        if topic is None:
            self.close(Close.FORBIDDEN, reason)
        elif topic in self._topics:
            self.unsubscribe(topic, "revoked")

    def _say_hello(self) -> bool:
        """Say who the client is; False where its token has expired."""
        user = self.client.user
        left = self._watch.expire_user(None if user is None else user.expires_at)
        if left is not None and left <= 0:
            self.close(Close.UNAUTHORIZED, "the token has expired")
            return False
        expires = None if left is None else round(left)
        self.say(
            Hello(self.client.id, None if user is None else user.public_id, self._settings.ping, expires)
        )
        return True

    def begin(self, user: User | None, topics: list[tuple[Sub, Grant]]) -> None:
        """The WebSocket, or what is like one, is open, and everything is granted."""
        self._stage = Stage.OPEN
        self._know(user)
        if self._say_hello():
            for sub, grant in topics:
                self._join(sub, start_of(sub), grant)

    async def _welcome(self, user: User | None) -> None:
        """The client may begin: its topics are those of the URL, and those of its user."""
        self._stage = Stage.OPEN
        self._know(user)
        if not self._say_hello():
            return
        given = () if user is None else user.topics
        asked, self._asked = self._asked, []
        asked += [Sub(name) for name in given if name not in [sub.topic for sub in asked]]
        await self._subscribe_all(asked)

    async def _subscribe_all(self, subs: list[Sub]) -> None:
        """Subscribe to what nobody has asked for by a command."""
        for sub in subs:
            try:
                await self._subscribe(sub)
            except FeedError as error:
                self.say_error(error, None, sub.topic)

    async def _ask_again(self) -> None:
        """The user has another token: does it still allow each topic, and until when?"""
        for name, subscription in list(self._topics.items()):
            try:
                grant = await granted(self._settings, self.client, name)
            except FeedError:
                if self._topics.get(name) is subscription:
                    self.unsubscribe(name, "revoked")
            else:
                if self._topics.get(name) is subscription:  # it has not ended meanwhile
                    self._watch.expire_topic(name, grant.expires_at)
                    self._change_rate(subscription, grant)
                    self._show(name, grant)

    # -- topics ---------------------------------------------------------------------------------

    async def _subscribe(self, sub: Sub) -> None:
        topic = sub.topic
        since = start_of(sub)
        if topic in self._topics:
            raise FeedError("subscribed", "this topic is subscribed already")
        if len(self._topics) >= self._settings.max_topics:
            raise FeedError("limit", f"at most {self._settings.max_topics} topics")
        grant = await granted(self._settings, self.client, topic)
        replays = self._settings.replays
        if replays is not None:
            replays.admit(replay_of(self._settings, sub, grant), self.client.request, self._line)
        self._join(sub, since, grant)

    def _join(self, sub: Sub, since: Position | None, grant: Grant) -> None:
        topic = sub.topic
        try:
            joined = self._settings.hub._subscribe_view(
                self._line, topic, since, recent_of(sub), least(sub.rate, grant.max_rate)
            )
        except (ValueError, RuntimeError) as error:
            log.exception("a feed cannot subscribe to %r", topic)
            raise FeedError("internal", "the application failed") from error
        if joined is None:
            return
        self._topics[topic] = Subscription(joined.topic, joined.skips, sub.rate, sub.id)
        self._watch.expire_topic(topic, grant.expires_at)
        self._show(topic, grant)
        synced = joined.synced
        if synced is None and joined.tells_live:
            # `sync` is called when it is known.
            resumed = None if since is None else False
            self._topics[topic].unsaid = Sync(topic, resumed=resumed, missed=None, lossy=joined.skips)
            return
        if synced is None:
            missed = None if since is not None else 0
            resumed, reason = (None, None) if since is None else (False, "epoch")
            self.say(Sync(topic, None, resumed, missed, reason, lossy=True))
            self.say(Live(topic))
            return
        self.sync(synced)
        if not joined.tells_live:
            self.say(Live(topic, str(synced.at)))

    def _change_rate(self, subscription: Any, grant: Grant) -> None:
        """Let a topic have the rate that is granted now, where that is another one."""
        rate = least(subscription.rate, grant.max_rate)
        joined = self._settings.hub._change_rate(self._line, subscription.view, rate)
        if joined is not None:
            subscription.view, subscription.skips = joined.topic, joined.skips
            if joined.synced is not None and not joined.synced.resumed:
                self.sync(joined.synced)

    def _show(self, topic: str, grant: Grant) -> None:
        """Let others see the client, and tell it who is here, where the topic has a presence."""
        hub = self._settings.hub
        if hub._presences is not None:
            hub._attend(self._line, topic, seen_as(self.client, grant))

    def sync(self, synced: Synced) -> None:
        """It is known where a subscription begins, or where it goes on in another epoch."""
        subscription = self._topics.get(synced.topic)
        replays = self._settings.replays
        if replays is not None and subscription is not None and subscription.unsaid is not None:
            size = replay_size_of(subscription.view, synced, self._outbox.subscriptions)
            replays.charge(size, self.client.request, self._line)
        said = synced.resumed, synced.missed, synced.reason, synced.snapshot
        lossy = subscription is not None and subscription.skips
        if subscription is not None:
            subscription.unsaid = None
        self.say(Sync(synced.topic, str(synced.at), *said, lossy=lossy))

    def gap(self, topic: str, missed: int | None, reason: str) -> None:
        """Changes of a keyed topic do not come; of other topics its view says so."""
        self.say(Gap(topic, missed, reason))

    def refuse(self, topic: str) -> None:
        """A broker refuses a topic: the client may ask for it again."""
        subscription = self._take(topic)
        if subscription is not None:
            self.say_error(
                FeedError("unavailable", "the topic cannot be heard now", 1), subscription.id, topic
            )

    def unsubscribe(self, topic: str, reason: str) -> None:
        """End a subscription, and say so."""
        subscription = self._take(topic)
        if subscription is not None and subscription.unsaid is not None:
            self.say(subscription.unsaid)
        self.say(End(topic, reason))

    def _take(self, topic: str) -> Subscription | None:
        """End a subscription; return what it was."""
        subscription: Subscription | None = self._topics.pop(topic, None)
        if subscription is not None:
            self._watch.expire_topic(topic, None)
            self._settings.hub._unsubscribe_view(self._line, subscription.view)
        return subscription

    def end_topic(self, topic: str) -> None:
        """What was granted has expired."""
        self.unsubscribe(topic, "expired")
