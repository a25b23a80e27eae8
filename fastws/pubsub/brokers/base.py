"""The seam between a node and its broker: what a broker does, and what it is told.

A *node* is one server: a process, or the workers of one supervisor. Its *gateway*
(:mod:`fastws.pubsub.gateway`) holds the one :class:`Broker`, which has the node's connections. Everything
here runs on one event loop.

**Plain topics.** :meth:`Broker.publish` takes a *blob*, which stands for one run of messages of one topic;
all nodes that :meth:`Broker.follow` the topic are given it by :meth:`Sink.deliver`, the one that published it
too or not, as the broker likes. A broker keeps the order of the blobs of one node and topic. It may bring a
blob twice, and may lose it: each says which node and number it has, so the gateways drop doubles and tell
gaps. What it has not handed over for sure when its connection breaks it sends again
(:class:`fastws.pubsub.brokers.outbox.Outbox` is for that); while it is away it keeps 8 MiB, drops the oldest
beyond that, and says so (:meth:`Sink.dropped`).

**Topics with a history or keys.** The broker is the sequencer. :meth:`Broker.append` gives the items of a run
their offsets; all nodes that :meth:`Broker.watch` the topic are given them by :meth:`Sink.appended`, in the
order of their offsets. A broker may lose such a notice, or bring it twice: a gateway that sees a hole reads
again (:meth:`Broker.read`). Offsets count within an *epoch*, one life of the topic's data. With a history
they are dense: the item after ``n`` is ``n + 1``. Of a keyed topic they only grow. Whenever the broker cannot
know that it still has all that it ever confirmed (its data was deleted, another server took over without the
last writes, a gateway reads on from a position that is ahead of it), it begins a new epoch, so that clients
are told; it never gives old offsets to new items under an old epoch. An append that is retried, by this
connection or by the next gateway of the node, has the same sender and number and is no double.

**Names.** A topic is known by a *name*: that of its hub and its own, both percent-encoded, with a slash
between (:func:`name_of`): letters, digits, ``_``, ``-``, ``%`` and one ``/``. What a blob or an item says is
not the broker's concern (:mod:`fastws.pubsub.brokers.envelope`); both are payloads, never ready frames.

**Being away.** :meth:`Broker.start` raises where a first connection cannot be. After that the broker connects
again by itself, with growing pauses of at most a second, and follows and watches what it did before. Then it
says ``State.READY``, also where only its subscriptions were interrupted: the gateway reads what it may have
missed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

from fastws.errors import BrokerUnavailable
from fastws.pubsub.events import Position

__all__ = [
    "ONCE_SECONDS",
    "Append",
    "Appended",
    "Broker",
    "BrokerRefused",
    "BrokerTopic",
    "Entry",
    "Item",
    "ItemTooLarge",
    "Kept",
    "Sink",
    "State",
    "TopicKind",
    "Verb",
    "Verdict",
    "name_of",
    "names_in",
    "other_settings",
]

#: So long an id of ``publish_confirmed(once=...)`` is known.
ONCE_SECONDS = 300


class TopicKind(StrEnum):
    """What there is of a topic in a broker."""

    PLAIN = "plain"
    HISTORY = "history"
    KEYED = "keyed"


class State(Enum):
    """How it is with the broker."""

    AWAY = "it cannot be reached"
    READY = "commands pass, and all that is followed and watched is heard from now on"


class BrokerRefused(BrokerUnavailable):
    """The broker has refused this one thing, and is there: it has no room, or may not be written to."""


class ItemTooLarge(BrokerRefused):
    """An item has more bytes than the broker ever takes: another attempt is none the better."""


@dataclass(frozen=True, slots=True)
class BrokerTopic:
    """A topic with a history or keys, and its settings, as far as all nodes have to agree."""

    name: str
    kind: TopicKind
    #: How many messages are kept; 0 of a keyed topic.
    history: int
    #: Their bytes: more need not be kept.
    history_bytes: int
    #: Seconds: for messages, and for what is known of keys that were removed.
    ttl: float
    #: How many keys there may be, and seconds after which a value is removed (infinite: never).
    max_keys: int
    key_ttl: float
    #: All settings as JSON, which another node is told whose settings are different.
    settings: bytes

    @property
    def digest(self) -> str:
        """What is compared."""
        return _digest(self.settings)


class Verb(IntEnum):
    """What an item does."""

    #: It is a message, or the value of a key.
    PUT = 1
    #: The key holds nothing any more.
    REMOVE = 2
    #: No key does.
    CLEAR = 3
    #: The key has held its value for ``key_ttl``; where it has another one meanwhile nothing is done.
    EXPIRE = 4


class Item(NamedTuple):
    """One message, or one change of a keyed topic."""

    body: bytes = b""
    #: Of a keyed topic; "" for CLEAR.
    key: str = ""
    verb: Verb = Verb.PUT
    #: EXPIRE: the offset of the value.
    offset: int = 0


class Append(NamedTuple):
    """A run of items. One sender's numbers grow from run to run of a topic; a hole between them means
    nothing.
    """

    #: ASCII: letters, digits, ``-``, ``.``.
    sender: str
    number: int
    items: tuple[Item, ...]
    #: The id of a single item that is to be published once.
    once: str | None = None


class Verdict(Enum):
    """What became of an append."""

    DONE = "its items have their offsets"
    #: The run with this number, or an item with the same id, was there before.
    DUPLICATE = "it was there before"
    #: There was no room for a key; the other items of the run have their offsets.
    FULL = "there was no room for a key"


class Appended(NamedTuple):
    """What became of an append."""

    #: Of its last item; of the one that was there before; where nothing was done, of the topic's last one.
    at: Position
    verdict: Verdict


class Entry(NamedTuple):
    """An item that has its offset."""

    offset: int
    item: Item
    #: Seconds since it was appended, by the broker's clock.
    age: float = 0.0


class Kept(NamedTuple):
    """What a topic keeps."""

    epoch: str
    #: The offset of the last item that was ever appended in this epoch; 0 where none was.
    last: int
    #: History: the offset behind which everything is here; who has less has missed something. Keyed: the
    #: same for changes; 0 where all values that there are come.
    since: int
    #: In the order of their offsets. Of a keyed topic the last change of each key, without what is older;
    #: removals as far as they are known.
    entries: list[Entry]
    #: Keyed: the offset of the last CLEAR, or 0; and that up to which removals may be known no more.
    cleared: int = 0
    floor: int = 0
    #: History: up to this offset items were too old; up to ``since`` the others were too many.
    expired_to: int = 0


class Sink(Protocol):
    """What hears a broker: the gateway. None of this waits, and none of it raises."""

    def deliver(self, name: str, blob: bytes) -> None:
        """Take a blob of a plain topic that is followed."""

    def dropped(self, name: str) -> None:
        """Take that a blob of this node was dropped before it was sent."""

    def appended(self, name: str, epoch: str, entries: list[Entry]) -> None:
        """Take what is new in a topic that is watched."""

    def refused(self, name: str, reason: str) -> None:
        """Take that a topic is not heard, though it is followed or was watched: the broker refuses that.

        It counts as followed no more. What :meth:`Broker.watch` has raised is not told here.
        """

    def state(self, state: State, reason: str = "") -> None:
        """Take how it is with the broker, and why, in words without a secret. READY may come twice in a
        row.
        """


class Broker(Protocol):
    """One node's way to the others. Only :meth:`start` and the coroutines wait, for the broker."""

    #: Its URL without a secret, for the log.
    label: str
    #: Bytes of the largest blob and of the largest item. What is larger is refused before it is sent.
    max_bytes: int

    async def start(self, sink: Sink, timeout: float) -> None:
        """Connect, and say ``State.READY``.

        Raises:
            BrokerUnavailable: Nobody is there, or does not answer within ``timeout`` seconds, or what is
                there lets us not in or is no broker of a version that will do. The text says which, without a
                secret.
        """

    async def close(self) -> None:
        """Hand over what waits, for a second at most, and disconnect. At any time; twice does no harm."""

    # -- plain topics ---------------------------------------------------------------------------

    def publish(self, name: str, blob: bytes) -> None:
        """Send a blob, of at most ``max_bytes``, now or when the broker is back."""

    def follow(self, name: str) -> None:
        """Hear a plain topic, as soon as the broker has taken that. Twice does no harm.

        Where the broker refuses it :meth:`Sink.refused` is told.
        """

    def unfollow(self, name: str) -> None:
        """Hear it no more."""

    # -- topics with a history or keys ----------------------------------------------------------

    async def declare(self, topic: BrokerTopic) -> str | None:
        """Say that this node uses a topic, with these settings; say it again every few seconds.

        Settings hold while a node that declared them has said so within the last 15 s.

        Returns:
            The epoch of the topic, by which a node learns that data is gone though nobody publishes; "" where
            there is none any more. None: this broker does not say it here.

        Raises:
            BrokerRefused: Another node uses it with other settings; the text names them. Or it cannot be.
            BrokerUnavailable: The broker is away.
        """

    def append(self, topic: BrokerTopic, run: Append) -> asyncio.Future[Appended]:
        """Give items their offsets, behind those of earlier calls, now or when the broker is back.

        What has waited is appended half a second after ``State.READY``: by then other nodes should be back as
        well, and have read what is kept. Else more than a topic keeps would pass them by.

        The future fails with :class:`BrokerRefused` where the broker has refused it, and nothing was
        appended, and is cancelled when the broker is closed.
        """

    async def watch(self, topic: BrokerTopic) -> None:
        """Hear what is new; return when all that is appended from now on is told. Twice does no harm.

        While the broker is away this waits.

        Raises:
            BrokerRefused: This topic may not be heard.
        """

    def unwatch(self, name: str) -> None:
        """Hear nothing more of it."""

    def read(self, topic: BrokerTopic, since: Position | None) -> Awaitable[Kept]:
        """Return what is kept behind a position; all of it where that is None or of another epoch.

        What is kept is asked for at the call: behind what was appended by calls before, unless that still
        waits after an outage, and before what is appended by later ones. The answer may be awaited later.

        A topic that has never been used begins its first epoch. Where the position is ahead of all that the
        broker has, that has lost something, and a new epoch begins.

        Raises:
            BrokerUnavailable: The broker is away, or has refused it.
        """


