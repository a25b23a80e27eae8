# cython: annotation_typing=False
"""The part of a hub that says who listens to its topics: at the same pace as all, behind, or at its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastws.config import SlowConsumerPolicy
from fastws.pubsub.bus.link import Link
from fastws.pubsub.bus.records import split_frames
from fastws.pubsub.classes import TopicMode
from fastws.pubsub.events import Presence, Synced
from fastws.pubsub.kicks import KICKS, KnownClient, KnownClients, kick_frame
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.presence.board import Board
from fastws.pubsub.presence.letters import PRESENCE
from fastws.pubsub.presence.shown import Shown, shown_as
from fastws.pubsub.registry import TopicRegistry
from fastws.pubsub.topic import Topic

__all__ = ["Audience"]


class Audience(TopicRegistry):
    """The second part of a :class:`fastws.Hub`."""

    def count(self, topic: str) -> int:
        """Return how many clients listen to ``topic`` in this process."""
        found = self._find(topic)
        return 0 if found is None else found.listeners()

    async def total(self, topic: str, *, timeout: float = 5.0) -> int:
        """Return how many clients listen to ``topic`` in all processes and on all nodes that share this hub.

        Each is asked. Any number of tasks may ask at the same time.

        Raises:
            TimeoutError: A process or a node has not answered within ``timeout`` seconds (default: 5). A node
                that has died, or is cut off, is waited for until it has been silent for 15 seconds.
        """
        here = self.count(topic)
        link = self._link
        if link is None:
            return here
        found: int = await link.total(topic, here, timeout)
        return found

    async def presence(self, topic: str, *, timeout: float = 5.0) -> Presence:
        """Return who is here: who listens to a topic with a ``presence``, in all processes, by user.

        Who was subscribed by :meth:`subscribe` counts where that was given ``present``, and a client of a
        :class:`fastws.Feed` where its :class:`fastws.Grant` is visible.

        Any number of tasks may ask at the same time. A topic that is used here is known already; for another
        one the processes that share the hub are asked.

        Returns:
            The number of members; and each of them, however many they are, where the topic's ``presence`` is
            ``"list"``.

        Raises:
            ValueError: The topic was declared without ``presence``.
            TimeoutError: A process has not answered within ``timeout`` seconds (default: 5).
        """
        board = self._board(topic)
        assert self._presences is not None
        await self._presences.hear_all(board, timeout)
        return board.everybody()

    def _board(self, topic: str) -> Board:
        """Return what says who is in a topic. Raises ``ValueError`` for one that shows nobody."""
        found = self._find(topic)
        board: Any = None if found is None else found.presence
        if found is None and self._classes is not None:
            made = self._classes.find(topic)
            if made is not None and made.presence is not None:
                assert self._presences is not None
                board = self._presences.board(topic, made)
        if board is None:
            raise ValueError(
                f"topic {topic!r} shows nobody: declare it with hub.topic({topic!r}, presence='list')"
            )
        shown: Board = board
        return shown

    def _subscribe_as(
        self,
        ws: Any,
        topic: str,
        present: Any,
        policy: Any,
        since: Any,
        recent: int | None,
        max_rate: float | None,
    ) -> Synced | None:
        """Let ``ws`` listen, be seen by clients of feeds, and have a policy of its own, as it was asked."""
        shown = None if present is None else shown_as(present)
        if shown is not None:
            self._board(topic)  # raises before anything is done
        chosen = None if policy is None else self._policy_for(topic, policy)
        hub: Any = self
        synced: Synced | None = hub.subscribe(ws, topic, since=since, recent=recent, max_rate=max_rate)
        if ws.outbox.is_open:
            subscriber = ws.outbox.subscriptions
            if shown is not None:
                self._board(topic).show(subscriber, shown)
            if chosen is not None:
                subscriber.policies = {**(subscriber.policies or {}), self._find(topic): chosen}
        return synced

    def _policy_for(self, topic: str, policy: Any) -> SlowConsumerPolicy | None:
        """Return the policy of one client of a topic. Raises ``ValueError`` where it cannot be."""
        made = None if self._classes is None else self._classes.find(topic)
        if made is not None and made.mode is TopicMode.KEYED:
            raise ValueError(
                f"policy= is not for topic {topic!r}: a slow client of keys is sent the last ones"
            )
        return self._chosen_policy(policy, 0 if made is None else made.history)

    def _attend(self, ws: Any, topic: str, shown: Shown | None) -> None:
        """Tell a client of a feed, which listens to a topic, who is here; others see it as ``shown``."""
        found = self._find(topic)
        if found is not None and found.presence is not None:
            subscriber = ws.outbox.subscriptions
            found.presence.show(subscriber, shown)
            found.presence.tell_all(subscriber)

    def topics(self, ws: Any) -> Iterable[str]:
        """Return the names of this hub's topics that ``ws`` listens to."""
        subscriber = ws.outbox.subscriptions
        if subscriber is None:
            return []
        listened: list[Topic] = [*subscriber.topics]
        if subscriber.cursors is not None:
            listened += subscriber.cursors.topics()
        return [topic.name for topic in listened if self._is_here(topic)]

    def _is_here(self, topic: Topic) -> bool:
        """True for a topic of this hub, and for the view of one."""
        found = self._topics.get(topic.name)
        if found is None:
            return False
        # A view is of a topic; a lane of either.
        source = getattr(topic, "source", topic)
        return source is found or (found.view is not None and source is found.view)

    def subscribers(self, topic: str) -> list[Any]:
        """Return who listens to ``topic`` now, as it was given to :meth:`subscribe`, in that order.

        Of a topic with a history, those that have not been sent everything yet come behind the others; then
        come the clients of feeds.
        """
        found = self._find(topic)
        if found is None:
            return []
        behind = found.behind if isinstance(found, NumberedTopic) else {}
        viewing = [] if found.view is None else found.view.clients()
        paced = [] if not found.paced() else found.gate.lane.cursors
        return [subscriber.ws for subscriber in [*found.subscribers, *behind, *paced, *viewing]]

    async def kick(self, user: str, *, topic: str | None = None, reason: str = "") -> None:
        """Send all clients of a user away: those of the feeds of this hub, in all processes that share it.

        Their WebSockets are closed with 4403, after which ``feed.js`` and :func:`fastws.follow` do not come
        back. Who connects again all the same is asked for anew: let ``authenticate`` refuse him. Other
        processes are told at the end of this turn of the loop, and there is no answer to wait for.

        Args:
            user: The ``id`` of a :class:`fastws.User`.
            topic: Take only this topic from the user's clients: they are told ``"revoked"``, and stay.
                Default None: close them.
            reason: The reason of the close, which the client is told; its first 123 bytes.

        Raises:
            TypeError: ``user``, ``topic`` or ``reason`` is no text.
        """
        for name, value in (("user", user), ("topic", topic or ""), ("reason", reason)):
            if not isinstance(value, str):
                raise TypeError(f"{name} is text, not {type(value).__name__}")
        if self._link is not None:
            self._link.forward(KICKS, kick_frame(user, topic, reason))
        if self._known is not None:
            self._known.kick(user, topic, reason)

    def _is_shared(self) -> bool:
        """True where other processes may share this hub."""
        return self._link is not None

    def _is_heard(self, topic: str) -> bool:
        """True where somebody here wants to know what other processes say in a topic."""
        return bool(self.count(topic) or topic in self._inside())

    def _topics_heard(self) -> list[str]:
        heard = [name for name, topic in self._topics.items() if topic.is_heard()]
        return [*heard, *self._inside()]

    def _inside(self) -> list[str]:
        """Return the topics by which hubs tell each other something, as far as this one wants to hear it."""
        return [KICKS] * bool(self._known) + [PRESENCE] * (self._presences is not None)

    def _receive_inside(self, topic: str, body: bytes, count: int) -> None:
        """Take what another process has said by one of them."""
        taker: Any = {KICKS: self._known, PRESENCE: self._presences}.get(topic)
        if taker is not None:
            for frame in split_frames(body, count):
                taker.receive(frame)

    def _share_presence(self, link: Link | None) -> None:
        """Tell the processes behind a link who is here; None: none any more."""
        if self._presences is not None:
            self._presences.share(link)

    def _know(self, user: str, client: KnownClient) -> None:
        """A client of a feed has said who it is."""
        if self._known is None:
            self._known = KnownClients()
        if self._link is not None and not self._known:
            self._link.follow(KICKS)
        self._known.add(user, client)

    def _forget(self, user: str, client: KnownClient) -> None:
        """It has gone."""
        if self._known is not None:
            self._known.discard(user, client)
