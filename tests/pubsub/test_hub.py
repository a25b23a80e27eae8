"""Topics: who hears what, in which order, merged and compressed how."""

from __future__ import annotations

import asyncio
import enum
import threading
import weakref
from typing import Any

import pytest

import fastws
from fastws.config import Compression, SlowConsumerPolicy
from fastws.connection.publication import MERGE_BYTES, MERGE_MESSAGES
from fastws.loop.turn import Turn
from fastws.protocol.websocket.deflate import Inflater
from fastws.pubsub.hub import Hub
from fastws.testing.wire import BINARY, TEXT
from tests.conftest import Run
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer, text


class TestMembership:
    def test_from_now_on_and_until_now(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        first = Peer(loop, turn)
        hub.subscribe(first, "t")
        hub.publish("t", "before")
        hub.subscribe(peer, "t")
        hub.subscribe(peer, "t")
        hub.publish("t", "heard")
        hub.unsubscribe(peer, "t")
        hub.unsubscribe(peer, "t")
        hub.publish("t", "after")
        loop.settle()
        assert peer.texts() == ["heard"]
        assert first.texts() == ["before", "heard", "after"]

    def test_who_listens(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        one, two = Peer(loop, turn), Peer(loop, turn)
        assert hub.subscribers("t") == []
        hub.subscribe(two, "t")
        hub.subscribe(one, "t")
        hub.subscribe(one, "u")
        assert (hub.subscribers("t"), hub.subscribers("u")) == ([two, one], [one])
        two.outbox.leave_topics()
        assert hub.subscribers("t") == [one]

    def test_counts_and_names(self, loop: ManualLoop, turn: Turn) -> None:
        hub, other = Hub(), Hub()
        one, two = Peer(loop, turn), Peer(loop, turn)
        assert (hub.count("t"), list(hub.topics(one))) == (0, [])
        hub.subscribe(one, "t")
        hub.subscribe(two, "t")
        hub.subscribe(one, "u")
        other.subscribe(one, "t")
        assert (hub.count("t"), hub.count("u"), other.count("t")) == (2, 1, 1)
        assert (sorted(hub.topics(one)), list(other.topics(one))) == (["t", "u"], ["t"])
        assert (hub.publish("t", "x"), hub.publish("t", "x", exclude=one), hub.publish("nobody", "x")) == (
            2,
            1,
            0,
        )
        loop.settle()

    def test_who_closes_leaves_every_topic(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        for topic in "tu":
            hub.subscribe(peer, topic)
        peer.outbox.leave_topics()
        peer.outbox.leave_topics()
        assert (hub.count("t"), hub.count("u"), list(hub.topics(peer))) == (0, 0, [])
        hub.unsubscribe(peer, "t")
        peer.outbox.is_open = False
        hub.subscribe(peer, "t")
        assert hub.count("t") == 0

    def test_undeclared_topics_leave_with_their_last_subscriber(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        hub.topic("declared", merge="\n")
        for topic in ("declared", "made by the way"):
            hub.subscribe(peer, topic)
            hub.unsubscribe(peer, topic)
        with pytest.raises(ValueError, match="exists"):
            hub.topic("declared")
        hub.topic("made by the way")

    def test_a_topic_that_leaves_and_comes_again_in_one_turn(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer, other = Hub(), Peer(loop, turn), Peer(loop, turn)
        hub.subscribe(peer, "t")
        hub.publish("t", "1")
        hub.unsubscribe(peer, "t")
        hub.subscribe(other, "t")
        hub.subscribe(peer, "t")
        hub.publish("t", "2")
        loop.settle()
        assert (peer.texts(), other.texts()) == (["1", "2"], ["2"])

    def test_who_is_evicted_while_it_subscribes_stays_out(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn, limits=(1, 1000))
        other = Peer(loop, turn)
        for topic in "tu":
            hub.subscribe(other, topic)
        hub.subscribe(peer, "t")
        peer.stall()
        for topic in "ttu":
            hub.publish(topic, "x")
        hub.subscribe(peer, "u")
        assert peer.evicted == ["too slow"]
        assert (hub.count("t"), hub.count("u")) == (1, 1)
        loop.settle()

    def test_who_is_evicted_while_it_unsubscribes(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn, limits=(1, 1000))
        hub.subscribe(peer, "t")
        peer.stall()
        hub.publish("t", "x")
        hub.publish("t", "x")
        hub.unsubscribe(peer, "t")
        assert (peer.evicted, hub.count("t")) == (["too slow"], 0)
        loop.settle()

    def test_one_loop_at_a_time(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        here, elsewhere = Peer(loop, turn), Peer(loop, Turn(loop.call_soon))
        hub.subscribe(here, "t")
        with pytest.raises(RuntimeError, match="publish_threadsafe"):
            hub.subscribe(elsewhere, "t")
        hub.unsubscribe(here, "t")
        hub.subscribe(elsewhere, "t")
        assert hub.publish("t", "x") == 1
        loop.settle()


class TestMessages:
    @pytest.mark.parametrize("message", [b"\xff", bytearray(b"\xff"), memoryview(b"\xff")])
    def test_binary(self, loop: ManualLoop, turn: Turn, message: Any) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        hub.subscribe(peer, "t")
        hub.publish("t", message)
        loop.settle()
        assert [(one.opcode, one.payload) for one in peer.frames()] == [(BINARY, b"\xff")]

    @pytest.mark.parametrize("message", [5, None, ["a"], 1.5])
    def test_what_is_no_message(self, loop: ManualLoop, turn: Turn, message: Any) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        hub.subscribe(peer, "t")
        with pytest.raises(TypeError, match="str or bytes"):
            hub.publish("t", message)
        loop.settle()
        assert peer.frames() == []

    def test_what_is_no_member(self) -> None:
        with pytest.raises(TypeError, match="a hub takes a fastws.WebSocket .*, not int"):
            Hub().subscribe(5, "t")

    def test_what_is_no_message_is_told_before_anybody_listens(self) -> None:
        for message in ({"p": 1}, None, 5):
            with pytest.raises(TypeError, match="str or bytes"):
                Hub().publish("t", message)  # type: ignore[arg-type]

    def test_a_name_may_be_of_a_class_of_text(self, loop: ManualLoop, turn: Turn) -> None:
        class Symbol(enum.StrEnum):
            A = "a"
            B = "b"

        hub, peer = Hub(), Peer(loop, turn)
        hub.topic(Symbol.B)
        for name in Symbol:
            hub.subscribe(peer, name)
        assert (hub.publish(Symbol.A, "1"), hub.publish("b", "2"), hub.count("a")) == (1, 1, 1)
        loop.settle()
        assert peer.texts() == ["1", "2"]
        assert list(hub.topics(peer)) == ["a", "b"]
        hub.unsubscribe(peer, Symbol.A)
        assert hub.count("a") == 0

    def test_exclusions(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        one, two, stranger = (Peer(loop, turn) for _ in range(3))
        for peer in (one, two):
            hub.subscribe(peer, "t")
        hub.publish("t", "1")
        hub.publish("t", "2", exclude=one)
        hub.publish("t", "3", exclude=two)
        assert hub.publish("t", "4", exclude=stranger) == 2
        hub.publish("t", "5", exclude=one)
        loop.settle()
        assert (one.texts(), two.texts()) == (["1", "3", "4"], ["1", "2", "4", "5"])

    def test_policies_by_name(self) -> None:
        hub = Hub(policy="drop_newest")
        assert hub.topic("a").policy is SlowConsumerPolicy.DROP_NEWEST
        assert hub.topic("b", policy="drop_oldest").policy is SlowConsumerPolicy.DROP_OLDEST
        with pytest.raises(ValueError, match="wait"):
            Hub(policy="wait")


class TestMerge:
    def publish(self, loop: ManualLoop, turn: Turn, messages: list[str]) -> list[str]:
        hub, peer = Hub(), Peer(loop, turn)
        hub.topic("t", merge="\n")
        hub.subscribe(peer, "t")
        for message in messages:
            hub.publish("t", message)
        loop.settle()
        assert peer.outbox.sent_messages == len(messages)
        return peer.texts()

    def test_one_turn_is_one_message(self, loop: ManualLoop, turn: Turn) -> None:
        assert self.publish(loop, turn, ["a", "", "ü"]) == ["a\n\nü"]

    def test_alone(self, loop: ManualLoop, turn: Turn) -> None:
        assert self.publish(loop, turn, ["a"]) == ["a"]

    def test_at_most_so_many_messages(self, loop: ManualLoop, turn: Turn) -> None:
        got = self.publish(loop, turn, ["x"] * (2 * MERGE_MESSAGES + 1))
        assert [one.count("x") for one in got] == [MERGE_MESSAGES, MERGE_MESSAGES, 1]

    def test_at_most_so_many_bytes(self, loop: ManualLoop, turn: Turn) -> None:
        third = "x" * (MERGE_BYTES // 3)
        got = self.publish(loop, turn, [third] * 5 + ["y" * 2 * MERGE_BYTES, "z"])
        assert [len(one) // len(third) for one in got] == [2, 2, 1, 6, 0]
        assert got[-1] == "z"

    def test_the_separator_is_text(self) -> None:
        with pytest.raises(TypeError, match="merge= is the text between two messages, not bytes"):
            Hub().topic("t", merge=b"\n")  # type: ignore[arg-type]

    def test_text_only(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        hub.topic("t", merge="\n")
        hub.subscribe(peer, "t")
        with pytest.raises(TypeError, match="merges"):
            hub.publish("t", b"x")

    def test_a_message_in_between_ends_the_run(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        hub.topic("m", merge="+")
        for topic in ("m", "plain"):
            hub.subscribe(peer, topic)
        for topic, message in zip(["m", "m", "plain", "m", "m"], "abcde", strict=True):
            hub.publish(topic, message)
        peer.outbox.push(text("own"))
        hub.publish("m", "f")
        loop.settle()
        assert peer.texts() == ["a+b", "c", "d+e", "own", "f"]


class TestCompression:
    def test_once_for_all_of_a_window(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub(compression=Compression(threshold=100))
        peers = [Peer(loop, turn) for _ in range(4)]
        for peer, variant in zip(peers, (0, 15, 15, 9), strict=True):
            peer.outbox.frame_variant = variant
            hub.subscribe(peer, "t")
        hub.publish("t", "small")
        hub.publish("t", "big " * 100)
        hub.publish("t", b"\x00" * 1000)
        loop.settle()
        assert peers[1].transport.writes == peers[2].transport.writes
        for peer in peers:
            small, big, zeros = peer.frames()
            compressed = peer.outbox.frame_variant > 0
            assert (small.rsv1, small.payload) == (False, b"small")
            assert (big.rsv1, zeros.rsv1) == (compressed, compressed)
            bits = peer.outbox.frame_variant
            payloads = [Inflater(bits)(one.payload, 2000) for one in (big, zeros)] if compressed else []
            assert payloads == ([b"big " * 100, b"\x00" * 1000] if compressed else [])
            assert (big.opcode, zeros.opcode) == (TEXT, BINARY)

    def test_the_size_that_counts_is_the_plain_one(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn, limits=(10, 10_000))
        peer.outbox.frame_variant = 15
        hub.subscribe(peer, "t")
        peer.stall()
        hub.publish("t", "x" * 5000)
        loop.settle()
        assert peer.outbox.queue_bytes == 5004
        peer.transport.take()
        assert [one.rsv1 for one in peer.frames()] == [False, True]
        assert peer.outbox.queue_bytes == 0


class TestThreads:
    def test_publish_from_another_thread(self, run: Run) -> None:
        async def scenario() -> list[str]:
            loop: Any = asyncio.get_running_loop()
            hub, peer = Hub(), Peer(loop, Turn(loop.call_soon))
            hub.publish_threadsafe("t", "nobody yet")
            hub.subscribe(peer, "t")
            thread = threading.Thread(target=hub.publish_threadsafe, args=("t", "from a thread"))
            thread.start()
            thread.join()
            for _ in range(5):
                await asyncio.sleep(0)
            return peer.texts()

        assert run(scenario()) == ["from a thread"]

    @pytest.mark.parametrize("own", [False, True], ids=["no loop", "a loop of its own"])
    @pytest.mark.parametrize("sample", [None, 30.0])
    def test_publishing_from_another_thread_is_refused(
        self, run: Run, own: bool, sample: float | None
    ) -> None:
        """It would not wake the loop, and the message left when that does something else."""
        said: list[str] = []

        async def publish(hub: Hub) -> None:
            hub.publish("t", "from a thread")

        def elsewhere(hub: Hub) -> None:
            try:
                asyncio.run(publish(hub)) if own else hub.publish("t", "from a thread")
            except RuntimeError as error:
                said.append(str(error))

        async def scenario() -> list[str]:
            loop: Any = asyncio.get_running_loop()
            hub, peer = Hub(), Peer(loop, Turn(loop.call_soon))
            hub.topic("t", sample=sample)
            hub.subscribe(peer, "t")
            await asyncio.to_thread(elsewhere, hub)
            hub.publish("t", "from the loop")
            await asyncio.sleep(0)
            return peer.texts()

        assert run(scenario()) == ["from the loop"]
        assert said == ["a hub belongs to the thread of its loop; here use publish_threadsafe"]

    def test_a_hub_that_knows_no_loop(self) -> None:
        hub = Hub()
        for options in ({"message": "x"}, {"message": b"x"}, {"json": {"a": 1}}):
            with pytest.raises(RuntimeError, match="async with hub"):
                hub.publish_threadsafe("t", **options)
        with pytest.raises(ValueError, match="no keys"):
            hub.publish_threadsafe("t", "x", key="a")

    def test_ways_to_know_the_loop(self, run: Run) -> None:
        """Made on it, started, or with a server."""
        early = [Hub(), Hub(), Hub()]
        for hub in early:
            with pytest.raises(RuntimeError, match="async with hub"):
                hub.publish_threadsafe("t", "too early")

        async def scenario() -> list[str]:
            loop: Any = asyncio.get_running_loop()
            peer = Peer(loop, Turn(loop.call_soon))
            await early[0].start()
            async with early[1].lifespan(None):
                early[1].publish_threadsafe("t", "to nobody")
            async with fastws.serve(fastws.Handler(), "127.0.0.1", 0):
                for number, hub in enumerate([*early, Hub()]):
                    await asyncio.to_thread(hub.publish_threadsafe, "t", str(number))
                    hub.subscribe(peer, "t")
                    await asyncio.to_thread(hub.publish_threadsafe, "t", f"{number} again")
            for _ in range(5):
                await asyncio.sleep(0)
            return peer.texts()

        assert sorted(run(scenario())) == [f"{number} again" for number in range(4)]

    def test_a_hub_of_the_loop_of_another_server(self) -> None:
        """The first server of a process does not bind hubs that are used on another loop."""
        plain, kept = Hub(), Hub()
        kept.topic("t", history=5)

        async def first() -> None:
            async with fastws.serve(fastws.Handler(), "127.0.0.1", 0):
                await asyncio.to_thread(asyncio.run, second())

        async def second() -> None:
            loop: Any = asyncio.get_running_loop()
            for hub in (plain, kept):
                peer = Peer(loop, Turn(loop.call_soon))
                hub.subscribe(peer, "t")
                hub.publish("t", "1")
                await asyncio.to_thread(hub.publish_threadsafe, "t", "2")
                for _ in range(5):
                    await asyncio.sleep(0)
                assert peer.texts() == ["1", "2"]

        asyncio.run(first())

    def test_what_is_changed_afterwards_is_sent_as_it_was(self, loop: ManualLoop) -> None:
        hub, peer = Hub(), Peer(loop, Turn(loop.call_soon))
        hub.subscribe(peer, "t")
        message = bytearray(b"before")
        hub.publish_threadsafe("t", message)
        message[:] = b"after!"
        loop.settle()
        assert [one.payload for one in peer.frames()] == [b"before"]

    def test_what_is_no_message_is_said_to_the_caller(self, loop: ManualLoop) -> None:
        hub = Hub()
        with pytest.raises(TypeError, match="a message is"):
            hub.publish_threadsafe("t", 1)  # type: ignore[arg-type]

    def test_after_the_end_of_the_loop(self) -> None:
        hub = Hub()

        async def scenario() -> None:
            loop: Any = asyncio.get_running_loop()
            hub.subscribe(Peer(loop, Turn(loop.call_soon)), "t")

        asyncio.run(scenario())
        with pytest.raises(RuntimeError, match="closed"):
            hub.publish_threadsafe("t", "too late")


def test_a_hub_is_open_as_any_class_of_pythons() -> None:
    class Counting(Hub):
        published = 0
        owner = "nobody"

        def publish(self, topic: str, message: str | bytes, *, exclude: Any = None) -> int:
            self.published += 1
            return super().publish(topic, message, exclude=exclude)

    hub, plain = Counting(), Hub()
    hub.owner = plain.owner = "somebody"  # type: ignore[attr-defined]
    assert hub.publish("nowhere", "x") == 0
    assert (hub.published, vars(hub)["owner"], vars(plain)["owner"]) == (1, "somebody", "somebody")
    noticed = weakref.ref(hub)
    del hub
    assert noticed() is None
