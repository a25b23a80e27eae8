"""The presence of one hub: its boards, its clock, and connections that have ended and still count."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from fastws.loop.state import loop_state_of
from fastws.loop.timers import Timed
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.presence.board import Beat, Board, Tabs
from fastws.pubsub.presence.others import Others

if TYPE_CHECKING:
    from fastws.loop.timers import Wheel
    from fastws.pubsub.bus.link import Link
    from fastws.pubsub.classes import TopicClass
    from fastws.pubsub.topic import Topic

__all__ = ["LEAVE_SECONDS", "Presences"]

#: So long a connection that has ended counts: who loads a page again has not left.
LEAVE_SECONDS = 5.0


class Presences(Timed):
    """Everything here runs on the loop of the hub.

    Args:
        topics: Those of the hub, by name.
    """

    __slots__ = ("__weakref__", "_boards", "_leaving", "_link", "_topics", "_wheel", "others")

    def __init__(self, topics: dict[str, Topic]) -> None:
        self.tick = 0
        self._topics = topics
        self._wheel: Any = None
        #: A board lasts as long as its topic, a client or somebody who has left holds it.
        self._boards: WeakValueDictionary[str, Board] = WeakValueDictionary()
        self._leaving: deque[tuple[float, Board, str, Tabs]] = deque()
        self._link: Link | None = None
        #: Those who share the hub, from the first use on; None where nobody does.
        self.others: Others | None = None

    def board(self, name: str, made: TopicClass) -> Board:
        """Return that of a topic of a class that has one, made where it is missing."""
        found = self._boards.get(name)
        if found is None:
            assert made.presence is not None
            self._boards[name] = found = Board(name, made.presence, made.deflate, self)
        return found

    def share(self, link: Link | None) -> None:
        """Share with the hubs of other processes; None: with none any more."""
        others, self.others = self.others, None
        if others is not None:
            others.close()
        self._link = link
        if link is not None:
            link.call_threadsafe(self.enter)

    def receive(self, frame: bytes) -> None:
        """Take what another process has written."""
        self.enter()
        if self.others is not None:
            self.others.receive(frame)

    # -- for boards -----------------------------------------------------------------------------

    def use(self, board: Board) -> None:
        """Somebody wants to know who is in a topic, on the loop that runs."""
        self.enter()
        if self.others is not None:
            self.others.follow(board)

    async def hear_all(self, board: Board, timeout: float) -> None:
        """Wait until all who share the hub have said whom they count in a topic. Raises ``TimeoutError``."""
        self.use(board)
        others = self.others
        if others is None:
            return
        try:
            await asyncio.wait_for(others.hear_all(board.name, timeout), timeout)
        except TimeoutError:
            silent = others.silent(board.name)
            raise TimeoutError(
                f"no answer within {timeout:g} s of {len(silent)} of the hubs that share {board.name!r}"
            ) from None

    def changed(self, board: Board, id: str) -> None:
        """A member has other connections here, or is shown otherwise."""
        if self.others is not None:
            self.others.changed(board, id)

    def leave_later(self, board: Board, id: str, tabs: Tabs) -> None:
        """A connection has ended, and counts no more in a while."""
        self._leaving.append((self._wheel.time() + LEAVE_SECONDS, board, id, tabs))
        self._wheel.sooner(self, self._leaving[0][0])

    def set_timer(self, beat: Beat) -> None:
        """Let a board tell as soon as it may."""
        wheel = self._wheel
        if beat.wheel is not wheel:
            beat.wheel, beat.tick, beat.due = wheel, 0, 0.0
        if not beat.tick:
            wheel.set(beat, max(beat.due, wheel.time()))

    def is_live(self, name: str, subscriber: Any) -> bool:
        """True when a client of a topic has been told that it is live."""
        topic = self._topics.get(name)
        for channel in (topic, None if topic is None else topic.view):
            if isinstance(channel, NumberedTopic) and subscriber in channel.behind:
                return False
        if isinstance(topic, KeyedTopic) and topic.paced():
            cursor = topic.gate.lane.cursors.get(subscriber)
            return cursor is None or cursor.told >= 0
        return True

    def on_timer(self, now: float) -> float | None:
        leaving = self._leaving
        while leaving and leaving[0][0] <= now:
            _, board, id, tabs = leaving.popleft()
            board.has_left(id, tabs)
        return leaving[0][0] if leaving else None

    def enter(self) -> None:
        """Hold on to the loop that runs."""
        wheel: Wheel = loop_state_of(asyncio.get_running_loop()).wheel
        if self._wheel is not wheel:
            if self._link is not None:
                self._link.bus.forget_closed_loop()
            self._wheel = wheel
            self.tick = 0
            leaving, self._leaving = self._leaving, deque()
            if self.others is not None:
                self.others.forget()
                self.others = None
            for _, board, id, tabs in leaving:  # of a loop that is gone
                board.has_left(id, tabs)
        if self.others is None and self._link is not None:
            self.others = Others(self._link, self._boards, wheel)
