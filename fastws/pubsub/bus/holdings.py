"""What each member of the bus has of something that all share, so that a limit can count for all of them.

A member tells the others its own numbers, by key: how many it holds, as they are and not as they changed,
and how much of a second's allowance it has used. At the end of a turn of the loop there is one record for
each key that has changed. Who is new is told everything. What a member holds is gone when it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from fastws.pubsub.bus.records import Flag, Kind, Record, encode_record

if TYPE_CHECKING:
    from fastws.pubsub.bus.peer import Peer

__all__ = ["Holdings"]

#: Forget what this member has said before: what it holds follows.
BEGIN = encode_record(Kind.HOLD, Flag.BEGIN, b"", 0, 0)
#: What it held when it began to tell has been told.
END = encode_record(Kind.HOLD, Flag.END, b"", 0, 0)
#: Seconds between two looks whether all have told.
LOOK_SECONDS = 0.005


class Watcher(Protocol):
    """Is told which keys of a group other members hold: ``group``, a NUL, and the rest of the key."""

    def came(self, rest: str, /) -> None: ...
    def gone(self, rest: str, /) -> None: ...


class Holdings:
    """The numbers of this member, those of the others, and what is still to be told. Runs on one loop."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._ours: dict[str, int] = {}
        #: Of each other member; and the sums.
        self._theirs: dict[Peer, dict[str, int]] = {}
        self._others: dict[str, int] = {}
        #: Members that have told what they held when we met.
        self._known: set[Peer] = set()
        #: Of this turn: keys whose number has changed; how much was used, and until when that counts.
        self._changed: set[str] = set()
        self._used: dict[str, tuple[int, float]] = {}
        self._is_scheduled = False
        #: Members that had no room for a change, and are to be told everything.
        self._owed: set[Peer] = set()
        #: Called with a key, how much another member has used, and until when that counts.
        self.on_used: Callable[[str, int, float], None] | None = None
        self._watchers: dict[str, Watcher] = {}

    def of_others(self, key: str) -> int:
        """Return how many the other members hold."""
        return self._others.get(key, 0)

    def hold(self, key: str, number: int) -> None:
        """Hold so many from now on."""
        if number:
            self._ours[key] = number
        else:
            self._ours.pop(key, None)
        self._changed.add(key)
        self._schedule()

    def watch(self, group: str, watcher: Watcher | None) -> None:
        """Tell ``watcher`` of the keys of a group, first of those that are held already; None: nobody."""
        if watcher is None:
            self._watchers.pop(group, None)
            return
        self._watchers[group] = watcher
        for key in list(self._others):
            if key.rpartition("\0")[0] == group:
                watcher.came(key.rpartition("\0")[2])

    def use(self, key: str, until: float) -> None:
        """Use one of an allowance that ends at ``until``, by the clock of all loops of the machine."""
        count, _ = self._used.get(key, (0, 0.0))
        self._used[key] = (count + 1, until)
        self._schedule()

    async def hear_all(self, seconds: float) -> None:
        """Wait until all have told what they hold; no longer than so many seconds, for one may be stopped."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            if self._known.issuperset(self._bus.peers):
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _schedule(self) -> None:
        if not self._is_scheduled and self._bus.loop is not None:
            self._is_scheduled = True
            self._bus.loop.call_soon(self._tell)

    # -- what leaves ----------------------------------------------------------------------------

    def _tell(self) -> None:
        self._is_scheduled = False
        records = [self._record(key) for key in self._changed]
        for key, (count, until) in self._used.items():
            records.append(encode_record(Kind.USE, 0, key.encode(), count, int(until * 1e9)))
        self._changed.clear()
        self._used.clear()
        data = b"".join(records)
        for peer in self._bus.peers:
            if peer in self._owed or not peer.has_room(len(data)):
                self._owed.add(peer)
            else:
                peer.write(data)

    def _record(self, key: str) -> bytes:
        return encode_record(Kind.HOLD, 0, key.encode(), self._ours.get(key, 0), 0)

    def came(self, peer: Peer) -> None:
        """Tell a member that is new, or has missed something, what we hold."""
        peer.write(BEGIN + b"".join(map(self._record, self._ours)) + END)

    def tick(self) -> None:
        """Tell those that had no room."""
        for peer in list(self._owed):
            if peer.has_room(0):
                self._owed.discard(peer)
                self.came(peer)

    # -- what comes -----------------------------------------------------------------------------

    def told(self, peer: Peer, record: Record) -> None:
        """Take a record of another member."""
        key = record.key.decode("utf-8", "replace")
        if record.kind == Kind.USE:
            if self.on_used is not None:
                self.on_used(key, record.amount, record.number / 1e9)
        elif record.flags == Flag.BEGIN:
            self._forget(peer)
        elif record.flags == Flag.END:
            self._known.add(peer)
        else:
            self._set(peer, key, record.amount)

    def _set(self, peer: Peer, key: str, number: int) -> None:
        theirs = self._theirs.setdefault(peer, {})
        others = self._others.get(key, 0) + number - theirs.get(key, 0)
        for numbers, new in ((theirs, number), (self._others, others)):
            if new:
                numbers[key] = new
            else:
                numbers.pop(key, None)
        if self._watchers and (others == 0 or others == number):
            self._tell_watcher(key, others)

    def _tell_watcher(self, key: str, others: int) -> None:
        group, _, rest = key.rpartition("\0")
        watcher = self._watchers.get(group)
        if watcher is not None:
            (watcher.came if others else watcher.gone)(rest)

    def _forget(self, peer: Peer) -> None:
        for key in self._theirs.get(peer, {}).copy():
            self._set(peer, key, 0)
        self._theirs.pop(peer, None)

    def lost(self, peer: Peer) -> None:
        """A member is gone: it holds nothing."""
        self._forget(peer)
        self._known.discard(peer)
        self._owed.discard(peer)
