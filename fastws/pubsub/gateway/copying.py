"""The half of a node's keeper that has copies: of what the broker keeps, for workers that follow it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import Broker, BrokerRefused, Entry, Kept, State
from fastws.pubsub.bus.records import Flag, Kind, Record
from fastws.pubsub.gateway.relayed_topic import Copy, Relayed
from fastws.pubsub.keeper.keeper import Keeper
from fastws.pubsub.keeper.member import Member
from fastws.pubsub.keeper.records import refusal_record
from fastws.pubsub.keeper.shared_topic import epoch_digest

__all__ = ["CopyingKeeper"]

log = logging.getLogger("fastws.error")

#: Seconds until what the broker has refused is tried again.
RETRY_SECONDS = 1.0


class CopyingKeeper(Keeper):
    """Reads and watches what workers follow.

    Args:
        broker: What numbers and keeps it.
        options: As those of :class:`Keeper`.
    """

    def __init__(self, broker: Broker, **options: Any) -> None:
        Keeper.__init__(self, **options)
        self._broker = broker
        #: By name.
        self.relayed: dict[str, Relayed] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = State.AWAY
        #: Why the broker is away.
        self._reason = "it has not been reached yet"
        self._came_back = asyncio.Event()

    def close(self) -> None:
        """Let go of all workers, and wait for the broker no more."""
        for task in self._tasks:
            task.cancel()
        Keeper.close(self)

    # -- what workers say -----------------------------------------------------------------------

    def _follow(self, member: Member, topic: Any, record: Record) -> None:
        Keeper._follow(self, member, topic, record)
        if record.flags == Flag.TOPIC:
            topic.held[member] = record.amount, record.number
            if topic.copy is Copy.NONE:
                self._load(topic)
            elif topic.topic.epoch:
                self._note_held(topic, member)

    def _ask(self, member: Member, topic: Any, record: Record) -> None:
        def answer() -> None:
            if member in topic.users:
                topic.tell()
                offset = topic.next_offset()
                member.add(topic, offset, Record(Kind.STATE, 0, record.key, 0, offset))

        topic.current.append(answer)
        self._load(topic)

    def _lost(self, peer: Any, reason: str) -> None:
        member = self._members.get(peer)
        Keeper._lost(self, peer, reason)
        if member is not None:
            for topic in self.relayed.values():
                topic.held.pop(member, None)

    # -- the copies -----------------------------------------------------------------------------

    def _load(self, topic: Relayed) -> None:
        """Read all that is missing here of a topic."""
        if topic.copy is not Copy.LOADING:
            topic.copy = Copy.LOADING
            # Asked for now, before what is published next: who has just subscribed is given that.
            self._run(self._read(topic, self._broker.read(topic.spec, topic.position())))

    async def _read(self, topic: Relayed, asked: Awaitable[Kept]) -> None:
        while topic.copy is Copy.LOADING:
            current, topic.current = topic.current, []
            try:
                await self._catch_up(topic, asked)
            except BrokerUnavailable as error:
                topic.current = current + topic.current
                if isinstance(error, BrokerRefused):
                    self._tell_refused(topic, error)
                await self._wait_to_retry(topic, error)
            else:
                topic.trouble = ""
                for answer in current:
                    answer()
                if topic.current and topic.is_live():  # somebody asks what was there after that
                    topic.copy = Copy.LOADING
            self._schedule()
            if topic.copy is Copy.LOADING:
                asked = self._broker.read(topic.spec, topic.position())

    def _tell_refused(self, topic: Relayed, error: BrokerRefused) -> None:
        """Nobody knows for how long it cannot be read: who listens, or waits to, is told."""
        record = refusal_record(topic.key, str(error), reading=True)
        for member in topic.users:
            member.peer.write(record)

    async def _wait_to_retry(self, topic: Relayed, error: BrokerUnavailable) -> None:
        """Wait until the broker is there, or for a moment where it is and has refused or not answered."""
        if self._state is State.READY:
            topic.complain(self._broker.label, error)
            await asyncio.sleep(RETRY_SECONDS)
        await self._came_back.wait()

    async def _catch_up(self, topic: Relayed, asked: Awaitable[Kept]) -> None:
        kept = await asked
        if not topic.topic.epoch:
            self._note_asked(topic, kept)
        topic.take_kept(kept)
        for member in list(topic.held):
            self._note_held(topic, member)
        if not topic.is_watched:
            await self._broker.watch(topic.spec)
            if topic.copy is not Copy.LOADING:  # it was let go of meanwhile
                self._broker.unwatch(topic.spec.name)
                return
            topic.is_watched = True
            topic.take_kept(await self._broker.read(topic.spec, topic.position()))
        topic.go_live()

    def _note_asked(self, topic: Relayed, kept: Kept) -> None:
        """Note for those who have asked before anything was here that nothing of it is new."""
        for member in topic.users:
            member.wanted = deque(
                (each, offset, kept.last + 1) if each is topic else (each, offset, asked_at)
                for each, offset, asked_at in member.wanted
            )

    def _note_held(self, topic: Relayed, member: Member) -> None:
        """Send a worker no more of a topic than what it has not got from an earlier gateway."""
        digest, following = topic.held.pop(member, (0, 0))
        if digest == epoch_digest(topic.topic.epoch) and 1 <= following <= topic.next_offset():
            member.wanted = deque(
                (each, following, asked_at) if each is topic else (each, offset, asked_at)
                for each, offset, asked_at in member.wanted
            )

    def _send_kept(self, member: Member) -> None:
        # Only what is here; it need not be all that is there.
        waiting = deque(each for each in member.wanted if not each[0].topic.epoch)
        member.wanted = deque(each for each in member.wanted if each[0].topic.epoch)
        Keeper._send_kept(self, member)
        member.wanted += waiting

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("the gateway has failed at a topic", exc_info=task.exception())

    # -- what the broker says -------------------------------------------------------------------

    def take_new(self, name: str, epoch: str, entries: list[Entry]) -> None:
        """Take what is new in a topic."""
        topic = self.relayed.get(name)
        if topic is None or topic.copy is Copy.NONE:
            return
        if topic.take_new(epoch, entries):
            if not self._is_scheduled:  # the first of a turn is told at once, the others at its end
                self._flush()
            self._schedule()
        else:
            self._load(topic)

    def take_unheard(self, name: str) -> None:
        """Take that a topic which was watched is heard no more: it is watched again, which says why not."""
        topic = self.relayed.get(name)
        if topic is not None and topic.copy is not Copy.NONE:
            topic.is_watched = False
            self._load(topic)

    def take_state(self, state: State, reason: str) -> None:
        """Take how it is with the broker. When it is back, all is read that may be missing."""
        self._state, self._reason = state, reason
        if state is State.AWAY:
            self._came_back.clear()
            return
        self._came_back.set()
        for topic in self.relayed.values():
            if topic.copy is Copy.LIVE:
                self._load(topic)
