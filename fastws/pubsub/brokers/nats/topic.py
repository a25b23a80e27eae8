"""What topics with a history and keyed ones have in common in NATS: the runs that wait for their offsets."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import Append, Appended, BrokerRefused, BrokerTopic, Kept, Sink, Verdict
from fastws.pubsub.brokers.nats.line import LineLost, NoAnswer
from fastws.pubsub.brokers.nats.streams import Stream
from fastws.pubsub.events import Position

__all__ = ["NatsTopic", "Pending"]

log = logging.getLogger("fastws.error")

#: Seconds until what was not taken is sent again.
PAUSE = 0.05


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


class NatsTopic:
    """One topic, as this node knows it.

    Args:
        topic: Its settings.
        stream: The one that its messages are in.
        sink: What hears of new messages.
        ready: Waits until the broker is there.
    """

    def __init__(
        self, topic: BrokerTopic, stream: Stream, sink: Sink, ready: Callable[[], Awaitable[None]]
    ) -> None:
        self.topic = topic
        self.is_watched = False
        self._stream = stream
        self._sink = sink
        self._ready = ready
        #: Whether what is known has been compared with the stream since this line began.
        self._is_checked = False
        #: Runs in the order of the calls; and by sender and number.
        self._waiting: deque[Pending] = deque()
        self._by_run: dict[tuple[str, int], Pending] = {}
        self._writer: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- what each kind does in its way ---------------------------------------------------------

    @property
    def said(self) -> str:
        """The subject on which the stream says what it has taken of this topic."""
        raise NotImplementedError

    async def hear(self, message: Msg) -> None:
        """Take what the stream has taken."""
        raise NotImplementedError

    async def kept(self, since: Position | None) -> Kept:
        """Return what is kept behind a position. Raises :class:`BrokerUnavailable`."""
        raise NotImplementedError

    async def _write_some(self) -> None:
        """Write the first runs that wait, as many as fit.

        Raises:
            BrokerRefused: The first of them was refused.
            LineLost: They may have been taken, or not.
            NoAnswer: So it is here.
        """
        raise NotImplementedError

    # -- the line -------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """The line has ended: what is known may not be all."""
        self._is_checked = False

    @property
    def is_idle(self) -> bool:
        """True when nothing waits."""
        return not self._waiting

    def close(self) -> None:
        """Append nothing more."""
        if self._writer is not None:
            self._writer.cancel()
        while self._waiting:
            self._next().answer.cancel()

    # -- what is appended -----------------------------------------------------------------------

    def append(self, run: Append) -> asyncio.Future[Appended]:
        """Give the items of a run their offsets, behind those of earlier calls."""
        pending = Pending(run)
        self._waiting.append(pending)
        self._by_run[run.sender, run.number] = pending
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write())
        return pending.answer

    async def _write(self) -> None:
        while self._waiting:
            await self._ready()
            try:
                async with self._lock:
                    await self._write_some()
            except BrokerRefused as error:
                self._refuse(error)
            except (LineLost, NoAnswer):
                self._is_checked = False
                await asyncio.sleep(PAUSE)
            except Exception:
                log.exception("broker: what is appended to topic %s cannot be written", self.topic.name)
                self._refuse(BrokerRefused("the broker says what makes no sense"))

    def _refuse(self, error: BrokerRefused) -> None:
        self._is_checked = False
        if self._waiting:
            self._next().refuse(error)

    def _next(self) -> Pending:
        """Take the first run that waits."""
        pending = self._waiting.popleft()
        self._by_run.pop((pending.run.sender, pending.run.number), None)
        return pending

    def _say_strange(self, error: Exception) -> None:
        log.error("broker: topic %s holds what is nothing of fastws: %s", self.topic.name, error)
