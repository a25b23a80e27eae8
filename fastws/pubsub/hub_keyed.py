# cython: annotation_typing=False
"""The part of a hub that is about keyed topics, and about what both kinds of numbered topics publish."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastws.config import UNSET, Unset
from fastws.json import checked_source, finite_text
from fastws.pubsub.classes import TopicMode
from fastws.pubsub.cursors import puller_of
from fastws.pubsub.events import Position, Published, Synced
from fastws.pubsub.hub_history import HubHistory, arrive
from fastws.pubsub.keeper.changes import Verb, encode_wanted
from fastws.pubsub.keyed import KeyedTopic, checked_key
from fastws.pubsub.keys import KeysFull
from fastws.pubsub.notes import JSON_NOTE
from fastws.pubsub.numbered import count_resumed
from fastws.pubsub.patterns import check_name
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.wishes import Wish

if TYPE_CHECKING:
    from fastws.pubsub.fanout import Subscriber
    from fastws.pubsub.numbered import NumberedTopic

__all__ = ["REMOVAL", "HubKeyed", "message_of"]

log = logging.getLogger("fastws.error")

#: Bytes of an id for ``publish_confirmed``.
MAX_ONCE_BYTES = 255
#: In place of a message: the key shall hold nothing.
REMOVAL = object()


class HubKeyed(HubHistory):
    """The fourth part of a :class:`fastws.Hub`."""

    async def publish_confirmed(
        self,
        topic: str,
        message: str | bytes | Unset = UNSET,
        *,
        json: Any = UNSET,
        key: str | None = None,
        once: str | None = None,
        timeout: float = 5.0,
    ) -> Published:
        """Publish as :meth:`publish` to a topic with a history, or to a keyed one; return its position.

        Publish what must not come twice with an id, and try again with the same id: within 300 s it is
        published once. Of one hub the last 100,000 ids are known, less than 300 s where there are more.

        Args:
            topic: The topic's name.
            message: As for :meth:`publish`, and so are ``json`` and ``key``.
            once: The id, at most 255 bytes of UTF-8, one for each message of this topic. Default: none.
            timeout: How long to wait, in seconds. In one process there is nothing to wait for; where workers
                share the hub, another process numbers the message.

        Returns:
            Where the message is, or where the one with the same id is.

        Raises:
            ValueError: The topic has no positions, its name is a bad one, or ``once`` is empty or too long;
                and as :meth:`publish`.
            TypeError: As :meth:`publish`, or ``once`` is no text.
            RuntimeError: As :meth:`publish`.
            BrokerUnavailable: Nobody numbers messages now, or the broker refuses this one: not published.
            TimeoutError: No answer has come in time: it may be published. Try again with the same ``once``.
        """
        kept = self._with_positions(topic)
        if once is not None:
            _check_once(once)
        message = message if json is UNSET else message_of(message, json)
        note = b"" if json is UNSET else JSON_NOTE
        if kept.is_shared:
            return await self._confirm_shared(kept, message, key, once, note, timeout)
        return self._confirm(kept, message, key, once, note)

    async def _confirm_shared(
        self,
        kept: NumberedTopic,
        message: Any,
        key: Any,
        once: str | None,
        note: bytes,
        timeout: float = 5.0,
    ) -> Published:
        """Do the same for a topic that another process numbers."""
        if isinstance(kept, SequencedTopic):
            if key is not None or message is REMOVAL:
                raise self._not_keyed(kept.name)
            body = self._frame(kept, message, note)
        else:
            self._check_keyed(kept.name, key, None)
            checked_key(key)
            body = encode_wanted(Verb.REMOVE, key)
            if message is not REMOVAL:
                body = encode_wanted(Verb.PUT, key, self._source(kept.name, message, note))
        shared: Any = kept
        try:
            done: Published = await shared.client.questions.publish(shared, body, once, timeout)
        except KeysFull:
            raise self._keys_full(shared, key) from None
        return done

    def _confirm(
        self, kept: NumberedTopic, message: Any, key: Any, once: str | None, note: bytes
    ) -> Published:
        """Publish once, if that is asked for; see :meth:`publish_confirmed`. ``REMOVAL`` is one too."""
        if once is not None:
            before = self._sequencer.published(kept.name, once)
            if before is not None:
                return Published(before, duplicate=True)
        if kept.gate is not None:
            kept.gate.release()  # it is behind what was published before
        if message is REMOVAL:
            self._keyed(kept.name).drop(key)
        else:
            self._publish_numbered(kept, message, key, None, note)
        at = kept.last_position()
        if once is not None:
            self._sequencer.remember(kept.name, once, at)
        return Published(at)

    def remove(self, topic: str, key: str) -> bool:
        """Let a key of a keyed topic hold nothing any more; its clients are told with the next tick.

        Returns:
            False where it held nothing: nobody is told anything then.

        Raises:
            ValueError: The topic is not keyed, or its name is a bad one.
            RuntimeError: Called in another thread than that of the hub's loop, or no loop runs.
        """
        return self._keyed(topic).drop(key)

    def clear(self, topic: str) -> bool:
        """Let no key of a keyed topic hold anything any more; its clients are told with the next tick.

        Returns:
            False where none held anything: nobody is told anything then.

        Raises:
            ValueError: The topic is not keyed, or its name is a bad one.
            RuntimeError: Called in another thread than that of the hub's loop, or no loop runs.
        """
        return self._keyed(topic).clear()

    async def snapshot(self, topic: str) -> dict[str, str]:
        """Return what each key of a keyed topic holds now: the source text of its JSON value.

        The key that changed last is the last one.

        Raises:
            ValueError: The topic is not keyed, or its name is a bad one.
            RuntimeError: Called in another thread than that of the hub's loop.
            BrokerUnavailable: As :meth:`position`.
        """
        found = self._keyed(topic)
        await arrive(found)
        found.expire()
        return {entry.key: entry.value for entry in found.keys.items()}

    # -- what a hub does with such a topic -------------------------------------------------------

    def _keyed(self, topic: str) -> KeyedTopic:
        """Return a keyed topic, made where it is missing. Raises ``ValueError`` for another one."""
        found = None
        if self._sequencer is not None:
            self._enter()
            found = self._numbered(topic)
        if not isinstance(found, KeyedTopic):
            raise self._not_keyed(topic)
        return found

    def _not_keyed(self, topic: str) -> ValueError:
        return ValueError(f"topic {topic!r} has no keys: declare it with hub.topic({topic!r}, mode='keyed')")

    def _publish_numbered(
        self, topic: NumberedTopic, message: Any, key: str | None, exclude: Any, note: bytes
    ) -> int:
        """Publish to a topic with a history, or to a keyed one. With a note ``message`` is valid JSON."""
        if isinstance(topic, SequencedTopic):
            if key is not None:
                raise self._not_keyed(topic.name)
            return self._publish_kept(topic, message, exclude, note)
        assert isinstance(topic, KeyedTopic)
        self._check_keyed(topic.name, key, exclude)
        return self._put(topic, key, self._source(topic.name, message, note))

    def _source(self, topic: str, message: Any, note: bytes) -> bytes:
        """Return a value's source text. With a note the text is valid JSON."""
        is_checked = note and isinstance(message, str)
        source: bytes = message.encode() if is_checked else self._value_source(topic, message)
        return source

    def _keys_full(self, topic: KeyedTopic, key: Any) -> ValueError:
        most = topic.keys.max_keys
        return ValueError(f"topic {topic.name!r} holds {most} keys, its max_keys, and not {key!r}")

    def _value_source(self, topic: str, message: Any) -> bytes:
        """Return a value's source text. Raises ``TypeError`` and ``ValueError`` for what is no JSON."""
        if message is UNSET:
            raise TypeError("publish a value, or json=")
        if not isinstance(message, str):
            what = type(message).__name__
            raise TypeError(f"a value of keyed topic {topic!r} is JSON source text, or json=, not {what}")
        try:
            return checked_source(message)
        except ValueError as error:
            raise ValueError(f"a value of keyed topic {topic!r} is JSON source text: {error}") from None

    def _check_keyed(self, topic: str, key: str | None, exclude: Any) -> None:
        if key is None:
            raise TypeError(f"topic {topic!r} is keyed: publish(topic, value, key=...)")
        if exclude is not None:
            raise TypeError(f"exclude= cannot be with topic {topic!r}: its keys are the same for all")

    def _check_recent(self, topic: KeyedTopic, recent: int) -> None:
        if recent > 0:
            raise ValueError(
                f"topic {topic.name!r} is keyed: recent= is not for it, its keys come in any case"
            )

    def _put(self, topic: KeyedTopic, key: Any, source: bytes) -> int:
        self._enter()
        try:
            topic.put(key, source)
        except KeysFull:
            raise self._keys_full(topic, key) from None
        return topic.listeners()

    def _is_keyed(self, topic: str) -> bool:
        """True for a keyed topic. From any thread."""
        made = None if self._classes is None else self._classes.find(topic)
        return made is not None and made.mode is TopicMode.KEYED

    def _has_positions(self, topic: str) -> bool:
        """True for a topic that keeps messages or keys."""
        made = None if self._classes is None else self._classes.find(topic)
        return made is not None and made.is_numbered

    def _check_kept(self, topic: str) -> None:
        """Raise ``ValueError`` for a name that no topic can have which keeps something. From any thread."""
        if self._has_positions(topic):
            check_name(topic)

    def _publish_keyed_threadsafe(self, topic: str, message: Any, key: str | None) -> None:
        if not self._is_keyed(topic):
            raise self._not_keyed(topic)
        self._check_keyed(topic, key, None)
        checked_key(key)
        source = self._value_source(topic, message)
        if self._loop is None:
            raise self._no_loop()
        self._loop.call_soon_threadsafe(self._put_by_name, topic, key, source)

    def _put_by_name(self, topic: str, key: str | None, source: bytes) -> None:
        try:
            self._put(self._keyed(topic), key, source)
        except ValueError as error:  # nobody is there who could be told
            log.error("publish_threadsafe: %s", error)

    def _no_loop(self) -> RuntimeError:
        return RuntimeError(
            "the hub does not know its loop yet: start it with `async with hub`, or hub.lifespan in ASGI"
        )

    def _subscribe_keyed(
        self, subscriber: Subscriber, topic: KeyedTopic, since: Position | None, recent: int
    ) -> Synced | None:
        """Let a client listen, from a snapshot or from a position in the past on."""
        self._enter()
        self._check_recent(topic, recent)
        if subscriber in topic.subscribers or subscriber in topic.behind:
            if since is not None:
                raise self._subscribed_already(topic)
            return self._going_on(subscriber, topic, topic.position(topic.released))
        if not topic.can_sync(since):
            self._wait_for_copy(subscriber, topic, Wish(since))
            return None
        synced, place = topic.sync(since)
        count_resumed(subscriber, synced)
        subscriber.outbox.keep_fresh()
        fan_out = self._fan_out
        assert fan_out is not None
        puller_of(fan_out).join(subscriber, topic, place)
        return synced


def message_of(message: Any, json: Any) -> Any:
    """Return the one of both that was given, ``json`` as text. Raises as :meth:`fastws.Hub.publish`."""
    if json is UNSET:
        if message is UNSET:
            raise TypeError("publish a message, or json=")
        return message
    if message is not UNSET:
        raise TypeError("publish a message or json=, not both")
    return finite_text(json)


def _check_once(once: object) -> None:
    if not isinstance(once, str):
        raise TypeError(f"once= is text, not {type(once).__name__}")
    if not 1 <= len(once.encode("utf-8", "surrogatepass")) <= MAX_ONCE_BYTES:
        raise ValueError(f"once= has 1 to {MAX_ONCE_BYTES} bytes")
