"""What the numbered topics of a hub share: their lives, their clock, their timers."""

from __future__ import annotations

import asyncio
import heapq
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from fastws.loop.state import loop_state_of
from fastws.loop.timers import Timed
from fastws.pubsub.classes import TopicMode
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.patterns import check_name
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.ticks import Tickers

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastws.loop.timers import Wheel
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.events import Position
    from fastws.pubsub.topic import Topic

__all__ = ["Sequencer"]

#: Topics that nobody uses and that keep nothing, of which the hub remembers the position.
IDLE_TOPICS = 10_000
#: A topic whose messages expire one by one is looked at so often; who reads it sees to the exact time.
SWEEP_SECONDS = 1.0
#: So long an id of ``publish_confirmed(once=...)`` is known.
ONCE_SECONDS = 300.0
#: So many ids are known at most, of all topics together: some 50 MB where they are as long as they may be.
ONCE_IDS = 100_000


class Sequencer(Timed):
    """Makes those topics, drops what they keep for too long, and forgets those that nobody uses."""

    __slots__ = (
        "_counter",
        "_due",
        "_epoch",
        "_idle",
        "_lives",
        "_once",
        "_tickers",
        "_topics",
        "_wheel",
        "loop",
        "time",
    )

    time: Callable[[], float]

    def __init__(self, topics: dict[str, Topic], tickers: Tickers) -> None:
        self.tick = 0
        self._tickers = tickers
        self._topics = topics
        self.loop: asyncio.AbstractEventLoop | None = None
        self._wheel: Wheel
        #: Those that keep something: when to look, a counter for those at the same time, the topic.
        self._due: list[tuple[float, int, NumberedTopic]] = []
        self._counter = 0
        self._idle: OrderedDict[NumberedTopic, None] = OrderedDict()
        self._once: OrderedDict[tuple[str, str], tuple[float, Position]] = OrderedDict()
        # Different in each process and for each hub; then a number for each life of a topic.
        self._epoch = secrets.token_urlsafe(6)
        self._lives = 0

    def enter(self) -> None:
        """Hold on to the loop that runs.

        Raises:
            RuntimeError: None runs in this thread, or the hub's loop runs in another one.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not None and running is self.loop:
            return
        if self.loop is not None and self.loop.is_running():
            raise RuntimeError("a hub belongs to the thread of its loop; here use publish_threadsafe")
        if running is None:
            raise RuntimeError(
                "a topic with a history or keys belongs to a running event loop; "
                "from a thread use publish_threadsafe"
            )
        wheel = loop_state_of(running).wheel
        if self.tick and self._wheel is not wheel:
            self.tick = 0
        self.loop = running
        self._wheel = wheel
        self.time = wheel.time
        self._arm()

    def make(self, name: str, settings: TopicClass) -> NumberedTopic:
        """Return a new topic, which begins a life. Raises ``ValueError`` for a bad name."""
        check_name(name)
        self.enter()
        self._lives += 1
        epoch = f"{self._epoch}.{self._lives:x}"
        topic: NumberedTopic
        if settings.mode is TopicMode.KEYED:
            topic = self.make_keyed(name, settings, epoch)
        else:
            topic = SequencedTopic(name, settings, self, epoch)
        self._topics[topic.name] = topic
        self.rest(topic)
        return topic

    def make_keyed(self, name: str, settings: TopicClass, epoch: str) -> KeyedTopic:
        """Return a keyed topic of that epoch."""
        return KeyedTopic(name, settings, self, epoch, self._tickers.of(settings.every or 0.0))

    def watch(self, topic: NumberedTopic) -> None:
        """Look at ``topic``, which keeps something, when that is too old."""
        due = topic.next_expiry()
        if due is not None and (not topic.look_at or due < topic.look_at):
            self._look_at(topic, due)

    def set_timer(self, timer: Any, when: float) -> None:
        """Let the timer of a topic be due at ``when``, unless it is due before."""
        if timer.wheel is not self._wheel:
            timer.wheel, timer.tick = self._wheel, 0
        if not timer.tick:
            self._wheel.set(timer, when)

    def rest(self, topic: NumberedTopic) -> None:
        """Nobody uses ``topic``, and it keeps nothing: forget it when too many others come to rest."""
        if topic.is_idle or self._topics.get(topic.name) is not topic:
            return
        topic.is_idle = True
        self._idle[topic] = None
        if len(self._idle) > IDLE_TOPICS:
            forgotten, _ = self._idle.popitem(last=False)
            if self._topics.get(forgotten.name) is forgotten:  # else another one has taken its place
                self._forget(forgotten)

    def _forget(self, topic: NumberedTopic) -> None:
        del self._topics[topic.name]

    def wake(self, topic: NumberedTopic) -> None:
        """Somebody uses ``topic`` again."""
        topic.is_idle = False
        self._idle.pop(topic, None)

    def open(self) -> None:
        """Undo :meth:`close`."""

    def close(self) -> None:
        """End what follows, and hold on to the loop no more."""
        for topic in list(self._topics.values()):
            if isinstance(topic, NumberedTopic):
                for follower in topic.followers:
                    follower.end()
        if self.loop is not None:
            self._wheel.cancel(self)
            self.loop = None

    # -- messages that shall be published once ---------------------------------------------------

    def published(self, topic: str, once: str) -> Position | None:
        """Return where the message with this id is; None where there was none within the last 300 s."""
        self._forget_ids(self.time())
        known = self._once.get((topic, once))
        return None if known is None else known[1]

    def remember(self, topic: str, once: str, at: Position) -> None:
        """Note where the message with this id is."""
        self._once[topic, once] = (self.time() + ONCE_SECONDS, at)
        if len(self._once) > ONCE_IDS:
            self._once.popitem(last=False)
        self._arm()

    def _forget_ids(self, now: float) -> None:
        once = self._once
        while once and next(iter(once.values()))[0] <= now:
            once.popitem(last=False)

    # -- the timer -------------------------------------------------------------------------------

    def _look_at(self, topic: NumberedTopic, when: float) -> None:
        topic.look_at = when
        self._counter += 1
        heapq.heappush(self._due, (when, self._counter, topic))
        if self._due[0][2] is topic:
            self._arm()

    def _arm(self) -> None:
        due = self._next_due()
        if due is not None:
            self._wheel.sooner(self, due)

    def _next_due(self) -> float | None:
        times: list[Any] = [each[0] for each in self._due[:1]]
        times += [each[0] for each in list(self._once.values())[:1]]
        return min(times, default=None)

    def on_timer(self, now: float) -> float | None:
        self._forget_ids(now)
        while self._due and self._due[0][0] <= now:
            when, _, topic = heapq.heappop(self._due)
            if when != topic.look_at:
                continue  # it was looked at sooner
            topic.expire()
            due = topic.next_expiry()
            if due is None:
                topic.look_at = 0.0
                topic.rest()
            else:
                self._look_at(topic, max(due, now + SWEEP_SECONDS))
        return self._next_due()
