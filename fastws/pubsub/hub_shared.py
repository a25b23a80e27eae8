# cython: annotation_typing=False
"""The part of a hub that is for who numbers messages of several processes: :mod:`fastws.pubsub.keeper`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastws.config import SlowConsumerPolicy
from fastws.connection.publication import Publication
from fastws.pubsub.classes import TopicMode
from fastws.pubsub.cursors import puller_of
from fastws.pubsub.follower import Follower
from fastws.pubsub.hub_views import HubViews, Joined, lane_of
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.notes import frame_of
from fastws.pubsub.pace import Pace, least
from fastws.pubsub.replays import replay_size
from fastws.pubsub.views import View
from fastws.pubsub.wishes import AS_DECLARED, Wish

if TYPE_CHECKING:
    from fastws.pubsub.events import Position, Synced

__all__ = ["HubShared"]

DROP_OLDEST = SlowConsumerPolicy.DROP_OLDEST
AGAIN = Wish(is_again=True)


class HubShared(HubViews):
    """The sixth part of a :class:`fastws.Hub`."""

    def _change_rate(self, ws: Any, channel: Any, max_rate: float | None) -> Joined | None:
        """Let a client of a feed have so many messages a second from now on; it goes on where it is.

        ``channel`` is what :meth:`_subscribe_view` has returned. Returns as that does; None where the
        subscription stays as it is.
        """
        subscriber: Any = ws.outbox.subscriptions
        source = channel.source if isinstance(channel, View) else channel
        rate = max_rate if source.gate is None else least(max_rate, source.gate.max_rate)
        wishes = getattr(channel, "wishes", {})
        if subscriber in wishes:
            pace = None if rate is None else Pace(rate)
            wishes[subscriber] = wishes[subscriber]._replace(pace=pace)
            return None
        cursor = channel.gate.lane.cursors.get(subscriber) if channel.paced() else None
        if rate is not None and cursor is not None:
            cursor.pace.change(rate)
        if (rate is None) is (cursor is None):
            return None
        at, missed = self._place_of(subscriber, channel, cursor)
        if source.gate is not None:
            missed += source.gate.untold(subscriber)
        self._leave(subscriber, channel)
        if missed:
            channel.tell_gap(subscriber, missed, "sampled" if cursor is not None else "slow")
        return self._subscribe_view(ws, channel.name, at, 0, max_rate)

    def _replay_size(
        self, topic: str, since: Position | None, recent: int, max_rate: float | None
    ) -> int | None:
        """Return about how many bytes of what a topic keeps :meth:`_subscribe_view` would let be sent, and of
        who is here.

        None where something would be, and it is not known here yet how much.
        """
        made = None if self._classes is None else self._classes.find(topic)
        found: Any = self._topics.get(topic)
        shown = 0 if found is None or found.presence is None else found.presence.news.size()
        if made is None or not made.is_numbered:
            return shown
        if recent == AS_DECLARED:
            recent = made.recent
        if found is None or not found.can_sync(since):
            asks = since is not None or recent > 0 or made.mode is TopicMode.KEYED
            return None if asks and self._link is not None else 0
        is_paced = least(max_rate, made.max_rate) is not None
        return shown + replay_size(found, since, recent, is_paced=is_paced)

    def _place_of(self, subscriber: Any, channel: Any, cursor: Any) -> tuple[Position | None, int]:
        """Return where a client is, and how many messages it will not be sent when it leaves that place."""
        has_positions = not isinstance(channel, View) or channel.has_history
        if cursor is not None and has_positions:
            return channel.position_at(cursor.place), cursor.left_out
        if cursor is not None:
            unread = max(channel.gate.lane.head() - cursor.place, 0)
            return None, cursor.left_out + unread + (cursor.owed is not None)
        if subscriber in channel.behind:
            at = subscriber.cursors.position_in(channel)
            return (at, 0) if has_positions else (None, channel.history.next - 1 - at.offset)
        if isinstance(channel, KeyedTopic):
            return channel.position(channel.released), 0
        return (channel.last_position() if has_positions else None), 0

    def _receive_numbered(self, topic: Any, messages: list[bytes], times: list[float] | None) -> None:
        """Take the next messages of a topic; ``times`` is when they came where that is not now."""
        fan_out = self._fan_out
        for index, kept in enumerate(messages):
            if times is None:
                topic.keep(kept)
            else:
                topic.restore(kept, times[index])
            if topic.subscribers:
                assert fan_out is not None
                seq = fan_out.add(topic)
                topic.batch.append(Publication(topic, seq, None, frame_of(kept)))
            if topic.view is not None:
                topic.view.offer(kept, fan_out)

    def _tell_skipped(self, topic: Any, missed: int) -> None:
        """Tell those who keep up that the next messages do not come; all others find it out by themselves."""
        for channel in [topic] if topic.view is None else [topic, topic.view]:
            for subscriber in list(channel.subscribers):
                channel.tell_gap(subscriber, missed, "bus")

    def _hold(self, topic: Any) -> None:
        """Let all that listen wait: the topic begins another life."""
        self._hold_clients(topic)
        if topic.view is not None:
            self._hold_clients(topic.view)
            topic.view.joining.update(topic.view.behind)
        for follower in topic.followers:
            if isinstance(follower, Follower):  # else it is a lane's, whose clients wait by themselves
                follower.wait(topic)
                topic.wishes.setdefault(follower, AGAIN)

    def _hold_clients(self, topic: Any) -> None:
        for subscriber in list(topic.subscribers):
            if topic.batch and subscriber in topic.subscribers:
                subscriber.take_published()
        fan_out = self._fan_out
        for subscriber in [*topic.subscribers, *topic.behind]:
            assert fan_out is not None
            puller_of(fan_out).wait(subscriber, topic)
            topic.wishes.setdefault(subscriber, AGAIN)
        if topic.paced():
            lane = topic.gate.lane
            for subscriber, cursor in list(lane.cursors.items()):
                assert fan_out is not None
                puller_of(fan_out).wait(subscriber, topic)
                topic.wishes[subscriber] = AGAIN._replace(pace=cursor.pace)
                lane.remove(subscriber)
                subscriber.topics.pop(lane, None)

    def _release(self, topic: Any) -> None:
        """Let those that wait begin: what the topic keeps is here."""
        self._release_from(topic, topic)
        if topic.view is not None:
            self._release_from(topic, topic.view)

    def _release_from(self, topic: Any, waiting: Any) -> None:
        """The same for those of the topic, or of its view."""
        wishes, waiting.wishes = waiting.wishes, {}
        fan_out = self._fan_out
        for who, wish in wishes.items():
            if topic.has_to_wait(who, wish):
                waiting.wishes[who] = wish
            elif isinstance(who, Follower):
                who.begin_at(topic, *topic.follow_waiting(wish))
            elif wish.pace is not None:
                self._begin_paced(waiting, who, wish.pace, *topic.join_waiting(wish))
            else:
                assert fan_out is not None
                puller_of(fan_out).begin(who, waiting, *topic.join_waiting(wish))

    def _begin_paced(self, channel: Any, subscriber: Any, pace: Pace, synced: Synced, place: Any) -> None:
        """Let a client that has waited listen at a pace of its own."""
        subscriber.cursors.stop_waiting(channel)
        lane_of(channel, self._fan_out).add(subscriber, place, pace)
        if not channel.tell_sync(subscriber, synced) and subscriber.policy_of(channel) is not DROP_OLDEST:
            subscriber.outbox.evict()
        elif isinstance(channel, View):
            channel.tell_live(subscriber)
