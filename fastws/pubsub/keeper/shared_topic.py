"""A topic that the keeper numbers, as a worker has it: a copy of what is kept there, and who waits for it."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any
from zlib import crc32

from fastws.errors import BrokerUnavailable
from fastws.pubsub.bus.lanes import key_of
from fastws.pubsub.bus.records import BadRecord, Record, split_frames
from fastws.pubsub.events import Event, Position, Synced
from fastws.pubsub.keeper.records import Begin, Declaration, read_kept
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.wishes import Wish

if TYPE_CHECKING:
    from fastws.pubsub.classes import TopicClass

__all__ = ["Copy", "Seat", "SharedPart", "SharedTopic", "epoch_digest"]


class Copy(Enum):
    """What there is of a topic's messages in this process."""

    NONE = "nobody uses it here"
    ASKED = "the keeper shall send what it keeps, and what follows"
    COMING = "what it keeps comes"
    LIVE = "all that is kept is here, and what is new comes"


class Seat(Enum):
    """Whether the keeper takes what this process publishes to a topic."""

    NONE = "it does not know that this process uses it"
    ASKED = "it has been told the settings"
    ACCEPTED = "it does"
    REFUSED = "other processes use it with other settings, or a broker refuses it"


def epoch_digest(epoch: str) -> int:
    """Return a number for an epoch, which another one hardly has; 0 for none."""
    return crc32(epoch.encode()) if epoch else 0


class SharedPart(NumberedTopic):
    """What shared topics of both kinds have in common. Who listens before the copy is here waits for it.

    It is a base together with the class of one kind.
    """

    def share(self, settings: TopicClass, sequencer: Any, client: Any, hub_name: str) -> None:
        """Be shared from the beginning on."""
        self.is_shared = True
        self.is_live = False
        self._shared = sequencer
        self.client = client
        self.hub_name = hub_name
        self.key = key_of(hub_name, self.name)
        self.declaration = Declaration.of(settings)
        self.copy = Copy.NONE
        self.seat = Seat.NONE
        #: Why the keeper does not take it.
        self.refusal = ""
        #: Clients that have been told so.
        self.told_refused: set[Any] = set()
        #: Records for the keeper, until it takes this topic.
        self.waiting: list[Any] = []
        #: Those that listen or follow from a place that is not known yet.
        self.wishes: dict[Any, Wish] = {}
        #: The keeper has been asked whether more has come there than here.
        self.is_probed = False
        #: Those that began to wait when the keeper had been asked already: the answer may be older than what
        #: they know from another process.
        self.late: set[Any] = set()
        #: So many copies were let go of which the keeper may still send something.
        self.partings = 0
        #: For so many seconds nobody has used the copy.
        self.idle_ticks = 0
        #: The offset of the message after the last one that was kept: when the keeper sent the copy, and
        #: when it was asked for it.
        self._goal = self._asked_at = 1
        #: Coroutines that wait for the copy.
        self._arrivals: list[asyncio.Future[None]] = []

    # -- what each kind does in its way ---------------------------------------------------------

    def forget_all(self) -> None:
        """Keep nothing, of no epoch."""
        raise NotImplementedError

    def take_begin(self, begin: Begin) -> int:
        """Begin with a copy, or go on with it; return how many messages will not come."""
        raise NotImplementedError

    def is_restart(self, begin: Begin) -> bool:
        """True where all who listen have to begin anew."""
        raise NotImplementedError

    def receive(self, hub: Any, record: Record, *, is_new: bool) -> None:
        """Take messages or changes, those that were kept or new ones. Raises :class:`BadRecord`."""
        raise NotImplementedError

    def join_again(self) -> tuple[Synced, Any]:
        """Return where who was here in another epoch goes on, and its place."""
        raise NotImplementedError

    def follow_waiting(self, wish: Wish) -> tuple[Event, Any]:
        """Return what a follower that has waited is told, and its place."""
        raise NotImplementedError

    # -- who uses it ----------------------------------------------------------------------------

    def held(self) -> tuple[int, int]:
        """Return of which epoch there is something here, as :func:`epoch_digest`, and what comes next."""
        return epoch_digest(self.epoch), self.last_position().offset + 1

    def is_used(self) -> bool:
        """True when a copy is needed here."""
        return bool(
            self.subscribers or self.behind or self.followers or self._arrivals or self.view is not None
        )

    def can_sync(self, since: Position | None) -> bool:
        """True when it is known here; who was at another worker may be ahead of this one.

        What an earlier keeper kept is here until the next one has begun: who returns meanwhile goes on in it.
        """
        return self.is_live and (
            since is None or (since.epoch == self.epoch and since.offset <= self.last_position().offset)
        )

    def wait(self, who: Any, wish: Wish) -> None:
        self.wishes[who] = wish
        self.want_copy(who)

    def want_copy(self, who: Any) -> None:
        """A client or a follower waits until more is known here."""
        self.idle_ticks = 0
        self.use()
        if self.is_probed or self.copy in (Copy.ASKED, Copy.COMING):
            self.late.add(who)
        elif self.copy is Copy.LIVE:
            self.client.copies.probe(self)
        else:
            self.client.copies.follow(self)

    def has_to_wait(self, who: Any, wish: Wish) -> bool:
        """True where what has come may be older than what somebody knows who waits for it."""
        return who in self.late and not self.can_sync(wish.since)

    def take_late(self) -> bool:
        """Let those that still wait be late no more; False where there are none."""
        waiting = self.wishes.keys() | (() if self.view is None else self.view.wishes.keys())
        late, self.late = self.late, set()
        return not late.isdisjoint(waiting)

    def join_waiting(self, wish: Wish) -> tuple[Synced, Any]:
        """Return where a client that has waited begins, and its place."""
        if wish.is_again:
            return self.join_again()
        return self.join_at(wish.since, wish.recent + self.came_since_asked())

    def came_since_asked(self) -> int:
        """Return how many messages have come since the copy was asked for: newcomers begin before them."""
        return self.last_position().offset + 1 - self._asked_at

    def remove(self, subscriber: object) -> None:
        self.wishes.pop(subscriber, None)
        self.told_refused.discard(subscriber)
        super().remove(subscriber)

    def unfollow(self, follower: object) -> None:
        self.wishes.pop(follower, None)
        super().unfollow(follower)

    async def arrive(self, timeout: float) -> None:
        """Wait until the copy is here.

        Raises:
            BrokerUnavailable: It is not, within ``timeout`` seconds.
        """
        self.idle_ticks = 0
        if self.copy is Copy.LIVE:
            return
        arrival = asyncio.get_running_loop().create_future()
        self._arrivals.append(arrival)
        self.use()
        self.client.copies.follow(self)
        try:
            await asyncio.wait_for(arrival, timeout)
        except TimeoutError:
            raise BrokerUnavailable(self.why_unavailable(timeout)) from None
        finally:
            self._arrivals.remove(arrival)

    def fail_arrivals(self) -> None:
        """Let the coroutines wait no more that wait for the copy: it does not come."""
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_exception(BrokerUnavailable(self.refusal))

    def why_unavailable(self, timeout: float) -> str:
        """Return in words why the keeper has not done something with this topic."""
        if self.seat is Seat.REFUSED:
            return self.refusal
        return f"topic {self.name!r}: no answer of the keeper of histories within {timeout:g} s"

    def time(self) -> float:
        """Return the time, as messages have it."""
        now: float = self._shared.time()
        return now

    # -- the copy -------------------------------------------------------------------------------

    def lose_copy(self) -> None:
        """The keeper is gone, or sends no more: what is here is all that will be of this epoch."""
        if self.copy is not Copy.NONE:
            self.copy = Copy.ASKED
        self.seat = Seat.NONE
        self.partings = 0
        self.is_probed = False
        if not self.is_complete():
            self.is_live = False

    def drop_copy(self) -> None:
        """Nobody uses it any more."""
        self.copy = Copy.NONE
        self.is_live = False
        self.is_probed = False
        self.late.clear()
        self.forget_all()
        self.rest()

    def begin(self, begin: Begin) -> int:
        """Take what the keeper says before it sends what it keeps; return how many messages will not come."""
        missed = self.take_begin(begin)
        if self.view is not None:
            self.view.begin_epoch()
        self.copy = Copy.COMING
        self.is_live = self.is_probed = False
        self._goal, self._asked_at = begin.next, begin.asked_at
        return missed

    def take_probe(self, offset: int) -> None:
        """The keeper says which offset was the next one; what is before it is here."""
        self.is_probed = False
        self._asked_at = min(offset, self.last_position().offset + 1)

    def is_complete(self) -> bool:
        """True when all has come that was kept."""
        return self.last_position().offset + 1 >= self._goal

    def go_live(self) -> None:
        """All is here that was kept."""
        self.copy = Copy.LIVE
        self.is_live = True
        self.told_refused.clear()
        for arrival in self._arrivals:
            if not arrival.done():
                arrival.set_result(None)


