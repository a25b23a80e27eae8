"""Who is here in other processes: each says whom it counts, which is kept for topics that are used here."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastws.loop.timers import Timed, Wheel
from fastws.pubsub.presence.board import OURS, Board
from fastws.pubsub.presence.letters import PRESENCE, Entries, Kind, Letter, entry, parcels, read, write

if TYPE_CHECKING:
    from fastws.pubsub.bus.link import Link

__all__ = ["BEAT_SECONDS", "GONE_SECONDS", "LOST_SECONDS", "Others"]

log = logging.getLogger("fastws.error")

#: Changes of so many seconds leave together.
POST_SECONDS = 0.1
#: An owner says so often that it lives.
BEAT_SECONDS = 5.0
#: One that is no peer, and of which nothing has come for so long, is dead: three beats.
GONE_SECONDS = 3 * BEAT_SECONDS
#: Whom a process counted that has ended, or is cut off, has so long to connect again.
LOST_SECONDS = 5.0
#: A timer that is so late was one of a process that was stopped.
ASLEEP_SECONDS = 1.0
#: Topics of one question.
TOPICS_AT_ONCE = 500
#: A topic that nobody here uses is heard for so many beats more.
LINGER_BEATS = 2


class Owner:
    """Another process, as it is known here."""

    __slots__ = ("due", "id", "is_peer", "number", "parts", "waiting")

    def __init__(self, id: str) -> None:
        self.id = id
        #: The number of its last letter that counts; None until the first letter.
        self.number: int | None = None
        #: True while there is a socket to it, whose end tells.
        self.is_peer = False
        #: When it counts nobody any more unless something comes of it before. None: while it is a peer.
        self.due: float | None = None
        #: Topics of which it has been asked all, and has not said it.
        self.waiting: set[str] = set()
        #: What has come of that, by topic.
        self.parts: dict[str, Entries] = {}


class Post(Timed):
    """Writes what has collected."""

    __slots__ = ("_others",)

    def __init__(self, others: Others) -> None:
        self.tick = 0
        self._others = others

    def on_timer(self, now: float) -> float | None:
        self._others.post()
        return None


class Others(Timed):
    """What one hub knows of those that share it. Everything here runs on the loop of the bus.

    Args:
        link: The hub's part in the bus.
        boards: Those of the hub, by topic.
        wheel: The timers of the loop.
    """

    def __init__(self, link: Link, boards: Mapping[str, Board], wheel: Wheel) -> None:
        self.tick = 0
        self._link = link
        self._boards = boards
        self._wheel = wheel
        self.id = secrets.token_urlsafe(9)
        #: The number of the last letter that counts.
        self._number = 0
        self._owners: dict[str, Owner] = {}
        #: Boards whose members elsewhere are known or asked for; for how many beats nobody has used each.
        self._followed: dict[Board, int] = {}
        #: To be written: members here that have changed, topics of which all is asked, topics to ask for by
        #: owner, None for all of them.
        self._changed: dict[Board, dict[str, None]] = {}
        self._asked: dict[str, None] = {}
        self._wanted: dict[str | None, dict[str, None]] = {}
        self._greeting: Kind | None = Kind.HELLO
        self._post = Post(self)
        self._waiters: set[asyncio.Future[None]] = set()
        self._beat_due = wheel.time() + BEAT_SECONDS
        self._group = f"{PRESENCE}\0{link.name}"
        link.follow(PRESENCE)
        link.bus.holdings.watch(self._group, self)
        link.bus.holdings.hold(f"{self._group}\0{self.id}", 1)
        wheel.set(self, self._beat_due)
        self._post_soon()

    def close(self) -> None:
        """Count nobody any more, and say so."""
        self._wheel.cancel(self)
        self._wheel.cancel(self._post)
        self._link.forward(PRESENCE, write(Kind.BYE, self.id, self._number))
        self.forget()
        for owner in list(self._owners.values()):
            self._drop(owner)

    def forget(self) -> None:
        """Hear nothing more."""
        self._link.bus.holdings.watch(self._group, None)
        self._link.bus.holdings.hold(f"{self._group}\0{self.id}", 0)

    # -- for boards -----------------------------------------------------------------------------

    def follow(self, board: Board) -> None:
        """A topic is used here: know its members elsewhere too."""
        if board not in self._followed:
            for owner in self._owners.values():
                owner.waiting.add(board.name)
            self._want(None, board.name)
        self._followed[board] = 0

    def changed(self, board: Board, id: str) -> None:
        """A member has other connections here, or is shown otherwise."""
        self._changed.setdefault(board, {})[id] = None
        self._post_soon()

    def silent(self, topic: str) -> list[str]:
        """Return the owners of which it is not known whom they count in a topic."""
        return [owner.id for owner in self._owners.values() if topic in owner.waiting]

    async def hear_all(self, topic: str, seconds: float) -> None:
        """Wait until all that are known have said whom they count in a topic."""
        await self._link.bus.holdings.hear_all(seconds)
        while self.silent(topic):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    # -- what leaves ----------------------------------------------------------------------------

    def _post_soon(self) -> None:
        if not self._post.tick:
            self._wheel.set(self._post, self._wheel.time() + POST_SECONDS)

    def _want(self, owner: str | None, *topics: str) -> None:
        if topics:
            self._wanted.setdefault(owner, {}).update(dict.fromkeys(topics))
            self._post_soon()

    def post(self) -> None:
        """Write what has collected."""
        changed, self._changed = self._changed, {}
        asked, self._asked = self._asked, {}
        wanted, self._wanted = self._wanted, {}
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            self._write(greeting)
        for board, ids in changed.items():
            if board.name not in asked:
                self._put(board, ids)
        for topic in asked:
            self._tell_all(topic)
        of_all = wanted.pop(None, {})
        self._ask(None, list(of_all))
        for owner, topics in wanted.items():
            self._ask(owner, [topic for topic in topics if topic not in of_all])

    def _ask(self, owner: str | None, topics: list[str]) -> None:
        for start in range(0, len(topics), TOPICS_AT_ONCE):
            self._write(Kind.ASK, owner, topics[start : start + TOPICS_AT_ONCE])

    def _put(self, board: Board, ids: dict[str, None]) -> None:
        people = board.people
        for parcel in parcels([entry(people.find(id), id, OURS) for id in ids]):
            self._number += 1
            self._write(Kind.PUT, board.name, entries=parcel)

    def _tell_all(self, topic: str) -> None:
        board = self._boards.get(topic)
        people = [] if board is None else board.people.of(OURS)
        found = parcels([entry(person, person.id, OURS) for person in people])
        for index, parcel in enumerate(found):
            self._number += 1
            self._write(Kind.ALL, topic, index, len(found), entries=parcel)

    def _write(self, kind: Kind, *rest: Any, entries: list[bytes] | None = None) -> None:
        self._link.forward(PRESENCE, write(kind, self.id, self._number, *rest, entries=entries))

    # -- what comes -----------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """Take a letter."""
        try:
            letter = read(frame)
        except ValueError as error:
            log.error("bus: %s", error)
            return
        if letter.owner == self.id:
            return
        owner = self._owner(letter.owner)
        if not owner.is_peer:
            self._live_until(owner, self._wheel.time() + GONE_SECONDS)
        if owner.number is None:
            owner.number = letter.number - letter.counts
        elif letter.counts and letter.number <= owner.number:
            return  # a double
        if letter.number > owner.number + letter.counts:  # something did not come
            owner.parts.clear()
            self._ask_all_of(owner)
        owner.number = max(owner.number, letter.number)
        self._take(owner, letter)

    def _take(self, owner: Owner, letter: Letter) -> None:
        match letter.kind:
            case Kind.PUT:
                self._changed_there(owner, letter)
            case Kind.ALL:
                self._said_all(owner, letter)
            case Kind.ASK if letter.to in (None, self.id):
                self._asked.update(dict.fromkeys(letter.topics))
                self._post_soon()
            case Kind.HELLO:
                self._greeting = self._greeting or Kind.BEAT
                self._post_soon()
            case Kind.BYE:
                self._lose(owner)

    def _changed_there(self, owner: Owner, letter: Letter) -> None:
        board = self._boards.get(letter.topic)
        if board is None or board not in self._followed:
            return
        for id, (count, info) in (letter.entries or {}).items():
            board.people.put(owner.id, id, count, info)
        board.tell_soon()

    def _said_all(self, owner: Owner, letter: Letter) -> None:
        topic = letter.topic
        if not letter.index:
            owner.parts[topic] = {}
        parts = owner.parts.get(topic)
        if parts is None:  # the first of them did not come
            return
        parts.update(letter.entries or {})
        if letter.index == letter.total - 1:
            del owner.parts[topic]
            self._heard(owner, topic)
            board = self._boards.get(topic)
            if board is not None and board in self._followed:
                board.people.replace(owner.id, parts)
                board.tell_soon()

    def _heard(self, owner: Owner, *topics: str) -> None:
        """Nothing more is awaited of an owner for these topics."""
        owner.waiting.difference_update(topics)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- who they are ---------------------------------------------------------------------------

    def _owner(self, id: str) -> Owner:
        owner = self._owners.get(id)
        if owner is None:
            self._owners[id] = owner = Owner(id)
            self._ask_all_of(owner)
        return owner

    def _ask_all_of(self, owner: Owner) -> None:
        topics = [board.name for board in self._followed]
        owner.waiting.update(topics)
        self._want(owner.id, *topics)

    def came(self, id: str) -> None:
        """There is a socket to an owner."""
        owner = self._owner(id)
        owner.is_peer = True
        owner.due = None

    def gone(self, id: str) -> None:
        """It is gone, and most often its owner is."""
        owner = self._owners.get(id)
        if owner is not None:
            owner.is_peer = False
            with suppress(RuntimeError):  # the loop is closed, so nobody is told
                self._lose(owner)

    def _lose(self, owner: Owner) -> None:
        """An owner has ended: whom it counted may connect again elsewhere."""
        self._live_until(owner, self._wheel.time() + LOST_SECONDS)
        self._heard(owner, *owner.waiting)

    def _live_until(self, owner: Owner, due: float) -> None:
        owner.due = due
        self._wheel.sooner(self, due)

    def _drop(self, owner: Owner) -> None:
        del self._owners[owner.id]
        self._heard(owner, *owner.waiting)
        for board in self._followed:
            board.people.drop(owner.id)
            board.tell_soon()

    def on_timer(self, now: float) -> float | None:
        late = now - self._next_due()
        for owner in list(self._owners.values()):
            if owner.due is not None and late > ASLEEP_SECONDS:
                owner.due += (
                    late  # it was this process that was silent: what others have said is still unread
                )
            elif owner.due is not None and owner.due <= now:
                self._drop(owner)
        if self._beat_due <= now:
            self._beat_due = now + BEAT_SECONDS
            self._beat()
        return self._next_due()

    def _next_due(self) -> float:
        dues = [owner.due for owner in self._owners.values() if owner.due is not None]
        return min([self._beat_due, *dues])

    def _beat(self) -> None:
        self._write(Kind.BEAT)
        for owner in self._owners.values():
            self._want(owner.id, *owner.waiting)
        for board in list(self._followed):
            idle = 0 if board.is_used() else self._followed[board] + 1
            self._followed[board] = idle
            if idle > LINGER_BEATS:
                self._unfollow(board)

    def _unfollow(self, board: Board) -> None:
        """Nobody has used a topic here for a while: know only who is here."""
        del self._followed[board]
        board.people.drop_others(OURS)
        for owner in self._owners.values():
            owner.waiting.discard(board.name)
            owner.parts.pop(board.name, None)
