"""Keyed topics in NATS: each key is a subject of the stream of keys, which keeps the last message of each.

The offset of a change is its number in that stream. Behind the name of the topic stand ``v`` and the key for
a value, or for its removal; ``c`` for the last CLEAR; ``e`` for the epoch; ``f`` for the number up to which
removals are not known any more; and ``d`` for the settings, which nodes of topics with a history say there
too. A message has an id that is made of sender, number and place, so that the stream takes it once within
five minutes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from urllib.parse import quote, unquote

from fastws.pubsub.brokers.base import (
    Append,
    Entry,
    Item,
    Kept,
    Verb,
    Verdict,
)
from fastws.pubsub.brokers.nats.client import Message
from fastws.pubsub.brokers.nats.failures import NoAnswer
from fastws.pubsub.brokers.nats.streams import Ack, Raw, WrongSequence, once_id
from fastws.pubsub.brokers.nats.topic import NatsTopic, Pending
from fastws.pubsub.bus.records import BadRecord
from fastws.pubsub.events import Position

__all__ = ["KeyedTopic"]

log = logging.getLogger("fastws.error")

#: So many changes are sent before what the stream says of them is waited for.
CHANGES_AT_ONCE = 256
#: So many removals are remembered, to be deleted when they are too old.
REMOVALS = 10_000
PUT, REMOVE = b"p", b"r"


class KeyedTopic(NatsTopic):
    """One topic with keys, as this node knows it."""

    def _set_up(self) -> None:
        self._epoch = ""
        #: The numbers of the last change, and of the last CLEAR; by key, those of the values that there are.
        self._last = 0
        self._cleared = 0
        #: What was removed up to this number is not known any more.
        self._floor = 0
        self._values: dict[str, int] = {}
        #: Removals of this node: until when they are kept, the key and their numbers.
        self._removals: deque[tuple[float, str, int]] = deque(maxlen=REMOVALS)

    @property
    def said(self) -> str:
        """The subjects on which the stream says what it has taken of this topic."""
        return f"{self._stream.said}.{self.topic.name}.>"

    # -- what is known --------------------------------------------------------------------------

    def hear(self, message: Message) -> None:
        """Take what the stream has taken."""
        try:
            sequence = int(message.headers["Nats-Sequence"])
            subject = message.subject.removeprefix(self._stream.said + ".")
            raw = Raw(sequence, subject, message.data)
            place = self._place(raw)
            if place == "e":
                if message.data.decode() != self._epoch:
                    self._is_checked = False
                    if self.is_watched:
                        self._sink.appended(self.topic.name, message.data.decode(), [])
                return
            if place in ("d", "f"):
                return
            entry = self._know(raw)
        except (BadRecord, ValueError, KeyError) as error:
            self._say_strange(error)
            return
        if self.is_watched and self._epoch:
            self._sink.appended(self.topic.name, self._epoch, [entry])

    async def prepare(self) -> None:
        """Know the epoch: no change says it. Raises :class:`BrokerUnavailable`."""
        if not self._epoch:
            await self.read(None)

    async def epoch_there(self) -> str | None:
        if not self._is_checked:
            return None
        raw = await self._stream.last(f"{self.topic.name}.e")
        return "" if raw is None else raw.data.decode("ascii", "replace")

    def _place(self, raw: Raw) -> str:
        return raw.subject.removeprefix(self.topic.name + ".")

    def _know(self, raw: Raw) -> Entry:
        """Take a change; return it. Raises :class:`BadRecord` and ``ValueError``."""
        place, sequence = self._place(raw), raw.sequence
        self._last = max(self._last, sequence)
        if place == "c":
            if sequence > self._cleared:
                self._cleared = sequence
                self._values = {key: at for key, at in self._values.items() if at > sequence}
            return Entry(sequence, Item(verb=Verb.CLEAR), raw.age)
        if not place.startswith("v."):
            raise BadRecord(f"a subject that ends with {place[:80]!r}")
        key, kind = unquote(place[2:], errors="surrogatepass"), raw.data[:1]
        if kind == PUT:
            if sequence > self._cleared:
                self._values[key] = max(self._values.get(key, 0), sequence)
            return Entry(sequence, Item(raw.data[1:], key), raw.age)
        if kind != REMOVE:
            raise BadRecord("a change of an unknown kind")
        if self._values.get(key, sequence) < sequence:
            del self._values[key]
        return Entry(sequence, Item(b"", key, Verb.REMOVE), raw.age)

    async def _refresh(self) -> list[Entry]:
        """Know all that is kept, and return it."""
        self._is_checked = False
        await self._listen()
        await self._stream.ensure(self.topic)
        known = self._last
        rolled_back = bool(known) and not await self._has(known)
        raw = await self._stream.last(f"{self.topic.name}.e")
        epoch = "" if raw is None else raw.data.decode("ascii", "replace")
        if self._is_lost("stream", lacks=rolled_back and epoch == self._epoch) or not epoch:
            epoch = await self._begin_epoch(0 if raw is None else raw.sequence)
        if epoch != self._epoch:
            self._epoch, self._last, self._cleared, self._floor = epoch, 0, 0, 0
        self._values.clear()
        entries = []
        for each in await self._stream.read(f"{self.topic.name}.>"):
            place = self._place(each)
            if place in ("d", "e"):
                continue
            try:
                if place == "f":
                    self._floor = int(each.data)
                    continue
                entries.append(self._know(each))
            except (BadRecord, ValueError) as error:
                self._say_strange(error)
        self._is_checked = True
        return entries

    async def _has(self, sequence: int) -> bool:
        """True where the stream has taken as much as it once had, and nothing else in that place."""
        if await self._stream.last_sequence() < sequence:
            return False
        raw = await self._stream.at(sequence)
        return raw is None or raw.subject.startswith(self.topic.name + ".")

    async def _begin_epoch(self, behind: int) -> str:
        if self._epoch:
            log.error("broker: topic %s has lost changes: it begins a new epoch", self.topic.name)
        epoch = secrets.token_urlsafe(9)
        answer = await self._stream.put(f"{self.topic.name}.e", epoch.encode(), expected=behind)
        try:
            await self._stream.taken(answer)
        except WrongSequence:  # another node was faster
            raw = await self._stream.last(f"{self.topic.name}.e")
            if raw is None:
                raise NoAnswer("the epochs of a topic come and go") from None
            return raw.data.decode("ascii", "replace")
        raw = None if self._stream.replicas == 1 else await self._stream.last(f"{self.topic.name}.e")
        return epoch if raw is None else raw.data.decode("ascii", "replace")

    # -- what is appended -----------------------------------------------------------------------

    async def _write_some(self, posted: None) -> None:
        # Where a run is written again, the stream knows the ids of what it has taken.
        if not self._is_checked:
            await self._refresh()
        pending = self._waiting[0]
        assert isinstance(pending, Pending)
        run, was_sent, pending.is_sent = pending.run, pending.is_sent, True
        verdict, last, doubles = Verdict.DONE, 0, 0
        for start in range(0, len(run.items), CHANGES_AT_ONCE):
            answers = []
            for number, item in enumerate(run.items[start : start + CHANGES_AT_ONCE], start):
                if self._is_needless(item):
                    continue
                if self._is_full(item):
                    verdict = Verdict.FULL
                    continue
                answers.append((item, await self._send(run, number, item)))
            for item, answer in answers:
                ack = await self._taken(item, await_answer=answer)
                if ack is not None:
                    last = max(last, ack.sequence)
                    doubles += ack.is_duplicate
        if doubles and verdict is Verdict.DONE and not was_sent:
            verdict = Verdict.DUPLICATE
        self._next().resolve(Position(self._epoch, last or self._last), verdict)

    def _is_needless(self, item: Item) -> bool:
        if item.verb is Verb.EXPIRE:
            return self._values.get(item.key) != item.offset
        if item.verb is Verb.REMOVE:
            return item.key not in self._values
        return item.verb is Verb.CLEAR and not self._values

    def _is_full(self, item: Item) -> bool:
        return (
            item.verb is Verb.PUT
            and item.key not in self._values
            and len(self._values) >= self.topic.max_keys
        )

    async def _send(self, run: Append, number: int, item: Item) -> asyncio.Future[Message]:
        name = self.topic.name
        once = once_id(name, run.sender, run.number, number) if run.once is None else once_id(name, run.once)
        if item.verb is Verb.CLEAR:
            self._values.clear()
            return await self._stream.put(f"{name}.c", b"", once=once)
        subject = f"{name}.v.{_encoded(item.key)}"
        if item.verb is Verb.PUT:
            # It counts from now on; its number comes.
            self._values.setdefault(item.key, 0)
            return await self._stream.put(subject, PUT + item.body, once=once)
        self._values.pop(item.key, None)
        if item.verb is Verb.EXPIRE:
            return await self._stream.put(subject, REMOVE, expected=item.offset)
        return await self._stream.put(subject, REMOVE, once=once)

    async def _taken(self, item: Item, *, await_answer: asyncio.Future[Message]) -> Ack | None:
        """Take what the stream says to a change; None: it has not expired, there is a newer value."""
        try:
            ack = await self._stream.taken(await_answer)
        except WrongSequence:
            if item.verb is not Verb.EXPIRE:
                raise NoAnswer("a stream expects what nobody has asked for") from None
            self._is_checked = False
            return None
        if ack.is_duplicate:
            self._is_checked = False  # what has come since then is not known
            return ack
        self._last = max(self._last, ack.sequence)
        name = self.topic.name
        if item.verb is Verb.CLEAR:
            self._cleared = max(self._cleared, ack.sequence)
            await self._stream.purge(f"{name}.v.>", ack.sequence)
        elif item.verb is Verb.PUT:
            if item.key in self._values:
                self._values[item.key] = max(self._values[item.key], ack.sequence)
        else:
            until = asyncio.get_running_loop().time() + self.topic.ttl
            self._removals.append((until, item.key, ack.sequence))
        return ack

    async def forget_removals(self) -> None:
        """Delete removals that are too old, behind a word that they are not known any more.

        The last change stays, so that the last offset is known.
        """
        now = asyncio.get_running_loop().time()
        old = []
        while self._removals and self._removals[0][0] <= now and self._removals[0][2] < self._last:
            old.append(self._removals.popleft())
        if not old:
            return
        subject = f"{self.topic.name}.f"
        raw = await self._stream.last(subject)
        floor = max(old[-1][2], 0 if raw is None else int(raw.data))
        answer = await self._stream.put(
            subject, str(floor).encode(), expected=0 if raw is None else raw.sequence
        )
        try:
            await self._stream.taken(answer)
        except WrongSequence:
            self._removals.extendleft(reversed(old))
            return
        self._floor = max(self._floor, floor)
        for _, key, sequence in old:
            await self._stream.purge(f"{self.topic.name}.v.{_encoded(key)}", sequence + 1)

    # -- what is kept ---------------------------------------------------------------------------

    async def _kept(self, since: Position | None) -> Kept:
        entries = await self._refresh()
        if since is not None and since.epoch == self._epoch:
            if self._is_lost("copy", lacks=since.offset > self._last):
                raw = await self._stream.last(f"{self.topic.name}.e")
                self._epoch = await self._begin_epoch(0 if raw is None else raw.sequence)
            elif since.offset >= max(self._floor, 1):
                found = [entry for entry in entries if entry.offset > since.offset]
                return Kept(self._epoch, self._last, since.offset, found, self._cleared)
        found = [
            entry for entry in entries if entry.offset > self._cleared and entry.item.verb is not Verb.CLEAR
        ]
        return Kept(self._epoch, self._last, 0, found, self._cleared)


def _encoded(key: str) -> str:
    # As names of topics are encoded: a point would end a part of the subject.
    return quote(key, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
