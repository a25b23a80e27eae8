"""The keeper's part: it numbers what workers publish, keeps it, and hands it out. It runs no user code."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from fastws.pubsub.bus.lanes import names_of
from fastws.pubsub.bus.peer import Peer
from fastws.pubsub.bus.receiving import Receiver
from fastws.pubsub.bus.records import BadRecord, Flag, Kind, Record, encode_record, split_frames
from fastws.pubsub.events import Position
from fastws.pubsub.keeper.kept_topic import KeptTopic
from fastws.pubsub.keeper.member import Member
from fastws.pubsub.keeper.records import KEEPER_IDENTITY, Declaration, NoHubs, read_confirm
from fastws.pubsub.sequenced import SequencedTopic
from fastws.pubsub.sequencer import Sequencer

__all__ = ["Keeper"]

log = logging.getLogger("fastws.error")

#: While so many bytes wait for a worker, it is sent no more of what is kept; and seconds between two looks.
KEPT_WAITING_BYTES = 1024 * 1024
LOOK_SECONDS = 0.01


class HubTopics(Sequencer):
    """The topics of one hub, and what they share."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        Sequencer.__init__(self, {})
        self.kept: dict[str, KeptTopic] = {}

    def _forget(self, topic: SequencedTopic) -> None:
        Sequencer._forget(self, topic)
        del self.kept[topic.name]


class Keeper:
    """Everything here runs on one loop. What a turn has numbered is told at its end, in this order: to those
    who have published that it was taken; to those who follow what is new; what is kept, to who asks for it.

    Args:
        max_waiting: Bytes that may wait for one worker. Beyond them it is sent what is kept, when it reads.
    """

    def __init__(self, *, max_waiting: int | None = None) -> None:
        self._options = {} if max_waiting is None else {"max_waiting": max_waiting}
        self._loop = asyncio.get_running_loop()
        self._hubs: dict[str, HubTopics] = {}
        self._members: dict[Peer, Member] = {}
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._receives: dict[int, Callable[[Member, KeptTopic, Record], None]] = {
            Kind.PUBLISH: self._publish,
            Kind.CONFIRM: self._confirm,
            Kind.FOLLOW: self._follow,
            Kind.ASK: self._ask,
            Kind.GAP: self._gap,
        }

    def add_worker(self, sock: socket.socket, identity: int) -> None:
        """Serve a worker over a connected stream socket, which the keeper owns from now on."""
        peer = Peer(
            sock,
            identity,
            receiver=Receiver(NoHubs()),
            receive=self._received,
            lost=self._lost,
            **self._options,
        )
        self._members[peer] = Member(peer)
        peer.start(self._loop, KEEPER_IDENTITY)

    def close(self) -> None:
        """Let go of all workers."""
        for peer in list(self._members):
            peer.close()
            self._lost(peer, "")
        for hub in self._hubs.values():
            hub.close()
        if self._timer is not None:
            self._timer.cancel()

    # -- what comes -----------------------------------------------------------------------------

    def _received(self, peer: Peer, record: Record) -> None:
        member, kind = self._members[peer], record.kind
        if kind == Kind.HELLO:
            if record.number != peer.identity:
                raise BadRecord(f"it says that it is {record.number}")
            peer.has_said_hello = True
        elif kind == Kind.DECLARE:
            self._declare(member, record)
        else:
            receive = self._receives.get(kind)
            topic = member.topics.get(record.key)
            if receive is None or topic is None:
                raise BadRecord(f"a record of kind {kind} that nobody has asked for")
            receive(member, topic, record)
        self._schedule()

    def _declare(self, member: Member, record: Record) -> None:
        hub_name, name = names_of(record.key)
        hub = self._hubs.get(hub_name)
        if hub is None:
            hub = self._hubs[hub_name] = HubTopics()
        known = hub.kept.get(name)
        if record.flags == Flag.NONE:
            if known is not None:
                known.leave(member)
            return
        declaration = Declaration.read(record)
        if known is None:
            try:
                known = KeptTopic(record.key, declaration, hub)
            except ValueError as error:
                raise BadRecord(str(error)) from None
            hub.kept[name] = known
        elif known.declaration.digest != declaration.digest:
            known.leave(member)
            if known.users:
                member.peer.write(_refused(known, declaration))
                return
            known.redeclare(declaration)
        known.join(member)
        member.peer.write(encode_record(Kind.ACCEPTED, 0, record.key, 0, 0))

    def _publish(self, member: Member, topic: KeptTopic, record: Record) -> None:
        topic.keep(split_frames(record.body, record.amount), record.body)
        member.took()

    def _confirm(self, member: Member, topic: KeptTopic, record: Record) -> None:
        once, frame = read_confirm(record)
        at: Position | None = None
        if once is not None:
            at = topic.published(once)
        is_known = at is not None
        if at is None:
            at = topic.topic.position(topic.keep([frame], frame))
            if once is not None:
                topic.remember(once, at)
        answer = encode_record(Kind.CONFIRMED, 0, record.key, int(is_known), record.number, str(at).encode())
        member.took(answer)

    def _follow(self, member: Member, topic: KeptTopic, record: Record) -> None:
        if record.flags == Flag.TOPIC:
            member.want(topic, 1)
        else:
            member.unfollow(topic)

    def _ask(self, member: Member, topic: KeptTopic, record: Record) -> None:
        offset = topic.topic.history.next
        member.add(topic, offset, encode_record(Kind.STATE, 0, record.key, 0, offset))

    def _gap(self, member: Member, topic: KeptTopic, record: Record) -> None:
        topic.tell_gap(record.amount)
        member.took()

    def _lost(self, peer: Peer, reason: str) -> None:
        if reason:
            log.error("worker %s is dropped: %s", peer.identity, reason)
        member = self._members.pop(peer, None)
        if member is not None:
            for topic in list(member.topics.values()):
                topic.leave(member)
            member.wanted.clear()

    # -- what leaves ----------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        members = list(self._members.values())
        for member in members:
            member.tell_taken()
        for member in members:
            member.write()
        for member in members:
            self._send_kept(member)

    def _send_kept(self, member: Member) -> None:
        while member.wanted:
            if member.peer.waiting > KEPT_WAITING_BYTES:
                if self._timer is None:
                    self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
                return
            topic, offset, asked_at = member.wanted.popleft()
            if member in topic.users:
                topic.followers.add(member)
                member.peer.write(b"".join(topic.records(offset, asked_at)))

    def _look(self) -> None:
        """Send what is kept to those that have read what waited."""
        self._timer = None
        self._schedule()


def _refused(known: KeptTopic, declaration: Declaration) -> bytes:
    mine, theirs = declaration.differing(known.declaration)
    workers = ", ".join(str(member.peer.identity) for member in known.users)
    text = f"declared with {mine} here, and with {theirs} by worker {workers}, whose settings hold"
    return encode_record(Kind.REFUSED, 0, known.key, 0, 0, text.encode("utf-8", "replace"))
