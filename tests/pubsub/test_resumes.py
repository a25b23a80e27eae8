"""Topics with a history, at random: every message comes exactly once, in its order, or its absence is told.

What a client knows is what it was sent, in that order: where a subscription begins, messages with their
numbers, and gaps. The model knows what each topic keeps.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import encode, encode_close
from fastws.pubsub import cursors, sequenced
from fastws.pubsub.events import Position, Synced
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CONTINUATION, TEXT
from tests.kit import Kernel, ManualLoop
from tests.kit.outboxes import Peer, text

CLIENTS = 4
#: The names, and how many messages, bytes and seconds each keeps. Two are of a class.
TOPICS = {"few": (5, 2**20, 300), "kept/bytes": (50, 120, 300), "kept/time": (50, 2**20, 10)}
PLAIN = "plain"


class Model:
    """What one topic keeps."""

    def __init__(self, messages: int, max_bytes: int, ttl: int) -> None:
        self.messages, self.max_bytes, self.ttl = messages, max_bytes, ttl
        #: Offset, frame bytes and time.
        self.kept: list[tuple[int, int, float]] = []
        self.head = 0
        self.expired_to = 0

    def publish(self, size: int, now: float) -> None:
        self.expire(now)
        self.head += 1
        self.kept.append((self.head, size, now))
        while len(self.kept) > self.messages or (
            len(self.kept) > 1 and sum(each[1] for each in self.kept) > self.max_bytes
        ):
            self.kept.pop(0)

    def expire(self, now: float) -> None:
        while self.kept and now - self.kept[0][2] >= self.ttl:
            self.expired_to = self.kept.pop(0)[0]

    @property
    def first(self) -> int:
        return self.kept[0][0] if self.kept else self.head + 1

    def sync(
        self, epoch: str, since: Position | None, recent: int
    ) -> tuple[int, bool | None, int | None, str | None]:
        """Where it begins, whether that is a resumption, what is missed and why."""
        start = max(self.head - recent, self.first - 1)
        if since is None:
            return start, None, 0, None
        if since.epoch != epoch:
            return start, False, None, "epoch"
        if since.offset > self.head:
            return start, False, None, "future"
        if since.offset >= self.first - 1:
            return since.offset, True, 0, None
        why = "expired" if self.first - 1 <= self.expired_to else "limit"
        return self.first - 1, False, self.first - 1 - since.offset, why


class Client(Peer):
    """Writes gaps down where it hears of them: between the messages before and after."""

    hub: Hub

    def tell_gap(self, topic: str, missed: int, reason: str) -> bool:
        assert reason == "slow"
        self.outbox.push(text(f"gap {topic} {missed}"))
        return True

    def said(self) -> list[str]:
        """Take what has come, as text; parts of messages are left out."""
        frames = self.frames()
        return [one.text for one in frames if one.opcode == TEXT and one.fin]


class World:
    """Clients of every kind, a hub with topics of every kind, and a model of these."""

    def __init__(self, loop: ManualLoop, kernel: Kernel) -> None:
        self.loop = loop
        turn = Turn(loop.call_soon)
        self.hub = Hub()
        self.hub.topic("few", history=5)
        self.hub.topic("kept/**", history=50, ttl=10)
        self.hub.topic("kept/bytes", history=50, history_bytes=120)
        self.models = {name: Model(*limits) for name, limits in TOPICS.items()}
        self.models[PLAIN] = Model(10**6, 10**9, 10**6)
        self.epochs: dict[str, str] = {}
        for name in TOPICS:
            at = loop.run(self.hub.position(name))
            self.epochs[name] = at.epoch
            assert at.offset == 0
        limits = (10**6, 10**9)
        self.clients = [
            Client(loop, turn, limits=limits),
            Client(loop, turn, limits=limits, kernel=kernel),
            *(Client(loop, turn, limits=limits) for _ in range(CLIENTS - 2)),
        ]
        self.clients[2].outbox.frame_variant = -1
        self.clients[3].outbox.frame_variant = 12
        self.listens: list[set[str]] = [set() for _ in self.clients]
        #: What each client knows: the offset that it has seen, while it listens.
        self.seen: list[dict[str, int]] = [{} for _ in self.clients]
        self.missed: list[int] = [0] * CLIENTS
        self.closed: set[int] = set()
        self.fragmenting: set[int] = set()
        # Not all by chance: what goes wrong needs clients that listen to several topics.
        for client in range(CLIENTS):
            for topic in self.models:
                self.do("publish", client, topic, 2)
                self.do("subscribe", client, topic, 0)

    def do(self, verb: str, client: int, topic: str, number: int) -> None:
        peer, now = self.clients[client], self.loop.time()
        is_closed = client in self.closed
        if verb == "subscribe":
            self.subscribe(client, topic, None, 0)
        elif verb == "resume":
            if number % 4:
                self.leave(client, topic)
            # From where it has seen all, or has seen less, or from where nobody can have been.
            offset = max(self.seen[client].get(topic, number) - number % 6, 0)
            offset = 10**6 if number == 14 else offset
            epoch = "another" if number == 13 else self.epochs[topic]
            self.subscribe(client, topic, Position(epoch, offset), number % 4)
        elif verb == "recent":
            if number % 4:
                self.leave(client, topic)
            self.subscribe(client, topic, None, number)
        elif verb == "unsubscribe":
            self.leave(client, topic)
        elif verb == "publish":
            for _ in range(1 + number % 3):
                self.publish(topic, number, now)
        elif verb == "burst":
            for _ in range(number * 3):
                self.publish(topic, number, now)
        elif verb == "send":
            peer.outbox.push(text("own"))
        elif verb == "fragment" and not is_closed and peer.outbox.frame_variant >= 0:
            first = client not in self.fragmenting
            self.fragmenting ^= {client}
            opcode, fin = (TEXT, 0) if first else (CONTINUATION, 0x80)
            peer.outbox.push_fragment(encode(opcode, "part", None, fin), first=first, fin=not first)
        elif verb == "close" and not is_closed and number > 12:
            peer.outbox.push_last(encode_close(1000, "", None))
            peer.outbox.leave_topics()
            self.closed.add(client)
            self.listens[client].clear()
        elif verb == "turn":
            self.loop.turn()
        elif verb == "time":
            self.loop.advance(number / 2)
        elif verb == "stall":
            peer.transport.room = peer.transport.room or 0
        elif verb == "take a little":
            peer.transport.take(number)
        elif verb == "take":
            peer.transport.take()
        if number % 2:
            self.read(client)

    def leave(self, client: int, topic: str) -> None:
        peer = self.clients[client]
        subscriptions: Any = peer.outbox.subscriptions
        keeps_up = subscriptions is not None and subscriptions.cursors is None and peer.outbox.takes_joined()
        self.hub.unsubscribe(peer, topic)
        if topic in self.listens[client]:
            self.listens[client].discard(topic)
            # Who keeps up hears all that was published before.
            peer.outbox.push(text(f"end {topic} {self.models[topic].head if keeps_up else -1}"))

    def publish(self, topic: str, number: int, now: float) -> None:
        model = self.models[topic]
        message = f"{topic} {model.head + 1}".ljust(10 + number, ".")
        heard = sum(topic in topics for topics in self.listens)
        assert self.hub.publish(topic, message) == heard
        model.publish(len(text(message)), now)

    def subscribe(self, client: int, topic: str, since: Position | None, recent: int) -> None:
        peer, model = self.clients[client], self.models[topic]
        model.expire(self.loop.time())
        if topic == PLAIN:
            assert self.hub.subscribe(peer, topic) is None
            head: int | None = model.head
        elif topic in self.listens[client] and (since is not None or recent):
            with pytest.raises(ValueError, match="subscribed already"):
                self.hub.subscribe(peer, topic, since=since, recent=recent)
            return
        else:
            given = str(since) if since is not None and recent % 2 else since
            synced = self.hub.subscribe(peer, topic, since=given, recent=recent)
            if client in self.closed:
                assert synced is None
                return
            assert synced is not None
            epoch = self.epochs[topic]
            at, resumed, missed, reason = model.sync(epoch, since, recent)
            if topic in self.listens[client]:
                at = min(at, synced.at.offset)  # where it is: it may be behind
            assert synced == Synced(topic, Position(epoch, at), resumed, missed, reason)
            head = at
        if client not in self.closed and topic not in self.listens[client]:
            self.listens[client].add(topic)
            # In the same call: it must come before all messages.
            peer.outbox.push(text(f"sync {topic} {head}"))

    def read(self, client: int) -> None:
        """Check what a client got: each message follows the one before it, or a gap is told."""
        seen = self.seen[client]
        for said in self.clients[client].said():
            if said == "own":
                continue
            words = said.rstrip(".").split(" ")
            if words[0] == "sync":
                seen[words[1]] = int(words[2])
            elif words[0] == "gap":
                seen[words[1]] += int(words[2])
                self.missed[client] += int(words[2])
                assert int(words[2]) > 0
            elif words[0] == "end":
                assert int(words[2]) in (-1, seen.pop(words[1]))
            else:
                topic, number = words
                assert int(number) == seen[topic] + 1
                seen[topic] += 1

    def end(self) -> None:
        """Let everybody read everything: then each has seen all."""
        for client in list(self.fragmenting - self.closed):
            self.do("fragment", client, "", 0)
        self.loop.settle()
        for peer in self.clients:
            peer.transport.take()
        self.loop.settle()
        for client, peer in enumerate(self.clients):
            self.read(client)
            outbox = peer.outbox
            if client not in self.closed:
                assert set(self.seen[client]) == self.listens[client]
                for topic in self.listens[client]:
                    assert self.seen[client][topic] == self.models[topic].head
                assert outbox.dropped == self.missed[client]
            assert (outbox.queued, outbox.queue_bytes, outbox.buffered_amount) == (0, 0, 0)
            assert set(self.hub.topics(peer)) == self.listens[client]
            assert not outbox.is_open or outbox.subscriptions is None or outbox.subscriptions.cursors is None
        for topic in self.models:
            heard = [peer for client, peer in enumerate(self.clients) if topic in self.listens[client]]
            assert set(self.hub.subscribers(topic)) == set(heard)
            assert self.hub.count(topic) == len(heard)


def step(*verbs: str, topics: Any = (*TOPICS, PLAIN)) -> st.SearchStrategy[tuple[str, int, str, int]]:
    return st.tuples(
        st.sampled_from(verbs), st.integers(0, CLIENTS - 1), st.sampled_from(topics), st.integers(0, 15)
    )


STEPS = st.lists(
    st.one_of(
        step("publish", "burst", "publish", "send"),
        step("resume", "recent", "unsubscribe", topics=tuple(TOPICS)),
        step("stall", "take a little", "take", "fragment"),
        step("turn", "time", "subscribe", "unsubscribe", "close"),
    ),
    min_size=10,
    max_size=80,
)


@settings(max_examples=400, deadline=None)
@given(STEPS, st.sampled_from([(40, 3, 100), (64 * 1024, 1024, 2**20)]))
def test_each_message_exactly_once_or_told(
    steps: list[tuple[str, int, str, int]], chunks: tuple[int, int, int]
) -> None:
    with pytest.MonkeyPatch.context() as patch, ManualLoop() as loop:  # type: ignore[abstract]
        for name, value in zip(("CHUNK_BYTES", "CHUNK_MESSAGES", "ROUND_BYTES"), chunks, strict=True):
            patch.setattr(cursors if name == "ROUND_BYTES" else sequenced, name, value)
        kernel = Kernel()
        kernel.patch(patch)
        world = World(loop, kernel)
        for each in steps:
            world.do(*each)
        world.end()
