"""What topics with a history and keyed ones have in common in NATS: the runs that wait for their offsets."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import (
    Append,
    Appended,
    BrokerRefused,
    BrokerTopic,
    ItemTooLarge,
    Kept,
    Sink,
    Verdict,
)
from fastws.pubsub.brokers.nats.client import Message
from fastws.pubsub.brokers.nats.failures import LineLost, NoAnswer
from fastws.pubsub.brokers.nats.streams import Stream
from fastws.pubsub.events import Position

__all__ = ["NatsTopic", "Pending", "Reading"]

log = logging.getLogger("fastws.error")

#: Seconds until what was not taken is sent again.
PAUSE = 0.05
#: Of several servers the next leader may answer before it has all that it has taken. For so many seconds
#: it is asked again before something counts as lost.
DOUBT_SECONDS = 10.0


class Pending:
    """A run that has not got its offsets."""

    __slots__ = ("answer", "at", "done", "is_sent", "run")

    def __init__(self, run: Append) -> None:
        self.run = run
        self.answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        #: How many of its items have their offsets, and where the last of those is.
        self.done = 0
        self.at: Position | None = None
        #: It was sent before: where it is found it is no double.
        self.is_sent = False

    def resolve(self, at: Position, verdict: Verdict) -> None:
        """Say what became of it."""
        if not self.answer.done():
            self.answer.set_result(Appended(at, verdict))

    def refuse(self, error: BrokerUnavailable) -> None:
        """Say that nothing of it was appended."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # it may be that nobody waits


