"""The copies of what the keeper keeps: how they are asked for, come, grow, and are let go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastws.pubsub.bus.records import Kind, Record
from fastws.pubsub.keeper.queue import Item, Queue
from fastws.pubsub.keeper.records import read_begin
from fastws.pubsub.keeper.shared_topic import Copy, SharedPart

__all__ = ["Copies"]

#: A copy that nobody uses is kept for so many seconds more: a reload of all pages is no storm.
LINGER_TICKS = 10


class Copies:
    """Those of one worker.

    Args:
        hubs: Whose topics they are, by name.
        queue: What waits for the keeper.
    """

    def __init__(self, hubs: Mapping[str, Any], queue: Queue) -> None:
        self._hubs = hubs
        self._queue = queue
        #: What takes records of the keeper, by kind.
        self.receives: dict[int, Callable[[SharedPart, Record], None]] = {
            Kind.NUMBERED: self._numbered,
            Kind.BEGIN: self._begin,
            Kind.KEPT: self._kept,
            Kind.STATE: self._probed,
            Kind.GAP: self._gap,
            Kind.FOLLOW: self._parted,
        }

    def follow(self, topic: SharedPart) -> None:
        """Ask for a copy of what is kept of a topic, and for what comes."""
        if topic.copy is Copy.NONE:
            topic.copy = Copy.ASKED
            self._queue.add(Item.follow(topic))

    def probe(self, topic: SharedPart) -> None:
        """Ask whether the keeper has got further than this process."""
        if not topic.is_probed:
            topic.is_probed = True
            self._queue.add(Item(topic, Record(Kind.ASK, 0, topic.key, 0, 0)))

    def _hub(self, topic: SharedPart) -> Any:
        """Return whose topic it is; None where that has gone, or what comes is of a copy that was let go."""
        return None if topic.partings else self._hubs.get(topic.hub_name)

    def _parted(self, topic: SharedPart, record: Record) -> None:
        """Take that the keeper has sent the last of a copy that was let go."""
        topic.partings = max(topic.partings - 1, 0)

    def _begin(self, topic: SharedPart, record: Record) -> None:
        begin = read_begin(record)
        hub = self._hub(topic)
        if topic.copy is Copy.NONE or hub is None:
            return
        if topic.is_restart(begin):
            hub._hold(topic)
        missed = topic.begin(begin)
        if missed:
            hub._tell_skipped(topic, missed)
        self._complete(hub, topic)

    def _kept(self, topic: SharedPart, record: Record) -> None:
        hub = self._hub(topic)
        if topic.copy is not Copy.COMING or hub is None:
            return
        topic.receive(hub, record, is_new=False)
        self._complete(hub, topic)

    def _complete(self, hub: Any, topic: SharedPart) -> None:
        if topic.is_complete():
            topic.go_live()
            self._release(hub, topic)

    def _numbered(self, topic: SharedPart, record: Record) -> None:
        hub = self._hub(topic)
        if topic.copy is Copy.LIVE and hub is not None:
            topic.receive(hub, record, is_new=True)

    def _probed(self, topic: SharedPart, record: Record) -> None:
        hub = self._hub(topic)
        topic.take_probe(record.number)
        if topic.copy is Copy.LIVE and hub is not None:
            self._release(hub, topic)

    def _release(self, hub: Any, topic: SharedPart) -> None:
        """Let those that wait begin; for those that came behind the question ask again."""
        hub._release(topic)
        if topic.take_late():
            self.probe(topic)

    def _gap(self, topic: SharedPart, record: Record) -> None:
        hub = self._hub(topic)
        if topic.copy is not Copy.NONE and hub is not None:
            hub._receive_gap(topic.name, record.amount, "broker" if record.number else "bus")

    def rest(self, topic: SharedPart) -> bool:
        """Note that nobody has used a topic for one second more; return whether its copy was let go."""
        topic.idle_ticks += 1
        if topic.copy is Copy.NONE:
            topic.rest()
        elif topic.idle_ticks >= LINGER_TICKS:
            topic.drop_copy()
            topic.waiting = [item for item in topic.waiting if item.is_taken]
            return True
        return False
