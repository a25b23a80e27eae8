# cython: annotation_typing=False
"""The part of a hub that other processes speak to: by the bus, and by who numbers their messages.

:mod:`fastws.pubsub.bus` and :mod:`fastws.pubsub.keeper` call its methods.
"""

from __future__ import annotations

import logging
from typing import Any

from fastws.connection.publication import Publication
from fastws.protocol.websocket.frames import FIN, Opcode
from fastws.pubsub.bus.records import split_frames
from fastws.pubsub.cursors import puller_of, tell_gap
from fastws.pubsub.follower import Follower
from fastws.pubsub.hub_keyed import HubKeyed

__all__ = ["HubShared"]

#: The first byte of a frame with a whole text message (RFC 6455, section 5.2).
TEXT_FRAME = FIN | Opcode.TEXT

log = logging.getLogger("fastws.error")


class HubShared(HubKeyed):
    """A part of a :class:`fastws.Hub`."""

    # -- for the bus ----------------------------------------------------------------------------

    def _receive_run(self, topic: str, body: bytes, count: int) -> None:
        """Publish here what another process has published; the clients of other processes have it already."""
        found = self._find(topic)
        if found is None or not found.subscribers:
            return
        fan_out = self._fan_out
        assert fan_out is not None
        frames = split_frames(body, count)
        if found.merge is not None:
            frames = _only_texts(topic, frames)
            if len(frames) < count:
                self._receive_gap(topic, count - len(frames), "binary")
        for plain in frames:
            seq = fan_out.add(found)
            found.batch.append(Publication(found, seq, None, plain))

    def _receive_gap(self, topic: str, missed: int, reason: str) -> None:
        """Tell who listens that messages of another process did not come."""
        for ws in self.subscribers(topic):
            tell_gap(ws, topic, missed, reason)

    def _topics_heard(self) -> list[str]:
        return [name for name, topic in self._topics.items() if topic.subscribers]

    # -- for who numbers messages ---------------------------------------------------------------

    def _receive_numbered(self, topic: Any, frames: list[bytes], times: list[float] | None) -> None:
        """Take the next messages of a topic; ``times`` is when they came where that is not now."""
        subscribers = topic.subscribers
        for index, plain in enumerate(frames):
            if times is None:
                topic.keep(plain)
            else:
                topic.restore(plain, times[index])
            if subscribers:
                fan_out = self._fan_out
                assert fan_out is not None
                seq = fan_out.add(topic)
                topic.batch.append(Publication(topic, seq, None, plain))

    def _hold(self, topic: Any) -> None:
        """Let all that listen wait: the topic begins another life."""
        for subscriber in list(topic.subscribers):
            if topic.batch and subscriber in topic.subscribers:
                subscriber.take_published()
        fan_out = self._fan_out
        for subscriber in [*topic.subscribers, *topic.behind]:
            assert fan_out is not None
            puller_of(fan_out).wait(subscriber, topic)
            topic.wishes.setdefault(subscriber, None)
        for follower in topic.followers:
            follower.wait(topic)
            topic.wishes.setdefault(follower, None)

    def _release(self, topic: Any) -> None:
        """Let those that wait begin: what the topic keeps is here."""
        wishes, topic.wishes = topic.wishes, {}
        fan_out = self._fan_out
        for who, wish in wishes.items():
            if isinstance(who, Follower):
                who.begin_at(topic, *topic.follow_waiting(wish))
            else:
                assert fan_out is not None
                puller_of(fan_out).begin(who, topic, *topic.join_waiting(wish))


def _only_texts(topic: str, frames: list[bytes]) -> list[bytes]:
    """Return the frames of text messages: the other process has not declared a topic that merges as such."""
    texts = [plain for plain in frames if plain[0] == TEXT_FRAME]
    if len(texts) < len(frames):
        log.error("topic %r merges text: left out binary messages of another process", topic)
    return texts