# -- names --------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _digest(settings: bytes) -> str:
    return blake2b(settings, digest_size=8).hexdigest()


@lru_cache(maxsize=256)
def name_of(hub: str, topic: str) -> str:
    """Return the name of a hub's topic. Any text has one."""
    return f"{_encoded(hub)}/{_encoded(topic)}"


@lru_cache(maxsize=256)
def names_in(name: str) -> tuple[str, str]:
    """Return the names of hub and topic. Raises ``ValueError`` for what :func:`name_of` never returns."""
    hub, slash, topic = name.partition("/")
    found = unquote(hub, errors="surrogatepass"), unquote(topic, errors="surrogatepass")
    if not slash or name_of(*found) != name:
        raise ValueError(f"no name of a topic: {name[:80]!r}")
    return found


def _encoded(text: str) -> str:
    # quote() leaves these two as they are; NATS has a meaning for the first.
    return quote(text, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")


def other_settings(mine: bytes, theirs: bytes) -> BrokerRefused:
    """Return what is raised where another node has declared ``theirs``: it names both, where they differ.

    Args:
        mine: :attr:`BrokerTopic.settings` of this node.
        theirs: The same of the other one.
    """
    here, there = json.loads(mine), json.loads(theirs)
    names = [name for name in {**there, **here} if here.get(name) != there.get(name)]
    told = [
        ", ".join(f"{name}={each[name]!r}" for name in names if name in each) or "others"
        for each in (there, here)
    ]
    return BrokerRefused(f"another node uses it with other settings: {told[0]} there, and {told[1]} here")