class Reading:
    """Somebody asks what is kept, behind the runs before and before those behind it."""

    __slots__ = ("answer", "since")

    def __init__(self, since: Position | None) -> None:
        self.since = since
        self.answer: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()

    def fail(self, error: BrokerUnavailable) -> None:
        """Say that it is not known."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()


class NatsTopic:
    """One topic, as this node knows it.

    Args:
        topic: Its settings.
        stream: The one that its messages are in.
        sink: What hears of new messages.
        is_ready: Set while the broker is there.
        may_append: Set when it has been there for so long that other nodes have read what is kept.
        listen: Has :meth:`hear` called with what the stream takes, as soon as it returns.
    """

    def __init__(
        self,
        topic: BrokerTopic,
        stream: Stream,
        sink: Sink,
        is_ready: asyncio.Event,
        may_append: asyncio.Event,
        listen: Callable[[], Awaitable[None]],
    ) -> None:
        self.topic = topic
        self.is_watched = False
        self._stream = stream
        self._sink = sink
        self._is_ready = is_ready
        self._may_append = may_append
        self._listen = listen
        #: Whether what is known has been compared with the stream since this line began.
        self._is_checked = False
        #: Runs and questions in the order of the calls; and the runs by sender and number.
        self._waiting: deque[Pending | Reading] = deque()
        self._by_run: dict[tuple[str, int], Pending] = {}
        self._writer: asyncio.Task[None] | None = None
        #: The log has been told that nobody answers.
        self._is_slow = False
        #: Since when, over this line, the stream lacks what it has had, or what the copy here has.
        self._doubts: dict[str, float] = {}
        #: Somebody asks what is kept while what is appended has to wait.
        self._reads = asyncio.Event()
        self._set_up()

    # -- what each kind does in its way ---------------------------------------------------------

    def _set_up(self) -> None:
        """Make what this kind knows besides."""
        raise NotImplementedError

    @property
    def said(self) -> str:
        """The subject on which the stream says what it has taken of this topic."""
        raise NotImplementedError

    def hear(self, message: Message) -> None:
        """Take what the stream has taken."""
        raise NotImplementedError

    async def prepare(self) -> None:
        """Know what is needed to tell what is new."""

    async def epoch_there(self) -> str | None:
        """Return the epoch that the stream has; None: nothing is known here to compare it with.

        Raises :class:`BrokerUnavailable`.
        """
        raise NotImplementedError

    async def _kept(self, since: Position | None) -> Kept:
        """Return what is kept behind a position. Raises as :meth:`_write_some` does."""
        raise NotImplementedError

    def _post(self) -> Any:
        """Send the first runs at once, where that can be; return what :meth:`_write_some` is then told."""
        return None

    async def _write_some(self, posted: Any) -> None:
        """Write the first runs that wait, as many as fit.

        Args:
            posted: What :meth:`_post` has sent; None: nothing.

        Raises:
            BrokerRefused: The first of them was refused.
            LineLost: They may have been taken, or not.
            NoAnswer: So it is here.
        """
        raise NotImplementedError

    def _is_lost(self, what: str, *, lacks: bool) -> bool:
        """True where the stream lacks what it has had, and that counts as lost.

        Of several servers it does after a while only. Until then this raises :class:`NoAnswer`.
        """
        if not lacks or self._stream.replicas == 1:
            self._doubts.pop(what, None)
            return lacks
        now = asyncio.get_running_loop().time()
        if now - self._doubts.setdefault(what, now) < DOUBT_SECONDS:
            raise NoAnswer("a server lacks what another one has had")
        del self._doubts[what]
        return True

    # -- the line -------------------------------------------------------------------------------

    def forget(self) -> None:
        """It is not heard any more: what is known may not be all."""
        self._is_checked = False

    def interrupt(self) -> None:
        """The line has ended."""
        self.forget()
        self._doubts.clear()
        readings = [each for each in self._waiting if isinstance(each, Reading)]
        for reading in readings:
            self._waiting.remove(reading)
            reading.fail(LineLost("the broker is away"))

    @property
    def is_idle(self) -> bool:
        """True when nothing waits."""
        return not self._waiting

    def close(self) -> None:
        """Append nothing more."""
        if self._writer is not None:
            self._writer.cancel()
        while self._waiting:
            self._waiting.popleft().answer.cancel()
        self._by_run.clear()

    # -- what is appended -----------------------------------------------------------------------

    def append(self, run: Append) -> asyncio.Future[Appended]:
        """Give the items of a run their offsets, behind those of earlier calls."""
        pending = Pending(run)
        most = self._stream.max_bytes
        if any(len(item.body) + len(item.key) * 3 > most for item in run.items):
            pending.refuse(ItemTooLarge(f"a message may have {most} bytes there"))
            return pending.answer
        self._by_run[run.sender, run.number] = pending
        self._add(pending)
        return pending.answer

    def read(self, since: Position | None) -> asyncio.Future[Kept]:
        """Return what is kept behind a position, and behind what was appended by calls before.

        What waits after an outage is not among it: it is told as new.
        """
        reading = Reading(since)
        self._add(reading)
        return reading.answer

    def _add(self, one: Pending | Reading) -> None:
        if isinstance(one, Reading) and not self._may_append.is_set():
            readings = sum(isinstance(each, Reading) for each in self._waiting)
            self._waiting.insert(readings, one)  # in front of all that is appended
            self._reads.set()
        else:
            self._waiting.append(one)
        if self._writer is None or self._writer.done():
            posted = self._post() if isinstance(one, Pending) and self._may_append.is_set() else None
            self._writer = asyncio.get_running_loop().create_task(self._write(posted))

    async def _write(self, posted: Any) -> None:
        while self._waiting:
            if posted is None:
                await self._is_ready.wait()
            if not self._waiting:
                return
            first = self._waiting[0]
            if posted is None and isinstance(first, Pending) and not self._may_append.is_set():
                await self._wait_to_append()
                continue
            try:
                if isinstance(first, Reading):
                    kept = await self._kept(first.since)
                    if not first.answer.done():
                        first.answer.set_result(kept)
                    if self._waiting and self._waiting[0] is first:
                        self._waiting.popleft()
                else:
                    sent, posted = posted, None
                    await self._write_some(sent)
                self._is_slow = False
            except BrokerRefused as error:
                self._refuse(error)
            except (LineLost, NoAnswer) as error:
                self._is_checked = False
                self._say_slow(error)
                await asyncio.sleep(PAUSE)
                if isinstance(first, Reading) and self._waiting and self._waiting[0] is first:
                    self._refuse(error)
            except Exception:
                log.exception("broker: topic %s cannot be read or written", self.topic.name)
                self._refuse(BrokerRefused("the broker says what makes no sense"))

    async def _wait_to_append(self) -> None:
        """Wait until that may be done, or until somebody asks what is kept."""
        self._reads.clear()
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._may_append, self._reads)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    def _refuse(self, error: BrokerUnavailable) -> None:
        """The first one that waits has failed."""
        self._is_checked = False
        if not self._waiting:
            return
        if isinstance(first := self._waiting[0], Reading):
            self._waiting.popleft()
            first.fail(error)
        else:
            self._next().refuse(error)

    def _next(self) -> Pending:
        """Take the first run that waits."""
        pending = self._waiting.popleft()
        assert isinstance(pending, Pending)
        self._by_run.pop((pending.run.sender, pending.run.number), None)
        return pending

    def _say_slow(self, error: BrokerUnavailable) -> None:
        """Nobody answers for the stream, though the server is there: say so once."""
        if isinstance(error, NoAnswer) and not self._is_slow:
            self._is_slow = True
            log.error("broker: topic %s waits: %s", self.topic.name, error)

    def _say_strange(self, error: Exception) -> None:
        log.error("broker: topic %s holds what is nothing of fastws: %s", self.topic.name, error)
