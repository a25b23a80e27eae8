"""Messages whose publishers wait for their positions: ``publish_confirmed`` of a hub that workers share."""

from __future__ import annotations

import asyncio

from fastws.errors import BrokerUnavailable
from fastws.pubsub.events import Position, Published
from fastws.pubsub.keeper.queue import Item, Queue
from fastws.pubsub.keeper.records import Verdict, confirm_record
from fastws.pubsub.keeper.shared_topic import Seat, SharedPart
from fastws.pubsub.keys import KeysFull

__all__ = ["Questions", "TooLarge"]


class TooLarge(BrokerUnavailable):
    """This message is larger than the broker takes: it was not published, and never can be."""


class Questions:
    """Those that wait for answers, by number."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: dict[int, tuple[Item, asyncio.Future[Published]]] = {}

    async def publish(self, topic: SharedPart, frame: bytes, once: str | None, timeout: float) -> Published:
        """Publish, and wait for the position.

        Raises:
            BrokerUnavailable: The message was not published: too much waits, there is no keeper, or it takes
                nothing of this topic from here, or the broker behind it does not.
            TooLarge: Nor can it ever be, by its size.
            KeysFull: It was a key that there is no room for.
            TimeoutError: It was sent, and no answer has come within ``timeout`` seconds: it may be published.
        """
        if topic.seat is Seat.REFUSED:
            raise BrokerUnavailable(topic.refusal)
        if not self._queue.has_room(len(frame)):
            raise BrokerUnavailable(
                f"topic {topic.name!r}: too much waits, or {len(frame)} bytes are too many"
            )
        number = self._queue.next_number()
        record = confirm_record(topic.key, number, once, frame)
        item = Item(topic, record, len(frame), is_taken=True)
        answer: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (item, answer)
        topic.use()
        self._queue.add(item)
        try:
            return await asyncio.wait_for(answer, timeout)
        except TimeoutError:
            if self._queue.withdraw(item):
                raise BrokerUnavailable(topic.why_unavailable(timeout)) from None
            text = f"{topic.why_unavailable(timeout)}; the message may be published"
            raise TimeoutError(text) from None
        finally:
            del self._waiting[number]
            self._queue.withdraw(item)

    def answered(self, number: int, at: Position | None, verdict: Verdict, reason: str = "") -> None:
        """Take the answer to a question, perhaps too late."""
        item, answer = self._waiting.get(number, (None, None))
        if item is None or answer is None or answer.done():
            return
        item.is_refused = verdict in (Verdict.UNAVAILABLE, Verdict.TOO_LARGE)
        if verdict is Verdict.FULL:
            answer.set_exception(KeysFull())
        elif verdict is Verdict.TOO_LARGE:
            answer.set_exception(TooLarge(reason))
        elif at is None:
            answer.set_exception(BrokerUnavailable(reason))
        else:
            answer.set_result(Published(at, duplicate=verdict is Verdict.DUPLICATE))

    def refuse(self, topic: SharedPart) -> None:
        """The keeper takes nothing of a topic."""
        for item, answer in self._waiting.values():
            if item.topic is topic and not answer.done() and self._queue.withdraw(item):
                answer.set_exception(BrokerUnavailable(topic.refusal))
