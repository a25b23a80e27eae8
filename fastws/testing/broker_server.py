"""A broker in memory: what joins the nodes of several machines, within one test, with its failures.

It is also the shortest broker that keeps all promises of :mod:`fastws.pubsub.brokers.base`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import (
    ONCE_SECONDS,
    Append,
    Appended,
    BrokerRefused,
    BrokerTopic,
    Entry,
    Item,
    Kept,
    Sink,
    State,
    TopicKind,
    Verb,
    Verdict,
    other_settings,
)
from fastws.pubsub.brokers.outbox import Outbox
from fastws.pubsub.events import Position

__all__ = ["BrokerServer", "ServerBroker"]

#: Settings hold for so many seconds after somebody has declared them.
DECLARED_SECONDS = 15.0
MAX_BYTES = 16 * 1024 * 1024


class ServerTopic:
    """What the server has of a topic with a history or keys."""

    def __init__(self, topic: BrokerTopic) -> None:
        self.topic = topic
        #: By who has declared it: the digest, and when.
        self.declared: dict[object, tuple[str, float]] = {}
        self.begin()

    def begin(self) -> None:
        """Begin an epoch with nothing."""
        self.epoch = secrets.token_hex(6)
        self.last = self.since = self.cleared = 0
        #: With their times: the history, or the last change of each key.
        self.log: deque[tuple[Entry, float]] = deque()
        self.keys: dict[str, tuple[Entry, float]] = {}
        self.senders: dict[str, tuple[int, int]] = {}
        self.once: dict[str, tuple[int, float]] = {}

    def append(self, run: Append, now: float) -> tuple[Appended, list[Entry]]:
        """Number the items of a run, unless they are here."""
        self.once = {known: at for known, at in self.once.items() if now - at[1] < ONCE_SECONDS}
        if run.once is not None and run.once in self.once:
            return self._answer(self.once[run.once][0], Verdict.DUPLICATE), []
        number, offset = self.senders.get(run.sender, (-1, 0))
        if run.sender and run.number <= number:
            return self._answer(offset, Verdict.DUPLICATE), []
        verdict = Verdict.DONE
        found: list[Entry] = []
        for item in run.items:
            if self._is_full(item):
                verdict = Verdict.FULL
            elif self._does_something(item):
                found.append(self._keep(item, now))
        self.senders[run.sender] = (run.number, self.last)
        if run.once is not None and verdict is Verdict.DONE:
            self.once[run.once] = (self.last, now)
        return self._answer(self.last, verdict), found

    def _answer(self, offset: int, verdict: Verdict) -> Appended:
        return Appended(Position(self.epoch, offset), verdict)

    def _is_full(self, item: Item) -> bool:
        if self.topic.kind is TopicKind.HISTORY or item.verb is not Verb.PUT or self._value(item.key):
            return False
        return sum(each.item.verb is Verb.PUT for each, _ in self.keys.values()) >= self.topic.max_keys

    def _value(self, key: str) -> Entry | None:
        found = self.keys.get(key)
        return found[0] if found is not None and found[0].item.verb is Verb.PUT else None

    def _does_something(self, item: Item) -> bool:
        if item.verb is Verb.REMOVE:
            return self._value(item.key) is not None
        if item.verb is Verb.EXPIRE:
            found = self._value(item.key)
            return found is not None and found.offset == item.offset
        return item.verb is Verb.PUT or any(each.item.verb is Verb.PUT for each, _ in self.keys.values())

    def _keep(self, item: Item, now: float) -> Entry:
        self.last += 1
        if item.verb is Verb.EXPIRE:
            item = Item(b"", item.key, Verb.REMOVE)
        entry = Entry(self.last, item)
        if self.topic.kind is TopicKind.HISTORY:
            self.log.append((entry, now))
            if len(self.log) > self.topic.history:
                self.since = self.log.popleft()[0].offset
        elif item.verb is Verb.CLEAR:
            self.keys.clear()
            self.cleared = self.last
        else:
            self.keys[item.key] = entry, now
        return entry

    def read(self, since: Position | None, now: float) -> Kept:
        """Return what is kept behind a position."""
        start = 0 if since is None or since.epoch != self.epoch else since.offset
        if start > self.last:
            self.begin()
            start = 0
        expired = 0
        while self.log and now - self.log[0][1] >= self.topic.ttl:
            self.since = expired = self.log.popleft()[0].offset
        every = self.log if self.topic.kind is TopicKind.HISTORY else self.keys.values()
        found = [entry._replace(age=now - time) for entry, time in every if entry.offset > start]
        if self.topic.kind is TopicKind.KEYED:
            found.sort()
        return Kept(self.epoch, self.last, max(self.since, start), found, self.cleared, expired)


class BrokerServer:
    """The server. Each node gets its own :meth:`broker`, or the hub of a node does.

    It keeps nothing on a disk: after :meth:`lose` it begins anew.
    """

    def __init__(self) -> None:
        self.topics: dict[str, ServerTopic] = {}
        self._brokers: list[ServerBroker] = []
        self.is_away = False
        #: Raised by each command where it is set: the server is full, or may not be written to.
        self.refusal = ""

    def broker(self) -> ServerBroker:
        """Return one node's way to it."""
        one = ServerBroker(self)
        self._brokers.append(one)
        return one

    def stop(self) -> None:
        """Be away for all nodes."""
        self.is_away = True
        for each in self._brokers:
            each._lose("the server is stopped")

    def start(self) -> None:
        """Be back."""
        self.is_away = False
        for each in self._brokers:
            each._come_back()

    def lose(self) -> None:
        """Lose all data."""
        self.topics.clear()

    def topic(self, topic: BrokerTopic) -> ServerTopic:
        """Return what there is of a topic, made where it is missing."""
        found = self.topics.get(topic.name)
        if found is None:
            found = self.topics[topic.name] = ServerTopic(topic)
        return found

    def deliver(self, name: str, blob: bytes) -> None:
        """Bring a blob to all that follow the topic."""
        for each in self._brokers:
            each._call(each._deliver, name, blob)

    def tell(self, name: str, epoch: str, entries: list[Entry]) -> None:
        """Tell all that watch a topic what is new."""
        for each in self._brokers:
            each._call(each._tell, name, epoch, entries)


