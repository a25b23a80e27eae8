"""Subscriptions with a ``max_rate``."""

from __future__ import annotations

import gc
import json
from typing import Any
from weakref import ref

import pytest

from fastws.loop.turn import Turn
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.pubsub.histories import STEP, Client, never_more_than, times_of
from tests.pubsub.mirrors import Mirror


class TestMaxRate:
    @pytest.mark.parametrize("history", [0, 5, 1000])
    def test_a_stream_is_the_newest(self, loop: ManualLoop, turn: Turn, history: int) -> None:
        hub = Hub()
        if history:
            hub.topic("t", history=history)
        paced, other = Client(loop, turn), Client(loop, turn)
        hub.subscribe(paced, "t", max_rate=10)
        hub.subscribe(other, "t")
        assert (hub.count("t"), hub.topics(paced), hub.subscribers("t")) == (2, ["t"], [other, paced])
        seen: list[tuple[float, str]] = []
        for number in range(800):
            assert hub.publish("t", str(number)) == 2
            loop.settle()
            times_of(loop, paced, seen)
            loop.advance(STEP)
            times_of(loop, paced, seen)
        published = loop.time()
        for _ in range(30):
            loop.advance(STEP)
            times_of(loop, paced, seen)
        never_more_than(10, seen)
        assert 30 <= len(seen) <= 33
        assert seen[-1][1] == "799"
        assert seen[-1][0] <= published + 0.1
        loop.advance(2)
        missed = sum(gap[1] for gap in paced.gaps)
        assert {gap[2] for gap in paced.gaps} == {"sampled"}
        assert missed + len(seen) == 800
        assert len(paced.gaps) <= 5
        assert len(other.texts()) == 800
        assert other.gaps == []

    def test_what_is_slower_comes_at_once_and_whole(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        client = Client(loop, turn)
        hub.subscribe(client, "t", max_rate=10)
        for number in range(20):
            hub.publish("t", str(number))
            loop.advance(0.11)
            assert client.texts() == [str(number)]
        assert client.gaps == []

    def test_keyed_is_all_that_has_changed(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed")
        for number in range(10):
            hub.publish("t", "0", key=f"k{number}")
        paced, other = Mirror(loop, turn), Mirror(loop, turn)
        synced = hub.subscribe(paced, "t", max_rate=4)
        assert synced is not None and synced.snapshot
        hub.subscribe(other, "t")
        seen: list[tuple[float, str]] = []
        for number in range(1, 800):
            hub.publish("t", str(number), key=f"k{number % 10}")
            if number == 400:
                hub.remove("t", "k3")
            for step in (0, STEP):
                loop.advance(step)
                seen += [(loop.time(), json.dumps(message)) for message in paced.read()]
        for _ in range(200):
            loop.advance(0.01)
            seen += [(loop.time(), json.dumps(message)) for message in paced.read()]
        other.read()
        assert "snap" in seen[0][1]
        never_more_than(4, seen[1:])
        assert paced.state == other.state
        assert paced.at == other.at == str(loop.run(hub.position("t")))
        assert paced.gaps == []
        assert len(other.messages) > 100

    def test_keyed_counts_batches_and_the_last_one_is_in_time(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed")
        paced = Mirror(loop, turn)
        hub.subscribe(paced, "t", max_rate=10)
        loop.advance(1)
        paced.read()
        seen: list[tuple[float, str]] = []
        for number in range(1000):
            hub.publish("t", str(number), key=f"k{number % 50}")
            published = loop.time()
            for step in (0, STEP):
                loop.advance(step)
                seen += [(loop.time(), json.dumps(message)) for message in paced.read()]
        loop.advance(0)
        while "999" not in seen[-1][1] and loop.time() < published + 1:
            loop.advance(0.005)
            seen += [(loop.time(), json.dumps(message)) for message in paced.read()]
        never_more_than(10, seen)
        changes = [text for _, text in seen if '"set"' in text]
        assert sum(text.count('"k') for text in changes) > 5 * len(changes), "a batch has many keys"
        # The tick of the topic comes first (0.025 s), then its turn at ten a second.
        assert seen[-1][0] <= published + 0.025 + 0.1 + 0.005

    def test_the_kernel_holds_little_of_what_is_replaced(self, loop: ManualLoop, turn: Turn) -> None:
        class Fresh(Client):
            fresh = 0

            def keep_fresh(self) -> None:
                self.fresh += 1

        hub = Hub()
        hub.topic("keyed", mode="keyed")
        client = Fresh(loop, turn)
        hub.subscribe(client, "t", max_rate=5)
        assert client.fresh == 0
        hub.subscribe(client, "keyed", max_rate=5)
        assert client.fresh == 1

    def test_a_return(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed")
        hub.topic("kept", history=50)
        hub.publish("t", "1", key="a")
        at, kept_at = loop.run(hub.position("t")), loop.run(hub.position("kept"))
        hub.publish("t", "2", key="b")
        for number in range(10):
            hub.publish("kept", str(number))
        client = Mirror(loop, turn)
        synced = hub.subscribe(client, "t", since=at, max_rate=5)
        assert synced is not None and synced.resumed
        kept = hub.subscribe(client, "kept", since=kept_at, max_rate=5)
        assert kept is not None and kept.resumed
        loop.advance(0.01)
        assert client.texts() == ['{"t":"t","set":{"b":2}}', "9"]
        assert client.gaps == [("kept", 9, "sampled")]
        again = hub.subscribe(client, "t", max_rate=5)
        assert again is not None and again.at == at.after(1)
        with pytest.raises(ValueError, match="subscribed already"):
            hub.subscribe(client, "kept", since=kept_at, max_rate=5)
        hub.unsubscribe(client, "t")
        hub.unsubscribe(client, "kept")
        assert (hub.count("t"), hub.count("kept"), hub.topics(client)) == (0, 0, [])
        hub.publish("kept", "10")
        hub.publish("t", "3", key="b")
        loop.advance(1)
        assert client.frames() == []

    def test_who_stalls(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        client = Client(loop, turn)
        hub.subscribe(client, "t", max_rate=10)
        client.stall()
        for number in range(500):
            hub.publish("t", str(number))
            loop.advance(STEP)
            assert client.outbox.queued == 0
        client.reads_on()
        loop.advance(0.11)
        assert client.texts() == ["stalls", "499"]
        assert client.gaps == [("t", 499, "sampled")]
        client.outbox.leave_topics()
        assert hub.count("t") == 0
        hub.publish("t", "x")
        loop.advance(1)

    @pytest.mark.parametrize("options", [{"mode": "keyed"}, {"history": 5}, {}])
    @pytest.mark.parametrize("changes", [1, 3])
    def test_a_socket_that_was_blocked_is_not_waited_for_by_time(
        self, loop: ManualLoop, turn: Turn, options: dict[str, Any], changes: int
    ) -> None:
        """What could not be sent at its time is sent when the socket takes it, and is the newest."""
        hub = Hub()
        hub.topic("t", **options)
        is_keyed = "mode" in options
        for key in "abcde":
            hub.publish("t", "0", key=key if is_keyed else None)
        loop.advance(1)
        client = Client(loop, turn)
        client.stall()
        hub.subscribe(client, "t", max_rate=0.01)
        for number in range(1, changes + 1):
            hub.publish("t", str(number), key="a" if is_keyed else None)
            loop.advance(1)
        client.reads_on()
        _, *texts = client.texts()
        snap = f'{{"t":"t","snap":{{"b":0,"c":0,"d":0,"e":0,"a":{changes}}}}}'
        assert texts == [snap if is_keyed else str(changes)]

    @pytest.mark.parametrize("after", ["unsubscribe", "leave"])
    def test_who_leaves_with_a_socket_that_is_blocked(self, loop: ManualLoop, turn: Turn, after: str) -> None:
        hub = Hub()
        client = Client(loop, turn)
        hub.subscribe(client, "t", max_rate=1)
        client.stall()
        hub.publish("t", "1")
        loop.advance(2)
        if after == "leave":
            client.outbox.leave_topics()
        else:
            hub.unsubscribe(client, "t")
        client.reads_on()
        loop.advance(2)
        assert client.texts() == ["stalls"]
        gone = ref(client)
        del client
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("options", [{"mode": "keyed"}, {"history": 5}, {}])
    def test_a_hub_that_is_closed(self, loop: ManualLoop, turn: Turn, options: dict[str, Any]) -> None:
        hub = Hub()
        hub.topic("t", **options)
        client = Client(loop, turn)
        hub.subscribe(client, "t", max_rate=10)
        loop.run(hub.close())
        hub.publish("t", "1", key="a" if "mode" in options else None)
        loop.advance(0.2)
        assert client.frames()[-1 if "mode" not in options else -2].payload in (
            b'{"t":"t","set":{"a":1}}',
            b"1",
        )

    def test_the_least_of_both_counts(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("slow/*", max_rate=2)
        counts = []
        for rate in (None, 1, 10):
            client = Client(loop, turn)
            hub.subscribe(client, "slow/a", max_rate=rate)
            for number in range(100):
                hub.publish("slow/a", str(number))
                loop.advance(0.05)
            counts.append(len(client.texts()))
            hub.unsubscribe(client, "slow/a")
        assert counts == [10, 5, 10]

    def test_not_twice_and_bad_rates(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        with pytest.raises(ValueError, match="subscribed already"):
            hub.subscribe(client, "t", max_rate=5)
        with pytest.raises(ValueError, match="max_rate is more than 0"):
            hub.subscribe(client, "u", max_rate=0)
        hub.topic("keyed", mode="keyed")
        with pytest.raises(ValueError, match="recent= is not for it"):
            hub.subscribe(client, "keyed", recent=1, max_rate=5)
        with pytest.raises(TypeError, match="max_rate is a number"):
            hub.subscribe(client, "u", max_rate="5")  # type: ignore[arg-type]

    @pytest.mark.parametrize("others", [0, 1])
    def test_who_is_not_to_hear_itself(self, loop: ManualLoop, turn: Turn, others: int) -> None:
        hub = Hub()
        author, reader = Client(loop, turn), Client(loop, turn)
        for client in (author, reader):
            hub.subscribe(client, "t", max_rate=10)
        for _ in range(others):
            hub.subscribe(Client(loop, turn), "t")
        assert hub.publish("t", "own", exclude=author) == 1 + others
        loop.advance(1)
        assert (author.texts(), reader.texts()) == ([], ["own"])
        for text_, given in (("1", {}), ("2", {}), ("3", {}), ("own", {"exclude": author})):
            hub.publish("t", text_, **given)
        hub.publish("t", "own", exclude=author)
        loop.advance(2)
        assert (author.texts(), reader.texts()) == (["3"], ["own"])
        assert (author.gaps, reader.gaps) == ([("t", 2, "sampled")], [("t", 4, "sampled")])
        hub.publish("t", "4")
        hub.publish("t", "own", exclude=author)
        hub.publish("t", "5")
        loop.advance(2)
        assert author.texts() == reader.texts() == ["5"]
        assert (author.gaps[1:], reader.gaps[1:]) == ([("t", 1, "sampled")], [("t", 2, "sampled")])
        for number in range(6, 8):
            hub.publish("t", str(number))
            hub.publish("t", "own", exclude=author)
        loop.advance(2)
        assert (author.texts(), author.gaps[2:]) == (["7"], [("t", 1, "sampled")])

    def test_what_a_gap_makes_the_handler_do(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()

        class Leaving(Client):
            def tell_gap(self, topic: str, missed: int, reason: str) -> bool:
                hub.unsubscribe(self, topic)
                return super().tell_gap(topic, missed, reason)

        client = Leaving(loop, turn)
        hub.subscribe(client, "t", max_rate=5)
        for number in range(10):
            hub.publish("t", str(number))
        loop.advance(1)
        assert (client.texts(), client.gaps, hub.count("t")) == ([], [("t", 9, "sampled")], 0)

    def test_who_stalls_is_not_asked_again(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        client = Client(loop, turn)
        hub.subscribe(client, "t", max_rate=1e9)
        client.stall()
        hub.publish("t", "1")
        loop.settle()
        assert loop.timers == []

    @pytest.mark.parametrize("step", [0, 1])
    def test_nothing_is_kept_of_who_has_left(self, loop: ManualLoop, turn: Turn, step: int) -> None:
        """However long it would have waited for its time, and where nothing is published meanwhile."""
        hub = Hub()
        staying = Client(loop, turn)
        hub.subscribe(staying, "t", max_rate=0.0001)
        gone = []
        for _ in range(300):
            client = Client(loop, turn)
            gone.append(ref(client))
            hub.subscribe(client, "t", max_rate=0.0001)
            for _ in range(2 * step):
                hub.publish("t", "x")
                loop.advance(0.01)
            client.outbox.leave_topics()
        del client
        gc.collect()
        assert sum(each() is not None for each in gone) <= 130
