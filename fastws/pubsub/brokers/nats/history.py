"""Topics with a history in NATS: the messages of a topic are a chain in the stream of histories.

A message of the stream holds runs of items, their epoch and the offset of the first one. It is taken only
behind the message that its sender believes to be the last one of the topic: so two nodes never give one
offset twice, and offsets have no holes, although the numbers of the stream have. Who was wrong reads what
has come meanwhile, and tries again; there it also finds what it had sent itself, over a line that broke.

A stream on several servers may take two messages behind the same one, when they come at the same moment.
Then the second one is *void*: it does not say the number of the message before it. Nobody counts it, and its
sender sends it again.

An epoch ends when what the stream says does not go with what it has said: its last message of the topic is
older than one that was taken, or another stands in its place. Who notices that puts the beginning of a new
epoch behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from fastws.pubsub.brokers.base import (
    Entry,
    Kept,
    Verdict,
)
from fastws.pubsub.brokers.nats.chain import counted, epoch_of, kept_of, next_parts
from fastws.pubsub.brokers.nats.client import Message
from fastws.pubsub.brokers.nats.failures import NoAnswer
from fastws.pubsub.brokers.nats.records import (
    HEAD_BYTES,
    Stored,
    encode,
    read,
)
from fastws.pubsub.brokers.nats.streams import EXPECTED, OTHER_BYTES, Raw, Stream, WrongSequence
from fastws.pubsub.brokers.nats.topic import NatsTopic, Pending, Reading
from fastws.pubsub.bus.records import BadRecord
from fastws.pubsub.events import Position

__all__ = ["HistoryTopic"]

log = logging.getLogger("fastws.error")

#: Of so many senders it is known what they appended last, and of so many epochs that they have ended.
SENDERS = 1000
PAST_EPOCHS = 16
#: So many messages that others appended are read one by one; if there are more, all that is kept is read.
SINGLE_READS = 16
#: Seconds in which what another node has appended is heard; else it is asked for.
HEAR_SECONDS = 0.05


class Last(NamedTuple):
    """What a sender appended last to a topic: up to which item of which run, and where that is."""

    number: int
    done: int
    epoch: str
    offset: int


class Posted(NamedTuple):
    """A message that was sent at once: what it says, behind which number it has to come, and its answer."""

    stored: Stored
    expected: int
    answer: asyncio.Future[Message]


class HistoryTopic(NatsTopic):
    """One topic with a history, as this node knows it."""

    def _set_up(self) -> None:
        #: Something more is known; and whether what others append was wished to be heard.
        self._news = asyncio.Event()
        self._is_heard = False
        #: The last message of the topic that is known: its number in the stream, its epoch and last offset.
        self._sequence = 0
        self._epoch = ""
        self._offset = 0
        #: When the stream was made whose numbers these are.
        self._made = ""
        #: Epochs that have ended.
        self._past: deque[str] = deque(maxlen=PAST_EPOCHS)
        self._senders: dict[str, Last] = {}

    def forget(self) -> None:
        NatsTopic.forget(self)
        self._is_heard = False

    @property
    def said(self) -> str:
        """The subject on which the stream says what it has taken of this topic."""
        return f"{self._stream.said}.{self.topic.name}"

    # -- what is known --------------------------------------------------------------------------

    def hear(self, message: Message) -> None:
        """Take what the stream has taken."""
        try:
            stored = read(message.data)
            sequence, before = message.number(b"Nats-Sequence"), message.number(b"Nats-Last-Sequence")
            behind = message.number(EXPECTED.encode())
        except (BadRecord, ValueError) as error:
            self._say_strange(error)
            self._is_checked = False
            return
        if self._is_checked and sequence > self._sequence:
            if before == self._sequence:
                self._take_stored(Raw(sequence, "", message.data, behind), stored)
            else:
                self._is_checked = False
        counts = self._stream.replicas == 1 or behind == before or not stored.parts
        if self.is_watched and counts:
            entries = [Entry(offset, item) for offset, item in stored.items()]
            self._sink.appended(self.topic.name, stored.epoch, entries)

    async def epoch_there(self) -> str | None:
        if self._is_checked:
            await self._stream.ensure(self.topic)
            return self._epoch if self._stream.made == self._made else ""
        return None

    def _know(self, sequence: int, stored: Stored) -> None:
        if self._epoch and stored.epoch != self._epoch:
            self._past.append(self._epoch)
        # What is heard may be ahead of the answer to what was sent before it.
        if sequence > self._sequence or stored.epoch != self._epoch:
            self._sequence, self._epoch, self._offset = sequence, stored.epoch, stored.last
            self._news.set()
        offset = stored.first - 1
        for part in stored.parts:
            offset += len(part.items)
            done = part.before + len(part.items)
            self._senders.pop(part.sender, None)
            self._senders[part.sender] = Last(part.number, done, stored.epoch, offset)
            pending = self._by_run.get((part.sender, part.number))
            if pending is not None:
                pending.at = Position(stored.epoch, offset)
        while len(self._senders) > SENDERS:
            del self._senders[next(iter(self._senders))]

    async def _refresh(self) -> None:
        """Know the last message of the topic; begin an epoch where there is none, or where data is gone."""
        self._is_checked = False
        await self._stream.ensure(self.topic)
        made = self._stream.made
        raw = await self._stream.last(self.topic.name)
        if raw is None:
            is_known = bool(self._epoch) and made == self._made
            is_less = is_known and await self._stream.last_sequence() < self._sequence
            if self._is_lost("stream", lacks=is_less) or not is_known:
                await self._begin_epoch(0)
            else:
                self._sequence = 0  # all were too old, and nobody has appended since then
        else:
            epoch = epoch_of(raw)
            if epoch and epoch != self._epoch and epoch not in self._past:
                self._sequence = 0
                await self._catch_up(raw)
            elif epoch == self._epoch and made == self._made and await self._is_still_there(raw):
                await self._catch_up(raw)
            else:
                self._is_lost("stream", lacks=made == self._made)
                await self._begin_epoch(raw.sequence)
        self._made = made
        self._is_checked = True
        self._is_lost("stream", lacks=False)

    async def _is_still_there(self, last: Raw) -> bool:
        """False where another message, or none yet, has the number of the last one that is known."""
        if last.sequence < self._sequence:
            return False
        if not self._sequence:
            return True
        raw = last if last.sequence == self._sequence else await self._stream.at(self._sequence)
        if raw is None:
            return True  # others have come since then, and it was one too many
        try:
            stored = read(raw.data)
        except BadRecord:
            return False
        if raw.subject != self.topic.name or stored.epoch != self._epoch:
            return False
        return stored.last == self._offset or (self._stream.replicas > 1 and stored.first <= self._offset)

    async def _catch_up(self, last: Raw) -> None:
        """Take what others, or earlier lines of this node, have appended."""
        for _ in range(SINGLE_READS if self._sequence else 0):
            if self._sequence >= last.sequence:
                return
            raw = await self._stream.following(self.topic.name, self._sequence + 1)
            if raw is None or self._is_torn(raw):
                break
            self._take_raw(raw)
        raws = await self._stream.read(self.topic.name)
        if raws and self._is_torn(raws[0]):
            self._sequence = 0
        if not self._sequence:
            for raw, stored in self._counted(raws):
                self._know(raw.sequence, stored)
            self._sequence = max(self._sequence, raws[-1].sequence if raws else 0)
        for raw in raws:
            if raw.sequence > self._sequence:
                self._take_raw(raw)

    def _is_torn(self, raw: Raw) -> bool:
        """True where the message before this one is not known, and not there any more."""
        return self._stream.replicas > 1 and raw.behind > self._sequence

    def _take_raw(self, raw: Raw) -> None:
        """Take the message behind the last one that is known, where it counts."""
        try:
            stored = read(raw.data)
        except BadRecord as error:
            self._say_strange(error)
        else:
            self._take_stored(raw, stored)
            return
        self._pass(raw.sequence)

    def _take_stored(self, raw: Raw, stored: Stored) -> None:
        is_next = raw.behind == 0 and (stored.epoch, stored.first) == (self._epoch, self._offset + 1)
        is_sure = self._stream.replicas == 1 or raw.behind == self._sequence
        if not stored.parts or is_sure or is_next:
            self._know(raw.sequence, stored)
        self._pass(raw.sequence)

    def _pass(self, sequence: int) -> None:
        if sequence > self._sequence:
            self._sequence = sequence
            self._news.set()

    def _counted(self, raws: list[Raw]) -> list[tuple[Raw, Stored]]:
        is_sure = self._stream.replicas == 1 or len(raws) == 1
        return counted(raws, first_counts=is_sure, say=self._say_strange)

    async def _begin_epoch(self, behind: int) -> None:
        """Put the beginning of an epoch behind the message with that number; another node may be faster."""
        if self._epoch:
            log.error("broker: topic %s has lost messages: it begins a new epoch", self.topic.name)
        stored = Stored(secrets.token_urlsafe(9), 1, [])
        answer = await self._stream.put(self.topic.name, encode(stored), expected=behind)
        try:
            ack = await self._stream.taken(answer)
        except WrongSequence:
            raw = await self._stream.last(self.topic.name)
            if raw is None:
                raise NoAnswer("the messages of a topic come and go") from None
            self._sequence = 0
            await self._catch_up(raw)
            return
        if not await self._stream.counts(self.topic.name, behind, ack.sequence):
            raise NoAnswer("the beginning of an epoch came too late")
        self._know(ack.sequence, stored)

    # -- what is appended -----------------------------------------------------------------------

    def _post(self) -> Posted | None:
        if not self._is_checked or not self._stream.is_there:
            return None
        self._leave_out_doubles()
        if not self._waiting:
            return None
        stored, expected, once = self._next_message()
        answer = self._stream.put_now(self.topic.name, encode(stored), expected=expected, once=once)
        return None if answer is None else Posted(stored, expected, answer)

    async def _write_some(self, posted: Posted | None) -> None:
        if posted is None:
            if not self._is_checked:
                await self._refresh()
            self._leave_out_doubles()
            if not self._waiting or isinstance(self._waiting[0], Reading):
                return
            stored, expected, once = self._next_message()
            answer = await self._stream.put(self.topic.name, encode(stored), expected=expected, once=once)
        else:
            stored, expected, answer = posted
        try:
            ack = await self._stream.taken(answer)
        except WrongSequence:
            self._is_checked &= await self._hears_more_than(expected)
            return
        if ack.is_duplicate:
            await self._resolve_duplicate(ack.sequence)
            return
        if not await self._stream.counts(self.topic.name, expected, ack.sequence):
            self._is_checked = False
            return
        self._know(ack.sequence, stored)
        self._leave_out_doubles()

    def _next_message(self) -> tuple[Stored, int, str]:
        """Return the next message, the number that it has to come behind, and its id, or ""."""
        room = self._stream.line.max_payload - OTHER_BYTES // 2 - HEAD_BYTES
        pendings, parts, once = next_parts(self._waiting, self.topic.name, room)
        for pending in pendings:
            pending.is_sent = True
        return Stored(self._epoch, self._offset + 1, parts), self._sequence, once

    async def _hears_more_than(self, sequence: int) -> bool:
        """Wait until what another node has appended is heard: to ask for it takes so long that others win."""
        if not self._is_heard:
            self._is_heard = True
            await self._listen()
            return False
        self._news.clear()
        if self._sequence <= sequence:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), HEAR_SECONDS)
        return self._sequence > sequence

    def _leave_out_doubles(self) -> None:
        """Take the runs from the front that have all their offsets."""
        while self._waiting:
            pending = self._waiting[0]
            if isinstance(pending, Reading):
                return
            run = pending.run
            last = self._senders.get(run.sender)
            if last is None or last.number < run.number:
                return
            if last.number == run.number and last.done < len(run.items):
                pending.done = last.done
                return
            verdict = Verdict.DONE if pending.is_sent else Verdict.DUPLICATE
            self._next().resolve(pending.at or Position(last.epoch, last.offset), verdict)

    async def _resolve_duplicate(self, sequence: int) -> None:
        """A message with the id of the first run was there before."""
        raw = await self._stream.at(sequence)
        if raw is None and await self._stream.last_sequence() < sequence:
            raise NoAnswer("a server lacks what another one has had")
        if raw is not None and await _is_void(raw, self._stream, self._senders):
            # It is void, and its id is taken for minutes. All nodes make the same next one of it.
            first = self._waiting[0]
            assert isinstance(first, Pending)
            first.run = first.run._replace(once=f"{first.run.once} {sequence}")
            return
        pending = self._next()
        at, verdict = Position(self._epoch, self._offset), Verdict.DUPLICATE
        if raw is not None:
            stored = read(raw.data)
            at = Position(stored.epoch, stored.last)
            own = pending.run.sender, pending.run.number
            if [(part.sender, part.number) for part in stored.parts] == [own]:
                verdict = Verdict.DONE
        pending.resolve(at, verdict)

    # -- what is kept ---------------------------------------------------------------------------

    async def _kept(self, since: Position | None) -> Kept:
        await self._refresh()
        if since is not None and since.epoch == self._epoch:
            if self._is_lost("copy", lacks=since.offset > self._offset):
                await self._begin_epoch(self._sequence)
            elif since.offset == self._offset:
                return Kept(self._epoch, self._offset, self._offset, [])
        raws = await self._stream.read(self.topic.name)
        return kept_of(self._counted(raws), self.topic, Position(self._epoch, self._offset), since)


async def _is_void(raw: Raw, stream: Stream, senders: Mapping[str, Last]) -> bool:
    """True where another message of its topic stands behind the same one before it."""
    if not await stream.counts(raw.subject, raw.behind, raw.sequence):
        return True
    if stream.replicas == 1 or not raw.behind or await stream.at(raw.behind) is not None:
        return False
    # What was between them is not kept either, where it was. It counts if it was heard as one that does.
    part = read(raw.data).parts[0]
    last = senders.get(part.sender)
    return last is None or last.number < part.number
