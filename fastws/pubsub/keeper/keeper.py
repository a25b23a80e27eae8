"""The keeper's part: it numbers what workers publish, keeps it, and hands it out. It runs no user code."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from fastws.pubsub.bus.lanes import names_of
from fastws.pubsub.bus.peer import TORN, Peer
from fastws.pubsub.bus.receiving import Receiver
from fastws.pubsub.bus.records import BadRecord, Flag, Kind, Record, encode_record
from fastws.pubsub.classes import TopicClass, TopicMode
from fastws.pubsub.keeper.kept_keys import KeeperKeys, KeptKeys
from fastws.pubsub.keeper.kept_topic import KeptStream, KeptTopic
from fastws.pubsub.keeper.member import Member
from fastws.pubsub.keeper.records import KEEPER_IDENTITY, Declaration, NoHubs, Verdict, read_confirm
from fastws.pubsub.keyed import KeyedTopic
from fastws.pubsub.keys import KeysFull
from fastws.pubsub.numbered import NumberedTopic
from fastws.pubsub.sequencer import Sequencer
from fastws.pubsub.ticks import Tickers

__all__ = ["Keeper"]

log = logging.getLogger("fastws.error")

#: While so many bytes wait for a worker, it is sent no more of what is kept; and seconds between two looks.
KEPT_WAITING_BYTES = 1024 * 1024
LOOK_SECONDS = 0.01


class HubTopics(Sequencer):
    """The topics of one hub, and what they share."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        Sequencer.__init__(self, {}, Tickers())
        self.kept: dict[str, KeptTopic] = {}

    def make_keyed(self, name: str, settings: TopicClass, epoch: str) -> KeyedTopic:
        return KeeperKeys(name, settings, self, epoch, self._tickers.of(0.0))

    def _forget(self, topic: NumberedTopic) -> None:
        Sequencer._forget(self, topic)
        del self.kept[topic.name]


class Keeper:
    """Everything here runs on one loop. What a turn has numbered is told at its end, in this order: to those
    who have published that it was taken; to those who follow what is new; what is kept, to who asks for it.

    Args:
        dropped: Called with the identity of a worker that says what makes no sense, and is let go.
        max_waiting: Bytes that may wait for one worker. Beyond them it is sent what is kept, when it reads.
    """

    def __init__(
        self, *, dropped: Callable[[int], None] | None = None, max_waiting: int | None = None
    ) -> None:
        self._dropped = dropped
        self._options = {} if max_waiting is None else {"max_waiting": max_waiting}
        self._loop = asyncio.get_running_loop()
        self._hubs: dict[str, HubTopics] = {}
        self._members: dict[Peer, Member] = {}
        #: Keyed topics that have something to tell.
        self._untold: dict[KeptTopic, None] = {}
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._receives: dict[int, Callable[[Member, KeptTopic, Record], None]] = {
            Kind.PUBLISH: self._publish,
            Kind.CONFIRM: self._confirm,
            Kind.FOLLOW: self._follow,
            Kind.ASK: self._ask,
            Kind.GAP: self._gap,
        }

    def add_worker(self, sock: socket.socket, identity: int) -> Peer:
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
        return peer

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
        try:
            self._take(peer, self._members[peer], record)
        except BadRecord:
            raise
        except Exception:
            log.exception("the keeper of histories cannot take a record")
            raise BadRecord("the keeper failed at what it says") from None

    def _take(self, peer: Peer, member: Member, record: Record) -> None:
        kind = record.kind
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
            known = hub.kept[name] = self._make(record.key, declaration, hub)
        elif known.declaration.digest != declaration.digest:
            known.leave(member)
            if known.users:
                member.peer.write(_refused(known, declaration))
                return
            if known.declaration.settings["mode"] == declaration.settings["mode"]:
                known.redeclare(declaration)
            else:
                known = hub.kept[name] = self._make(record.key, declaration, hub)
        known.join(member)
        self._accept(member, known)

    def _accept(self, member: Member, topic: KeptTopic) -> None:
        """Let a worker publish to a topic from now on."""
        member.peer.write(encode_record(Kind.ACCEPTED, 0, topic.key, 0, 0))

    def _make(self, key: bytes, declaration: Declaration, hub: HubTopics) -> KeptTopic:
        try:
            if declaration.settings["mode"] == TopicMode.KEYED:
                return KeptKeys(key, declaration, hub, self._changed)
            return KeptStream(key, declaration, hub)
        except ValueError as error:
            raise BadRecord(str(error)) from None

    def _changed(self, topic: KeptTopic) -> None:
        """A keyed topic has something to tell at the end of the turn."""
        self._untold[topic] = None
        self._schedule()

    def _publish(self, member: Member, topic: KeptTopic, record: Record) -> None:
        try:
            topic.publish(record.body, record.amount)
        except KeysFull:
            self._say_full(topic)
        member.took()

    def _say_full(self, topic: KeptTopic) -> None:
        name, most = topic.topic.name, topic.declaration.settings["max_keys"]
        log.error("topic %r holds %d keys, its max_keys: what is published to others is dropped", name, most)

    def _confirm(self, member: Member, topic: KeptTopic, record: Record) -> None:
        once, body = read_confirm(record)
        verdict = Verdict.DUPLICATE
        at = None if once is None else topic.published(once)
        if at is None:
            verdict = Verdict.NUMBERED
            try:
                topic.publish(body, 1)
            except KeysFull:
                verdict = Verdict.FULL
            at = topic.topic.last_position()
            if once is not None and verdict is Verdict.NUMBERED:
                topic.remember(once, at)
        body = str(at).encode()
        answer = encode_record(Kind.CONFIRMED, 0, record.key, verdict, record.number, body)
        member.took(answer)

    def _follow(self, member: Member, topic: KeptTopic, record: Record) -> None:
        if record.flags == Flag.TOPIC:
            member.want(topic, 1)
        else:
            member.unfollow(topic)
            member.peer.write(encode_record(Kind.FOLLOW, Flag.NONE, record.key, 0, 0))

    def _ask(self, member: Member, topic: KeptTopic, record: Record) -> None:
        topic.tell()  # what comes before it
        offset = topic.next_offset()
        member.add(topic, offset, Record(Kind.STATE, 0, record.key, 0, offset))

    def _gap(self, member: Member, topic: KeptTopic, record: Record) -> None:
        topic.tell_gap(record.amount)
        member.took()

    def _lost(self, peer: Peer, reason: str) -> None:
        if reason:
            log.error("worker %s is dropped: %s", peer.identity, reason)
        if reason and reason != TORN and self._dropped is not None and peer.identity is not None:
            self._dropped(peer.identity)
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
        untold, self._untold = self._untold, {}
        for topic in untold:
            topic.tell()
        for member in members:
            member.write()
        for member in members:
            if member.wanted:
                self._send_kept(member)

    def _send_kept(self, member: Member) -> None:
        """Send a worker what it wants of what is kept, as far as there is room."""
        while member.wanted:
            if member.peer.waiting > KEPT_WAITING_BYTES:
                if self._timer is None:
                    self._timer = self._loop.call_later(LOOK_SECONDS, self._look)
                return
            topic, offset, asked_at = member.wanted.popleft()
            topic.topic.expire()
            topic.tell()  # to the others: this one has it
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
