"""What time does to a session: a token that is awaited or expires, grants that expire, silence."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from fastws.feed.messages import Beat, ServerMessage
from fastws.feed.protocol import Close
from fastws.loop.state import loop_state_of
from fastws.loop.timers import Timed

if TYPE_CHECKING:
    from fastws.connection.outbox import Outbox

__all__ = ["Watch"]

#: So long a client may take to send its token.
TOKEN_SECONDS = 10.0
#: How often this looks whether something was sent: silence is ended this part of a ``ping`` early at most.
LOOKS_PER_PING = 4


class Watched(Protocol):
    """The session."""

    def close(self, code: int, reason: str) -> None: ...
    def end_topic(self, topic: str) -> None: ...
    def say(self, message: ServerMessage) -> None: ...
    def is_open(self) -> bool: ...


class Watch(Timed):
    """The one timer of a session."""

    __slots__ = (
        "_outbox",
        "_ping",
        "_sent",
        "_session",
        "_silent_since",
        "_token_due",
        "_topics",
        "_user_due",
        "_wheel",
        "time",
    )

    def __init__(self, session: Watched, outbox: Outbox, ping: float) -> None:
        self.tick = 0
        self._session = session
        self._outbox = outbox
        self._ping = ping
        self._wheel = loop_state_of(asyncio.get_running_loop()).wheel
        self.time = self._wheel.time
        #: Times of the loop's clock; None for never.
        self._token_due: float | None = None
        self._user_due: float | None = None
        self._topics: dict[str, float] = {}
        #: Messages that had been sent when this looked last, and since when there are no more.
        self._sent = outbox.sent_messages
        self._silent_since = self.time()
        self._arm()

    def wait_for_token(self) -> None:
        """A token must come."""
        self._token_due = self.time() + TOKEN_SECONDS
        self._arm()

    def token_came(self) -> None:
        """It is looked at: that takes as long as it takes."""
        self._token_due = None

    def expire_user(self, expires_at: float | None) -> float | None:
        """A user is known, until this Unix time; return in how many seconds that is."""
        self._token_due = None
        left = self.seconds_until(expires_at)
        self._user_due = None if left is None else self.time() + left
        self._arm()
        return left

    def expire_topic(self, topic: str, expires_at: float | None) -> None:
        """A subscription ends at this Unix time; None: never, or it has ended."""
        left = self.seconds_until(expires_at)
        if left is None:
            self._topics.pop(topic, None)
        else:
            self._topics[topic] = self.time() + left
            self._arm()

    def seconds_until(self, unix_time: float | None) -> float | None:
        """Return how many seconds from now a Unix time is."""
        return None if unix_time is None else unix_time - time.time()

    def stop(self) -> None:
        """Watch no more."""
        self._wheel.cancel(self)

    def _arm(self) -> None:
        self._wheel.sooner(self, self._next_due())

    def _next_due(self) -> float:
        due = [self.time() + self._ping / LOOKS_PER_PING, *self._topics.values()]
        due += [each for each in (self._token_due, self._user_due) if each is not None]
        return min(due)

    def on_timer(self, now: float) -> float | None:
        session = self._session
        if self._token_due is not None and now >= self._token_due:
            session.close(Close.UNAUTHORIZED, "no token came")
            return None
        if self._user_due is not None and now >= self._user_due:
            session.close(Close.UNAUTHORIZED, "the token has expired")
            return None
        for topic in [topic for topic, due in self._topics.items() if now >= due]:
            session.end_topic(topic)
        self._look_for_silence(now)
        return self._next_due()

    def _look_for_silence(self, now: float) -> None:
        outbox = self._outbox
        # What was sent may have been sent at the last look.
        look = self._ping / LOOKS_PER_PING
        if outbox.sent_messages != self._sent or outbox.blocked or not self._session.is_open():
            self._silent_since = now
        elif now - self._silent_since >= self._ping - look:
            self._session.say(Beat())
            self._silent_since = now + look
        self._sent = outbox.sent_messages