class ServerBroker:
    """One node's way to a :class:`BrokerServer`. Each command takes a turn of the loop, as over a line."""

    label = "memory"
    max_bytes = MAX_BYTES

    def __init__(self, server: BrokerServer) -> None:
        self._server = server
        self._sink: Sink | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._followed: set[str] = set()
        self._watched: set[str] = set()
        self._outbox = Outbox(self._dropped)
        #: What waits for the server, in the order of the calls, and its answers.
        self._commands: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        #: What was appended while it was away; it waits until all nodes have read what is kept.
        self._appends: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._back: asyncio.Event
        self._is_due = False

    async def start(self, sink: Sink, timeout: float) -> None:
        """Connect. Raises :class:`BrokerUnavailable` where the server is away."""
        self._loop = asyncio.get_running_loop()
        self._back = asyncio.Event()
        if self._server.is_away:
            raise BrokerUnavailable("memory: the server is stopped")
        self._sink = sink
        self._come_back()

    async def close(self) -> None:
        """Disconnect."""
        self._pass_on()
        for _, future in [*self._commands, *self._appends]:
            future.cancel()
        self._commands.clear()
        self._appends.clear()
        self._sink = None
        for topic in self._server.topics.values():
            topic.declared.pop(self, None)

    def publish(self, name: str, blob: bytes) -> None:
        """Bring a blob to the other nodes."""
        self._outbox.add(name, blob)
        self._schedule()

    def follow(self, name: str) -> None:
        """Hear a plain topic."""
        self._followed.add(name)

    def unfollow(self, name: str) -> None:
        """Hear it no more."""
        self._followed.discard(name)

    async def declare(self, topic: BrokerTopic) -> str:
        """Declare the settings of a topic; return its epoch."""
        self._check()
        await asyncio.sleep(0)
        self._check()
        there = self._server.topic(topic)
        now = self._time()
        for who, (digest, when) in there.declared.items():
            if who is not self and digest != topic.digest and now - when < DECLARED_SECONDS:
                raise other_settings(topic.settings, there.topic.settings)
        there.declared[self] = topic.digest, now
        if there.topic.kind is not topic.kind:
            there.begin()
        there.topic = topic
        return there.epoch

    def append(self, topic: BrokerTopic, run: Append) -> asyncio.Future[Appended]:
        """Number the items of a run."""

        def number() -> Appended:
            there = self._server.topic(topic)
            answer, entries = there.append(run, self._time())
            if entries:
                self._server.tell(topic.name, there.epoch, entries)
            return answer

        return self._command(number, waits=self._server.is_away or bool(self._appends))

    async def watch(self, topic: BrokerTopic) -> None:
        """Hear what is new in a topic."""
        self._watched.add(topic.name)
        await self._back.wait()
        await asyncio.sleep(0)

    def unwatch(self, name: str) -> None:
        """Hear it no more."""
        self._watched.discard(name)

    def read(self, topic: BrokerTopic, since: Position | None) -> Awaitable[Kept]:
        """Return what is kept of a topic."""
        future: asyncio.Future[Kept]
        if self._server.is_away:
            assert self._loop is not None
            future = self._loop.create_future()
            future.set_exception(BrokerUnavailable("memory: the server is stopped"))
            return future
        future = self._command(lambda: self._server.topic(topic).read(since, self._time()))
        return future

    # -- the line -------------------------------------------------------------------------------

    def _time(self) -> float:
        assert self._loop is not None
        return self._loop.time()

    def _check(self) -> None:
        if self._server.is_away:
            raise BrokerUnavailable("memory: the server is stopped")
        if self._server.refusal:
            raise BrokerRefused(self._server.refusal)

    def _command(self, function: Callable[[], Any], *, waits: bool = False) -> asyncio.Future[Any]:
        assert self._loop is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        (self._appends if waits else self._commands).append((function, future))
        self._schedule()
        return future

    def _schedule(self) -> None:
        if self._loop is not None and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        """Let the server have what waits."""
        self._is_due = False
        if self._server.is_away or self._sink is None:
            return
        for one in list(self._outbox):
            self._server.deliver(one.name, one.blob)
            self._outbox.taken(one)
        while self._commands:
            function, future = self._commands.popleft()
            if future.done():
                continue
            if self._server.refusal:
                future.set_exception(BrokerRefused(self._server.refusal))
            else:
                future.set_result(function())

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if self._sink is not None and self._loop is not None:
            self._loop.call_soon(function, *args)

    def _deliver(self, name: str, blob: bytes) -> None:
        if self._sink is not None and name in self._followed and not self._server.is_away:
            self._sink.deliver(name, blob)

    def _tell(self, name: str, epoch: str, entries: list[Entry]) -> None:
        if self._sink is not None and name in self._watched and not self._server.is_away:
            self._sink.appended(name, epoch, entries)

    def _dropped(self, name: str) -> None:
        if self._sink is not None:
            self._sink.dropped(name)

    def _lose(self, reason: str) -> None:
        if self._sink is not None:
            self._back.clear()
            self._sink.state(State.AWAY, reason)

    def _come_back(self) -> None:
        if self._sink is not None:
            assert self._loop is not None
            self._back.set()
            self._sink.state(State.READY)
            self._schedule()
            self._loop.call_soon(self._append_waiting)

    def _append_waiting(self) -> None:
        if not self._server.is_away:
            self._commands += self._appends
            self._appends.clear()
            self._schedule()