class SharedTopic(SharedPart, SequencedTopic):
    """One with a history. It is made by a :class:`SharedSequencer`."""

    def __init__(self, name: str, settings: TopicClass, sequencer: Any, client: Any, hub_name: str) -> None:
        SequencedTopic.__init__(self, name, settings, sequencer, "")
        self.share(settings, sequencer, client, hub_name)

    def forget_all(self) -> None:
        self.history.begin(1, 0)
        self.epoch = ""

    def is_restart(self, begin: Begin) -> bool:
        return begin.epoch != self.epoch

    def take_begin(self, begin: Begin) -> int:
        history = self.history
        missed = 0
        if begin.epoch == self.epoch:
            missed = max(begin.first - history.next, 0)
        if missed or begin.epoch != self.epoch:
            history.begin(begin.first, begin.expired_to)
            self.epoch = begin.epoch
        elif begin.first < history.next:
            raise BadRecord("what is here already, or what was never asked for")
        return missed

    def receive(self, hub: Any, record: Record, *, is_new: bool) -> None:
        if record.number != self.history.next:
            raise BadRecord(f"offset {record.number} after {self.history.next - 1}")
        if is_new:
            hub._receive_numbered(self, split_frames(record.body, record.amount), None)
        else:
            frames, ages = read_kept(record)
            now = self.time()
            hub._receive_numbered(self, frames, [now - age for age in ages])

    def restore(self, frame: bytes, time: float) -> None:
        """Keep a message that came at that time."""
        self.history.append(frame, time)
        self.changed()
        self.wake_followers()

    def join_again(self) -> tuple[Synced, Any]:
        first = self.history.first
        synced = Synced(self.name, self.position(first - 1), resumed=False, missed=None, reason="epoch")
        return synced, first

    def follow_waiting(self, wish: Wish) -> tuple[Event, Any]:
        return self.join_waiting(wish)
