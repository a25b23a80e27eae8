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

if TYPE_CHECKING:
    from fastws.loop.timers import Wheel
    from fastws.pubsub.classes import PresenceMode
    from fastws.pubsub.topic import Topic

__all__ = ["LEAVE_SECONDS", "Presences"]

#: So long a connection that has ended counts: who loads a page again has not left.
LEAVE_SECONDS = 5.0


class Presences(Timed):
    """Everything here runs on the loop of the hub.

    Args:
        topics: Those of the hub, by name.
    """

    __slots__ = ("_boards", "_leaving", "_topics", "_wheel")

    def __init__(self, topics: dict[str, Topic]) -> None:
        self.tick = 0
        self._topics = topics
        self._wheel: Any = None
        #: A board lasts as long as its topic, a client or somebody who has left holds it.
        self._boards: WeakValueDictionary[str, Board] = WeakValueDictionary()
        self._leaving: deque[tuple[float, Board, str, Tabs]] = deque()

    def board(self, name: str, mode: PresenceMode) -> Board:
        """Return that of a topic, made where it is missing."""
        found = self._boards.get(name)
        if found is None:
            self._boards[name] = found = Board(name, mode, self)
        return found

    # -- for boards -----------------------------------------------------------------------------

    def use(self, board: Board) -> None:
        """A client joins, on the loop that runs."""
        self._enter()

    def changed(self, board: Board, id: str) -> None:
        """A member has other connections here, or is shown otherwise."""

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

    def _enter(self) -> None:
        wheel: Wheel = loop_state_of(asyncio.get_running_loop()).wheel
        if self._wheel is not wheel:
            self._wheel = wheel
            self.tick = 0
            leaving, self._leaving = self._leaving, deque()
            for _, board, id, tabs in leaving:  # of a loop that is gone
                board.has_left(id, tabs)
