# cython: annotation_typing=False
"""What a topic does with a message before it is published: it may collect it, or leave it out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from fastws.connection.publication import Publication
from fastws.loop.state import loop_state_of
from fastws.pubsub.notes import frame_of
from fastws.pubsub.numbered import NumberedTopic, tell_gap
from fastws.pubsub.pace import Sampler, rest_seconds

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.ticks import Ticker
    from fastws.pubsub.topic import Topic

__all__ = ["Gate"]

log = logging.getLogger("fastws.error")

#: Those who listen are told once in so many seconds how many messages were left out.
TELL_SECONDS = 1.0
#: A client waits so many seconds at most for its own message that was left out, and so many bytes of such
#: messages wait. It leaves with the next one for all, in one write: a write of its own is the dearest part.
OWN_SECONDS = 0.05
OWN_BYTES = 2**20


class Gate:
    """That of one topic: made with it where its class has ``every``, ``sample`` or ``max_rate``.

    A topic without one has one as long as somebody listens at a pace of its own.
    """

    __slots__ = (
        "_collected",
        "_keep",
        "_left_out",
        "_loop",
        "_own",
        "_own_bytes",
        "_own_due",
        "_rest_seconds",
        "_sampler",
        "_tells",
        "_thread",
        "_ticker",
        "_topic",
        "_turn",
        "_untold",
        "is_open",
        "lane",
        "max_rate",
    )

    def __init__(self, topic: Topic, settings: TopicClass | None, ticker: Ticker | None) -> None:
        self._topic: Any = topic
        self._ticker = ticker
        rate = None if settings is None else settings.sample
        self._sampler = None if rate is None else Sampler(rate)
        self._rest_seconds = 0.0 if rate is None else rest_seconds(rate)
        self._keep: Any = None if settings is None else settings.keep
        #: What every subscription may have at most.
        self.max_rate = None if settings is None else settings.max_rate
        #: True while what was held back goes through; always where nothing is ever held back.
        self.is_open = self._ticker is None and self._sampler is None
        #: What publishes each message that was collected.
        self._collected: list[Callable[[], object]] = []
        #: Those that listen at a pace of their own.
        self.lane: Any = None
        #: Messages that were left out since everybody was told, and what is added for one client.
        self._left_out = 0
        self._untold: dict[Any, int] = {}
        self._tells = False
        #: Where messages were left out last, and what is told there that who sends them may rest.
        self._loop: Any = None
        self._turn: Any = None
        self._thread = 0
        #: What was left out, and those that have said it, who get it a little later; and what sees to that.
        self._own: list[tuple[Any, bytes]] = []
        self._own_bytes = 0
        self._own_due: asyncio.TimerHandle | None = None

    def is_only_for_paced(self) -> bool:
        """True when nothing was declared for this topic."""
        return self._ticker is None and self._sampler is None and self.max_rate is None

    def samples(self) -> bool:
        """True when messages of a flood are left out."""
        return self._sampler is not None

    # -- collecting -----------------------------------------------------------------------------

    def collects(self) -> bool:
        """True when messages are collected, to leave together."""
        return self._ticker is not None

    def collect(self, publish: Callable[[], object]) -> None:
        """Call ``publish`` with the next tick."""
        assert self._ticker is not None
        self._collected.append(publish)
        self._ticker.add(self)

    def release(self) -> None:
        """Publish what was collected. The first exception is raised when all of it was tried."""
        collected, self._collected = self._collected, []
        failed: Exception | None = None
        was_open, self.is_open = self.is_open, True
        try:
            for publish in collected:
                try:
                    publish()
                except Exception as error:
                    failed = failed or error
        finally:
            self.is_open = was_open
        if failed is not None:
            raise failed

    # -- leaving out ----------------------------------------------------------------------------

    def lets_through(self, message: str | bytes) -> bool:
        """True for a message that is published. Of one that is not, everybody will be told."""
        if self._sampler is None:
            return True
        # The same loop most often, and to ask for it is a system call (Python 3.11).
        if self._thread != get_ident() or not self._loop.is_running():
            self._enter()
        loop = self._loop
        if (self._keep is not None and self._is_kept(message)) or self._sampler.lets_through(loop.time()):
            if self._own:
                self._show_own()
            return True
        self._left_out += 1
        if self._rest_seconds:
            self._turn.rest_seconds = self._rest_seconds
        if not self._tells:
            self._tells = True
            loop.call_later(TELL_SECONDS, self._tell)
        return False

    def _enter(self) -> None:
        """Hold on to the loop that runs."""
        loop = asyncio.get_running_loop()
        self._loop, self._turn, self._thread = loop, loop_state_of(loop).turn, get_ident()

    def _is_kept(self, message: str | bytes) -> bool:
        try:
            return bool(self._keep(message))
        except Exception:
            log.exception("keep= of topic %r has failed: the message counts as any other", self._topic.name)
            return False

    def received(self, kept: list[bytes]) -> list[bytes]:
        """Return what is let through of messages that another process has published, with their notes."""
        if self._sampler is not None:
            topic = self._topic
            kept = [
                each
                for each in kept
                if self.lets_through(Publication(topic, 0, None, frame_of(each)).message)
            ]
        if self.lane is not None:
            for each in kept:
                self.lane.offer(frame_of(each))
        return kept

    def joined(self, subscriber: Any) -> None:
        """A client listens from now on: it is not told of what was left out before."""
        if self._sampler is None or self._has(subscriber):
            return
        self._untold.pop(subscriber, None)  # of an earlier subscription
        if self._left_out:
            self._untold[subscriber] = -self._left_out

    def untold(self, subscriber: Any) -> int:
        """Return how many messages were left out of which a client has not been told."""
        return max(self._left_out + self._untold.get(subscriber, 0), 0)

    def keep_own(self, subscriber: Any, kept: bytes) -> None:
        """Send a client its own message soon, though that was left out."""
        self._untold[subscriber] = self._untold.get(subscriber, 0) - 1
        self._own.append((subscriber, kept))
        self._own_bytes += len(kept)
        if self._own_bytes > OWN_BYTES:
            self._show_own()
        elif self._own_due is None:
            self._own_due = asyncio.get_running_loop().call_later(OWN_SECONDS, self._show_own)

    def _show_own(self) -> None:
        if self._own_due is not None:
            self._own_due.cancel()
            self._own_due = None
        own, self._own, self._own_bytes = self._own, [], 0
        for subscriber, kept in own:
            view = self._topic.view
            if view is not None and view.is_heard_by(subscriber):  # it has not left meanwhile
                view.show(subscriber, kept)

    def _tell(self) -> None:
        """Tell everybody that keeps up; who does not is told when it does again."""
        self._tells = False
        left_out, self._left_out = self._left_out, 0
        untold, self._untold = self._untold, {}
        for channel, subscriber in self._listening():
            missed = left_out + untold.get(subscriber, 0)
            if missed <= 0:
                continue
            if not subscriber.outbox.takes_joined():
                self._untold[subscriber] = missed
            elif isinstance(channel, NumberedTopic):
                channel.tell_gap(subscriber, missed, "sampled")
            else:
                tell_gap(subscriber.ws, channel.name, missed, "sampled")
        if self._untold and not self._tells:
            self._tells = True
            asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _has(self, subscriber: Any) -> bool:
        """True when this client listens already."""
        return any(
            subscriber in channel.subscribers
            or (isinstance(channel, NumberedTopic) and subscriber in channel.behind)
            or (channel.paced() and subscriber in channel.gate.lane.cursors)
            for channel in self._channels()
        )

    def _channels(self) -> list[Topic]:
        topic = self._topic
        return [topic] if topic.view is None else [topic, topic.view]

    def _listening(self) -> list[tuple[Topic, Any]]:
        found: list[tuple[Topic, Any]] = []
        for channel in self._channels():
            found += [(channel, each) for each in channel.subscribers]
            if isinstance(channel, NumberedTopic):
                found += [(channel, each) for each in channel.behind]
            if channel.paced():
                found += [(channel, each) for each in channel.gate.lane.cursors]
        return found
