"""The keeper of a node with a broker: it numbers nothing itself, but hands on and keeps a copy."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastws.errors import BrokerUnavailable
from fastws.pubsub.brokers.base import (
    Append,
    Appended,
    Broker,
    BrokerRefused,
    Item,
    ItemTooLarge,
    State,
    Verdict,
)
from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.records import BadRecord, Kind, Record, encode_record
from fastws.pubsub.classes import TopicMode
from fastws.pubsub.gateway.copying import CopyingKeeper
from fastws.pubsub.gateway.relayed_topic import Copy, Declared, Relayed, RelayedKeys, RelayedStream
from fastws.pubsub.gateway.tickets import Ticket, Tickets
from fastws.pubsub.keeper.keeper import HubTopics, Keeper
from fastws.pubsub.keeper.kept_topic import KeptTopic
from fastws.pubsub.keeper.member import Member
from fastws.pubsub.keeper.records import Declaration, read_confirm, refusal_record
from fastws.pubsub.keeper.records import Verdict as Told

__all__ = ["RelayingKeeper"]

log = logging.getLogger("fastws.error")

#: The broker is told again what this node uses.
DECLARE_TICKS = 5
#: A broker may have to write a byte of a key as so many.
KEY_GROWTH = 3
#: A topic that nobody follows is heard for so many seconds more.
LINGER_TICKS = 5


class RelayingKeeper(CopyingKeeper):
    """A keeper, whose topics the broker numbers.

    Args:
        broker: What numbers them.
        node: This node's name, the same for each gateway that it has: ASCII letters, digits, ``-``.
        options: As those of :class:`Keeper`.
    """

    def __init__(self, broker: Broker, node: str, **options: Any) -> None:
        CopyingKeeper.__init__(self, broker, **options)
        self._node = node
        self._tickets = Tickets()
        self._ticks = 0
        #: Topics that workers were refused, whose records may still be on their way.
        self._gone: dict[Member, dict[bytes, tuple[Relayed, str]]] = {}
        #: Messages that the broker has refused since the last line of the log, by why.
        self._refused: dict[str, int] = {}

    # -- what workers say -----------------------------------------------------------------------

    def _make(self, key: bytes, declaration: Declaration, hub: HubTopics) -> KeptTopic:
        topic: Relayed
        try:
            if declaration.settings["mode"] == TopicMode.KEYED:
                topic = RelayedKeys(key, declaration, hub, self._changed)
            else:
                topic = RelayedStream(key, declaration, hub)
        except ValueError as error:
            raise BadRecord(str(error)) from None
        self.relayed[topic.spec.name] = topic
        return topic

    def _accept(self, member: Member, topic: Any) -> None:
        if topic.declared is Declared.YES:
            Keeper._accept(self, member, topic)
        else:
            topic.asking[member] = None
            if len(topic.asking) == 1:
                self._run(self._declare_there(topic))

    def _take(self, peer: Peer, member: Member, record: Record) -> None:
        gone = self._gone.get(member)
        if gone and record.key in gone:
            if record.kind != Kind.DECLARE:
                self._take_late(member, record, *gone[record.key])
                return
            del gone[record.key]
        CopyingKeeper._take(self, peer, member, record)

    def _take_late(self, member: Member, record: Record, topic: Relayed, reason: str) -> None:
        """Take what a worker has sent before it knew that the broker refuses a topic."""
        answer = b""
        if record.kind == Kind.CONFIRM:
            answer = _unavailable(record, reason)
        elif record.kind in (Kind.PUBLISH, Kind.GAP):
            self._refused[reason] = self._refused.get(reason, 0) + record.amount
            topic.tell_gap(record.amount)
        else:
            return
        self._tickets.done(member, self._tickets.take(member), answer)
        self._schedule()

    def _publish(self, member: Member, topic: Any, record: Record) -> None:
        items = topic.items(record.body, record.amount)
        if len(record.body) * KEY_GROWTH > self._broker.max_bytes:
            items = self._leave_out_too_large(topic, items)
            if not items:
                self._tickets.done(member, self._tickets.take(member))
                return
        self._append(member, topic, Append(self._sender(member), record.number, items))

    def _leave_out_too_large(self, topic: Relayed, items: tuple[Item, ...]) -> tuple[Item, ...]:
        """Return the items that fit into the broker; those who follow are told of the others."""
        most = self._broker.max_bytes
        fitting = tuple(item for item in items if len(item.body) + len(item.key) * KEY_GROWTH <= most)
        if missing := len(items) - len(fitting):
            reason = f"{self._broker.label}: a message may have {most} bytes there"
            self._refused[reason] = self._refused.get(reason, 0) + missing
            topic.tell_gap(missing)
            self._schedule()
        return fitting

    def _confirm(self, member: Member, topic: Any, record: Record) -> None:
        once, body = read_confirm(record)
        if self._state is State.AWAY:
            # At once: what was published before it waits, and is taken only then.
            member.peer.write(_unavailable(record, f"{self._broker.label} is away: {self._reason}"))
            self._tickets.done(member, self._tickets.take(member))
            return
        sender = self._sender(member)
        # An id of its own, so that a retry has the position of this very message.
        known = f"#{sender}:{record.number}" if once is None else f"={once}"
        run = Append(sender, record.number, topic.items(body, 1), known)
        self._append(member, topic, run, record)

    def _lost(self, peer: Any, reason: str) -> None:
        member = self._members.get(peer)
        CopyingKeeper._lost(self, peer, reason)
        if member is not None:
            self._tickets.lost(member)
            self._gone.pop(member, None)

    def _sender(self, member: Member) -> str:
        return f"{self._node}.{member.peer.identity}"

    # -- what goes to the broker ----------------------------------------------------------------

    def _append(self, member: Member, topic: Relayed, run: Append, question: Record | None = None) -> None:
        ticket = self._tickets.take(member)
        future = self._broker.append(topic.spec, run)

        def done(future: asyncio.Future[Appended]) -> None:
            if not future.cancelled():
                self._appended(member, topic, ticket, run, question, future)

        future.add_done_callback(done)

    def _appended(
        self,
        member: Member,
        topic: Relayed,
        ticket: Ticket,
        run: Append,
        question: Record | None,
        future: asyncio.Future[Appended],
    ) -> None:
        answer = b""
        error = future.exception()
        if error is not None:
            reason = f"{self._broker.label}: {error}"
            if question is None:
                self._refused[reason] = self._refused.get(reason, 0) + len(run.items)
                topic.tell_gap(len(run.items))
            else:
                told = Told.TOO_LARGE if isinstance(error, ItemTooLarge) else Told.UNAVAILABLE
                answer = _unavailable(question, reason, told)
        else:
            at, verdict = future.result()
            if question is not None:
                told = _told(verdict, run)
                body = str(at).encode()
                answer = encode_record(Kind.CONFIRMED, 0, question.key, told, question.number, body)
            elif verdict is Verdict.FULL:
                self._say_full(topic)
        self._tickets.done(member, ticket, answer)
        self._schedule()

    async def _declare_there(self, topic: Relayed) -> None:
        """Let the broker know that this node uses a topic; then its workers may publish to it."""
        while topic.asking:
            try:
                await self._broker.declare(topic.spec)
            except BrokerRefused as error:
                self._refuse(topic, list(topic.asking), str(error))
            except BrokerUnavailable as error:
                await self._wait_to_retry(topic, error)
                continue
            else:
                topic.declared = Declared.YES
                for member in topic.asking:
                    if member in topic.users:
                        Keeper._accept(self, member, topic)
            topic.asking.clear()

    async def _declare_again(self, topic: Relayed) -> None:
        try:
            epoch = await self._broker.declare(topic.spec)
        except BrokerRefused as error:
            topic.declared = Declared.NO
            self._refuse(topic, list(topic.users), str(error))
        except BrokerUnavailable:
            pass  # it comes back
        else:
            if epoch is not None and epoch != topic.topic.epoch and topic.is_live():
                self._load(topic)  # data is gone, and nobody has published since then

    def _refuse(self, topic: Relayed, members: list[Member], text: str) -> None:
        record = refusal_record(topic.key, text)
        for member in members:
            if member in topic.users:
                topic.leave(member)
                self._gone.setdefault(member, {})[topic.key] = topic, text
                member.peer.write(record)

    # -- once a second --------------------------------------------------------------------------

    def tick(self) -> None:
        """Tell the broker what is used, and what is too old; let go of what nobody follows."""
        self._ticks += 1
        for name, topic in list(self.relayed.items()):
            if topic.users:
                is_due = self._ticks % DECLARE_TICKS == 0 and topic.declared is Declared.YES
                if is_due and self._state is State.READY:
                    self._run(self._declare_again(topic))
                self._expire(topic)
            self._let_go(name, topic)
        refused, self._refused = self._refused, {}
        for reason, count in refused.items():
            log.error("%d messages were not published: %s", count, reason)

    def _expire(self, topic: Relayed) -> None:
        if topic.copy is Copy.LIVE and isinstance(topic, RelayedKeys) and self._state is State.READY:
            items: tuple[Item, ...] = topic.expired()
            if items:
                self._broker.append(topic.spec, Append("", 0, items)).add_done_callback(_forget)

    def _let_go(self, name: str, topic: Relayed) -> None:
        is_wanted = any(each[0] is topic for member in topic.users for each in member.wanted)
        topic.idle_ticks = 0 if topic.followers or is_wanted or topic.current else topic.idle_ticks + 1
        if topic.idle_ticks >= LINGER_TICKS and topic.copy is not Copy.NONE:
            topic.drop_copy()
            self._broker.unwatch(name)
        if topic.idle_ticks >= LINGER_TICKS and not topic.users:
            del self.relayed[name]
            topic.sequencer._forget(topic.topic)


def _forget(future: asyncio.Future[Appended]) -> None:
    """Look at what became of it, so that nobody complains that nobody did."""
    if not future.cancelled():
        future.exception()


def _told(verdict: Verdict, run: Append) -> Told:
    """Return what a worker is told. A retry of its own is none of the application's."""
    if verdict is Verdict.FULL:
        return Told.FULL
    is_once = run.once is not None and run.once.startswith("=")
    return Told.DUPLICATE if verdict is Verdict.DUPLICATE and is_once else Told.NUMBERED


def _unavailable(question: Record, reason: str, told: Told = Told.UNAVAILABLE) -> bytes:
    body = reason.encode("utf-8", "replace")
    return encode_record(Kind.CONFIRMED, 0, question.key, told, question.number, body)
