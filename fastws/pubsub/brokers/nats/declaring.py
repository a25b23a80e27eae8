"""Which settings nodes have declared for a topic. They hold while one of those nodes says so again."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

from fastws.pubsub.brokers.base import BrokerTopic, other_settings
from fastws.pubsub.brokers.nats.failures import NoAnswer
from fastws.pubsub.brokers.nats.streams import Stream, WrongSequence

__all__ = ["Declarations"]

#: Seconds that a declaration holds.
HOLD_SECONDS = 15.0
#: Who has said so within so many seconds need not say it again.
AGAIN_SECONDS = 9.0
ATTEMPTS = 8


class Declarations:
    """Those of one node, and what it has seen of others. No clock of another machine is asked.

    Args:
        stream: That of keys: it keeps the last declaration of each topic, with the nodes that have said the
            same, and how often.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._node = secrets.token_hex(4)
        self._count = 0
        #: By topic and node: how often that has said so, and since when it is known here.
        #: When this node has said so, by topic; and with which settings.
        self._said: dict[str, tuple[str, float]] = {}
        self._seen: dict[tuple[str, str], tuple[int, float]] = {}

    async def declare(self, topic: BrokerTopic) -> bool:
        """Say that this node uses a topic, with these settings; False where that was said a moment ago.

        Raises:
            BrokerRefused: Another node uses it with other settings.
            BrokerUnavailable: The broker is away, or nobody answers.
        """
        now = asyncio.get_running_loop().time()
        digest, at = self._said.get(topic.name, ("", now))
        if digest == topic.digest and now - at < AGAIN_SECONDS and self._stream.made:
            return False
        await self._stream.ensure(topic)
        subject = f"{topic.name}.d"
        self._count += 1
        for _ in range(ATTEMPTS):
            raw = await self._stream.last(subject)
            nodes: dict[str, int] = {}
            expected = 0
            if raw is not None:
                expected = raw.sequence
                nodes = self._compare(topic, raw.data)
            said = {"digest": topic.digest, "nodes": nodes | {self._node: self._count}}
            data = json.dumps(said | {"settings": json.loads(topic.settings)}).encode()
            try:
                await self._stream.taken(await self._stream.put(subject, data, expected=expected))
            except WrongSequence:
                continue
            self._said[topic.name] = (topic.digest, now)
            return True
        raise NoAnswer(f"topic {topic.name}: others declare it all the time")

    def _compare(self, topic: BrokerTopic, data: bytes) -> dict[str, int]:
        """Return the other nodes that still use it. Raises :class:`BrokerRefused`."""
        try:
            said: dict[str, Any] = json.loads(data)
            digest, settings = said["digest"], json.dumps(dict(said["settings"])).encode()
            nodes = {str(node): int(count) for node, count in said["nodes"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return {}  # of no version that is known
        nodes.pop(self._node, None)
        users = {node: count for node, count in nodes.items() if self._is_alive(topic.name, node, count)}
        if users and digest != topic.digest:
            raise other_settings(topic.settings, settings)
        return users

    def _is_alive(self, name: str, node: str, count: int) -> bool:
        now = asyncio.get_running_loop().time()
        seen, since = self._seen.get((name, node), (0, now))
        if seen != count:
            self._seen[name, node] = (count, now)
            return True
        return now - since < HOLD_SECONDS
