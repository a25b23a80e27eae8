"""The order of what a client receives, and the policies, at random against a model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastws.config import SlowConsumerPolicy
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import encode_close
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CLOSE, TEXT
from tests.kit import Kernel, ManualLoop
from tests.kit.outboxes import Peer, text

CLIENTS, TOPICS = 4, ("plain", "other", "merges", "merges too")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["subscribe", "unsubscribe"]),
            st.integers(0, CLIENTS - 1),
            st.sampled_from(TOPICS),
        ),
        st.tuples(st.just("publish"), st.integers(-1, CLIENTS - 1), st.sampled_from(TOPICS)),
        st.tuples(st.just("publish"), st.just(-1), st.sampled_from(TOPICS)),
        st.tuples(
            st.sampled_from(["send", "stall", "take a little", "take"]),
            st.integers(0, CLIENTS - 1),
            st.just(""),
        ),
        st.tuples(st.just("close"), st.integers(0, CLIENTS - 1), st.just("")),
        st.tuples(st.just("turn"), st.just(0), st.just("")),
    ),
    max_size=50,
)


class World:
    """Clients of every kind, a hub, and what each client must receive: the order of the calls for it."""

    def __init__(self, loop: ManualLoop, kernel: Kernel) -> None:
        self.loop = loop
        turn = Turn(loop.call_soon)
        self.hub = Hub()
        self.hub.topic("merges", merge="\n")
        self.hub.topic("merges too", merge="\n")
        self.peers = [Peer(loop, turn, kernel=direct) for direct in (None, kernel, None, None)]
        self.peers[2].outbox.frame_variant = -1
        self.peers[3].outbox.frame_variant = 12
        self.expected: list[list[str]] = [[] for _ in self.peers]
        self.listens: list[set[str]] = [set() for _ in self.peers]
        self.closed: set[int] = set()
        # Not all by chance: what goes wrong needs clients that listen to several topics.
        for client in range(CLIENTS):
            for topic in TOPICS[client % 2 :]:
                self.do(0, "subscribe", client, topic)

    def do(self, number: int, verb: str, client: int, topic: str) -> None:
        peer, message = self.peers[client], str(number)
        if verb == "subscribe":
            self.hub.subscribe(peer, topic)
            if client not in self.closed:
                self.listens[client].add(topic)
        elif verb == "unsubscribe":
            self.hub.unsubscribe(peer, topic)
            self.listens[client].discard(topic)
        elif verb == "publish":
            excluded = peer if client >= 0 else None
            heard = [n for n, topics in enumerate(self.listens) if topic in topics and n != client]
            assert self.hub.publish(topic, message, exclude=excluded) == len(heard)
            for listener in heard:
                self.expected[listener].append(message)
        elif verb == "send":
            if peer.outbox.takes_messages():
                peer.outbox.push_message(message)
            else:
                peer.outbox.push(text(message))
            if client not in self.closed:
                self.expected[client].append(message)
        elif verb == "close":
            peer.outbox.push_last(encode_close(1000, "", None))
            peer.outbox.leave_topics()
            self.listens[client].clear()
            self.closed.add(client)
        elif verb == "turn":
            self.loop.turn()
        else:
            self.read(peer, verb)

    def read(self, peer: Peer, verb: str) -> None:
        if verb == "stall":
            peer.transport.room = peer.transport.room or 0
        elif verb == "take a little":
            peer.transport.take(7)
        else:
            peer.transport.take()

    def received(self, client: int) -> list[str]:
        """What one client got, in its order; merged messages taken apart."""
        frames = self.peers[client].frames()
        if client in self.closed:
            assert frames.pop().opcode == CLOSE
        assert all(one.opcode == TEXT for one in frames)
        return [piece for one in frames for piece in one.text.split("\n")]


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_a_client_receives_in_the_order_of_the_calls_for_it(steps: list[tuple[str, int, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch, ManualLoop() as loop:  # type: ignore[abstract]
        kernel = Kernel()
        kernel.patch(patch)
        world = World(loop, kernel)
        for number, step in enumerate(steps):
            world.do(number, *step)
        loop.settle()
        for peer in world.peers:
            peer.transport.take()
        loop.settle()
        for client in range(CLIENTS):
            assert world.received(client) == world.expected[client]
            outbox = world.peers[client].outbox
            assert outbox.sent_messages == len(world.expected[client])
            assert (outbox.queued, outbox.queue_bytes, outbox.buffered_amount) == (0, 0, 0)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(list(SlowConsumerPolicy)),
    st.integers(1, 6),
    st.integers(1, 80),
    st.lists(st.tuples(st.sampled_from(["topic", "own", "turn"]), st.integers(0, 30)), max_size=40),
)
def test_policies_against_a_model(
    policy: SlowConsumerPolicy, messages: int, size: int, steps: list[tuple[str, int]]
) -> None:
    """A client that reads nothing: what it gets later, and how many were dropped, to the last one."""
    with ManualLoop() as loop:  # type: ignore[abstract]
        hub, peer = Hub(policy=policy), Peer(loop, Turn(loop.call_soon), limits=(messages, size))
        hub.subscribe(peer, "t")
        peer.stall()
        queue: list[tuple[str, str]] = []
        dropped, evicted = 0, False

        def is_full(more: int) -> bool:
            held = sum(len(text(message)) for _, message in queue)
            return bool(queue) and (len(queue) >= messages or held + more > size)

        for number, (kind, length) in enumerate(steps):
            message = f"{number}".ljust(length, ".")
            if kind == "turn":
                loop.turn()
                continue
            if kind == "own":
                peer.outbox.push(text(message))
            else:
                hub.publish("t", message)
            if evicted:
                continue
            more = len(text(message))
            if kind == "topic" and policy is SlowConsumerPolicy.DROP_OLDEST:
                while is_full(more) and any(one == "topic" for one, _ in queue):
                    queue.remove(next(one for one in queue if one[0] == "topic"))
                    dropped += 1
            if not is_full(more):
                queue.append((kind, message))
            elif kind == "topic" and policy is SlowConsumerPolicy.EVICT:
                evicted = True
            else:
                dropped += 1
        loop.settle()
        assert bool(peer.evicted) is evicted
        assert peer.outbox.dropped == dropped
        peer.transport.take()
        frames = peer.frames()
        if evicted:
            assert [one.opcode for one in frames] == [TEXT, CLOSE]
        else:
            assert [one.text for one in frames[1:]] == [message for _, message in queue]
