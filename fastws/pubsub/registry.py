# cython: annotation_typing=False
"""The topics of one hub: those that were declared, those made by the way, and who listens to them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

from fastws.config import (
    UNSET,
    Compression,
    SlowConsumerPolicy,
    Unset,
    checked_compression,
)
from fastws.meters.meters import measuring
from fastws.protocol.websocket.deflate import DeflatePool
from fastws.pubsub.bus.registry import bus_of
from fastws.pubsub.classes import (
    MAX_KEYS,
    TopicClass,
    TopicClasses,
    TopicMode,
    check_history,
    check_keyed,
    check_unkeyed,
    checked_every,
    checked_presence,
)
from fastws.pubsub.fanout import FanOut
from fastws.pubsub.gate import Gate
from fastws.pubsub.keeper.sequencer import SharedSequencer
from fastws.pubsub.kept import HUBS
from fastws.pubsub.kicks import KnownClients
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.overrides import overrides
from fastws.pubsub.pace import checked_rate
from fastws.pubsub.patterns import Pattern
from fastws.pubsub.presence.presences import Presences
from fastws.pubsub.sequencer import Sequencer
from fastws.pubsub.ticks import Tickers
from fastws.pubsub.topic import Topic

__all__ = ["TopicRegistry"]


class TopicRegistry:
    """The lower part of a :class:`fastws.Hub`, which says what its arguments are."""

    def __init__(
        self,
        name: str,
        broker: Any,
        policy: SlowConsumerPolicy | str,
        compression: Compression | None,
    ) -> None:
        self._policy = SlowConsumerPolicy(policy)
        self._deflate = DeflatePool(checked_compression(compression) or Compression())
        self._topics: dict[str, Topic] = {}
        #: What was declared for patterns, and for numbered topics; None while nothing was.
        self._classes: TopicClasses | None = None
        #: None while no class has numbered topics, which keep messages or keys.
        self._sequencer: Any = None
        self._tickers = Tickers()
        self._fan_out: FanOut | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: The thread in which that ran when the hub came to know it.
        self._thread = 0
        #: The loop on which it is used, as far as anybody has said: no use of it has shown that yet.
        self._home: asyncio.AbstractEventLoop | None = _running_loop()
        #: The loop that the sequencer holds on to.
        self._entered: asyncio.AbstractEventLoop | None = None
        HUBS.add(self)
        #: Clients whose user is known; None while there was none.
        self._known: KnownClients | None = None
        #: Who is here; None while no topic was declared that shows it.
        self._presences: Presences | None = None
        #: What hubs of other processes are called that share with this one.
        self.name = name
        bus: Any = bus_of(broker)
        #: The way to the hubs of that name in other processes; None where nothing is shared.
        self._link: Any = None if bus is None else bus.join(self, name)

    def topic(
        self,
        pattern: str,
        *,
        mode: str = "stream",
        history: int = 0,
        ttl: float = 300.0,
        history_bytes: int = 2**20,
        recent: int = 0,
        max_keys: int = MAX_KEYS,
        key_ttl: float | None = None,
        every: float | None = None,
        presence: str | None = None,
        max_rate: float | None = None,
        sample: float | None = None,
        keep: Callable[[str | bytes], bool] | None = None,
        merge: str | None = None,
        policy: SlowConsumerPolicy | str | None = None,
        compression: Compression | Unset | None = UNSET,
    ) -> Topic | TopicClass:
        """Declare a topic, or a class of topics, that has settings of its own, before it is first used.

        Of several that fit, the topic's own name wins, then the pattern with the most segments before its
        first ``*``.

        Args:
            pattern: A topic's name, as :meth:`subscribe` and :meth:`publish` have it. Between slashes ``*``
                stands for any one segment, and ``**`` at the end for one or more: ``rooms/*``, ``quotes/**``.
            mode: ``"keyed"``: a message is what a key holds now, until the next one with that key (``key=``
                of :meth:`publish`). A client is sent all keys, then what changes, as JSON objects; a slow one
                is sent only the last value of each key. Default ``"stream"``: messages, one after the other.
            history: How many messages a topic keeps, each at a :class:`fastws.Position`, for clients that
                join or return. A client that is slow is sent them when its socket takes bytes, so nothing is
                queued for it. Default 0: none are kept. The names of topics that keep messages have at most
                255 bytes of UTF-8, no control characters, no ``*``, and no segment that is empty, ``.`` or
                ``..``; any other is a ``ValueError`` where it is used.
            ttl: Seconds for which each message is kept; of a keyed topic, for which it is known which keys
                were removed, so that a client which comes back is sent only what has changed. Default 300.
            history_bytes: How many bytes all of them may have; the newest is kept, however large.
                Default: 1 MiB.
            recent: With how many of the last messages a client begins, where neither it nor :meth:`subscribe`
                says how many. Default 0.
            max_keys: How many keys a keyed topic may have; one more is a ``ValueError`` where it is
                published. So many removed keys are known, too. Default 10,000.
            key_ttl: Seconds after which a value that was not published again is removed. Default: never.
            every: Seconds for which what is published is collected, before it leaves together. Default None:
                a keyed topic has 0.025, and of any other what a turn of the loop published leaves at its end.
            presence: What clients of a :class:`fastws.Feed` are told of who listens: ``"list"`` is each user
                and the number of his connections, ``"count"`` the number of users alone. Above 200 users a
                list becomes the number. They are told when that changes, at most twice a second; a
                connection that has ended counts for 5 s more. Default None: nothing.
            max_rate: How many messages a client is sent in any second at most; see :meth:`subscribe`.
                Default None: as many as there are.
            sample: Of a flood, how many messages a second are let through, evenly spread; a tenth more when
                it begins. Those who listen are told the others as a gap with the reason ``"sampled"``, once a
                second; no client is sent them, and no history keeps them. :meth:`publish` returns 0 for one
                that is left out. Default None: all.
            keep: A function of a message that is True for those that are let through in any case, and do not
                count. An exception in it is logged, and means False. Default: none.
            merge: The text between two messages. With it, text messages of one turn, and those that wait
                for a slow client, become ONE message, of at most 256 messages or 64 KiB. Default None: each
                message stays its own.
            policy: What becomes of a slow client. Default: the hub's. With a history it is about a client
                that needs messages which are kept no more, and the hub's does not count. By default its
                handler is told the gap (``Handler.on_gap``) and it goes on behind that; where the handler
                has no ``on_gap``, it is closed with 1008, so that nothing is left out in silence.
                ``"drop_oldest"``: it goes on in any case. ``"evict"``: it is closed in any case.
            compression: As the hub's. None: the topic's messages are not compressed. Default: the hub's.

        Returns:
            What was declared: it has ``merge`` and ``policy``. Nothing has to be done with it.

        Raises:
            TypeError: ``history``, ``history_bytes``, ``recent`` or ``max_keys`` is no integer, ``ttl``,
                ``key_ttl``, ``every``, ``max_rate`` or ``sample`` no number, ``keep`` no function or without
                ``sample``, ``merge`` no text, ``compression`` no :class:`fastws.Compression`.
            ValueError: The topic exists already; a topic could fit this pattern and another one, and neither
                wins; ``pattern`` is none; ``policy`` is none, or is ``"drop_newest"`` with a history, which
                drops the oldest; a number is out of range; ``mode`` is none; a keyed topic is given
                ``history``, ``merge``, ``policy`` or ``sample``, any other one ``max_keys`` or ``key_ttl``,
                or one without a history ``recent``; ``presence`` is neither; or ``history`` or
                ``"keyed"`` is asked of a hub that shares by a path, where nobody numbers messages.
        """
        if overrides:
            declared = {
                "mode": mode, "merge": merge, "policy": policy, "history": history, "ttl": ttl,
                "history_bytes": history_bytes, "max_keys": max_keys, "key_ttl": key_ttl, "every": every,
                "max_rate": max_rate, "sample": sample,
            }  # fmt: skip
            history, ttl, history_bytes, max_keys, key_ttl, every, max_rate, sample = overrides.numbers(
                pattern, declared
            )
        if not (merge is None or isinstance(merge, str)):
            raise TypeError(f"merge= is the text between two messages, not {type(merge).__name__}")
        kind = TopicMode(mode)
        check_history(history, ttl, history_bytes, recent)
        if kind is TopicMode.KEYED:
            check_keyed(history, merge, policy, sample, max_keys, key_ttl)
        else:
            check_unkeyed(max_keys, key_ttl)
        if keep is not None and (sample is None or not callable(keep)):
            raise TypeError("keep= is a function of a message, for a topic with sample=")
        shape = Pattern(str.__str__(pattern))
        chosen = self._chosen_policy(policy, history)
        pool: DeflatePool | None = self._deflate
        if not isinstance(compression, Unset):
            checked = checked_compression(compression)
            pool = None if checked is None else DeflatePool(checked)
        made = TopicClass(
            shape,
            kind,
            history,
            float(ttl),
            history_bytes,
            max_keys,
            math.inf if key_ttl is None else float(key_ttl),
            checked_every(every, kind),
            checked_rate("max_rate", max_rate),
            checked_rate("sample", sample),
            keep,
            merge,
            chosen,
            pool,
            checked_presence(presence),
            min(recent, history),
        )
        self._check_new(shape)
        if made.presence is not None and self._presences is None:
            self._presences = Presences(self._topics)
            if self._link is not None:
                self._presences.share(self._link)
        if made.is_numbered:
            self._begin_numbers(made)
        if not shape.is_exact or made.is_numbered:
            self._declared().add(made)
            return made
        topic = Topic(shape.text, merge, chosen, pool)
        self._topics[shape.text] = topic
        self._equip(topic, made)
        self._tally(topic, shape.text)
        return topic

    def _live_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take a loop for the hub's own, as long as nobody has said another one that still can run."""
        if self._home is None or self._home.is_closed():
            self._home = loop

    def _chosen_policy(
        self, policy: SlowConsumerPolicy | str | None, history: int
    ) -> SlowConsumerPolicy | None:
        if policy is None:
            return None if history else self._policy
        chosen = SlowConsumerPolicy(policy)
        if history and chosen is SlowConsumerPolicy.DROP_NEWEST:
            raise ValueError(
                "policy= of a topic with a history is 'drop_oldest' or 'evict': it drops the oldest"
            )
        return chosen

    def _check_new(self, pattern: Pattern) -> None:
        if pattern.is_exact:
            if pattern.text in self._topics:
                raise ValueError(f"topic {pattern.text!r} exists already")
        else:
            for name, topic in self._topics.items():
                # Its own declaration wins, whichever came first.
                is_declared = topic.registry is None if not topic.sequenced else self._declared().has(name)
                if not is_declared and pattern.fits(name):
                    raise ValueError(
                        f"topic {name!r} exists already: declare {pattern.text!r} before it is used"
                    )
        self._declared().check_new(pattern)

    def _begin_numbers(self, made: TopicClass) -> None:
        keeper = None if self._link is None else self._link.bus.keeper
        _check_numbers(made, keeper)
        if self._sequencer is None and keeper is None:
            self._sequencer = Sequencer(self._topics, self._tickers)
        elif self._sequencer is None:
            self._sequencer = SharedSequencer(self._topics, self._tickers, keeper, self.name)

    def _declared(self) -> TopicClasses:
        if self._classes is None:
            self._classes = TopicClasses()
        return self._classes

    # -- finding them ---------------------------------------------------------------------------

    def _find(self, name: str) -> Topic | None:
        # A function, so that a compiled caller knows the type of what it returns.
        return self._topics.get(name)

    def _make(self, name: str) -> Topic:
        """Return a new topic, with the settings of its class where it has one."""
        made = None if self._classes is None else self._classes.find(name)
        topic: Topic
        if made is None:
            topic = self._topics[name] = Topic(name, None, self._policy, self._deflate, self._topics)
        elif made.is_numbered:
            topic = self._sequencer.make(str.__str__(name), made)
        else:
            topic = self._topics[name] = Topic(name, made.merge, made.policy, made.deflate, self._topics)
        if made is not None:
            self._equip(topic, made)
        self._tally(topic, "" if made is None else made.pattern.text)
        return topic

    def _tally(self, topic: Topic, of_class: str) -> None:
        """Count the messages of a topic with those of its class, where somebody measures."""
        meters = measuring()
        if meters is not None:
            topic.tally = meters.topic_counters(of_class)
            if topic.view is not None:
                topic.view.tally = topic.tally

    def audience(self) -> Iterator[tuple[str, int]]:
        """Iterate over the topics: their names, and how many clients listen."""
        for name, topic in list(self._topics.items()):
            yield name, topic.listeners()

    def measure(self) -> None:
        """Count from now on; for who begins to measure when there are topics already."""
        for name, topic in self._topics.items():
            made = None if self._classes is None else self._classes.find(name)
            declared = "" if made is None else made.pattern.text
            self._tally(topic, declared if topic.registry is not None or topic.sequenced else name)
        if self._fan_out is not None:
            self._fan_out.meters = measuring()

    def _equip(self, topic: Topic, made: TopicClass) -> None:
        """Give a new topic what its class has, and most have not."""
        if made.presence is not None:
            assert self._presences is not None
            topic.presence = self._presences.board(topic.name, made)
        if made.has_gate:
            collects = made.every is not None and made.mode is TopicMode.STREAM
            topic.gate = Gate(topic, made, self._tickers.of(made.every or 0.0) if collects else None)

    def _numbered(self, name: str) -> NumberedTopic | None:
        """Return the topic, made where it is missing, if it keeps messages or keys; None if it does not."""
        topic = self._topics.get(name)
        if topic is None:
            made = None if self._classes is None else self._classes.find(name)
            if made is None or not made.is_numbered:
                return None
            topic = self._make(name)
        return topic if isinstance(topic, NumberedTopic) else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _check_numbers(made: TopicClass, keeper: Any) -> None:
    """Raise ``ValueError`` where a class cannot have positions."""
    if keeper is not None and not keeper.is_possible:
        asked = "history=" if made.history else "mode='keyed'"
        raise ValueError(
            f"{asked} of {made.pattern.text!r}: nobody numbers messages of hubs that share by a path; "
            "workers of `fastws serve --workers` may have it, or a hub of its own, Hub(broker='memory')"
        )
    made.pattern.check_names()
