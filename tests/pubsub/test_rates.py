"""Topics with a rate: ``sample`` and ``every``."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.loop.turn import Turn
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.kit.outboxes import text
from tests.pubsub.histories import Client


class TestSample:
    @pytest.mark.parametrize("history", [0, 100])
    def test_of_a_flood_so_many(self, loop: ManualLoop, turn: Turn, history: int) -> None:
        hub = Hub()
        hub.topic("t", history=history, sample=30, keep=lambda message: message == "!")
        clients = [Client(loop, turn) for _ in range(2)]
        for client in clients:
            hub.subscribe(client, "t")
        passed = 0
        for number in range(2000):
            passed += hub.publish("t", "!" if number % 500 == 0 else str(number)) > 0
            loop.advance(0.001)
        loop.advance(2)
        texts = clients[0].texts()
        assert clients[1].texts() == texts
        assert len(texts) == passed
        assert 60 <= len(texts) - 4 <= 66
        assert texts.count("!") == 4
        for client in clients:
            assert {gap[2] for gap in client.gaps} == {"sampled"}
            assert sum(gap[1] for gap in client.gaps) == 2000 - passed
            assert len(client.gaps) == 2
        if history:
            assert [each.message for each in loop.run(hub.history("t"))] == texts

    def test_who_joins_and_who_stalls(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", sample=1)
        early, late, stalled = (Client(loop, turn) for _ in range(3))
        hub.subscribe(early, "t")
        hub.subscribe(stalled, "t")
        stalled.stall()
        for _ in range(5):
            hub.publish("t", "x")
        hub.subscribe(late, "t")
        hub.publish("t", "x")
        loop.advance(1.5)
        assert (early.gaps, late.gaps, stalled.gaps) == ([("t", 5, "sampled")], [("t", 1, "sampled")], [])
        stalled.reads_on()
        loop.advance(1)
        assert stalled.gaps == [("t", 5, "sampled")]

    def test_who_subscribes_again(self, loop: ManualLoop, turn: Turn) -> None:
        """Twice changes nothing; and one that left is told what was left out since it is here again."""
        hub = Hub()
        hub.topic("t", sample=1)
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        for _ in range(4):
            hub.publish("t", "x")
        hub.subscribe(client, "t")
        loop.advance(1.5)
        assert client.gaps == [("t", 3, "sampled")]
        for _ in range(3):
            hub.publish("t", "x")
            hub.unsubscribe(client, "t")
            hub.subscribe(client, "t")
            hub.publish("t", "x")
        loop.advance(1.5)
        assert client.gaps == [("t", 3, "sampled"), ("t", 1, "sampled")]

    def test_bad_declarations(self) -> None:
        hub = Hub()
        for options in ({"keep": len}, {"sample": 5, "keep": 5}, {"sample": "x"}):
            with pytest.raises(TypeError):
                hub.topic("t", **options)  # type: ignore[arg-type]
        for wrong in ({"sample": 0}, {"sample": 5, "mode": "keyed"}, {"max_rate": -1}):
            with pytest.raises(ValueError):
                hub.topic("t", **wrong)  # type: ignore[arg-type]


class TestEvery:
    @pytest.mark.parametrize("history", [0, 100])
    def test_what_is_published_within_it_leaves_together(
        self, loop: ManualLoop, turn: Turn, history: int
    ) -> None:
        hub = Hub()
        hub.topic("t", history=history, every=0.1)
        client, other = Client(loop, turn), Client(loop, turn)
        hub.subscribe(client, "t")
        hub.subscribe(other, "t")
        excluded: dict[str, Any] = {} if history else {"exclude": other}
        assert hub.publish("t", "1", **excluded) == (2 if history else 1)
        loop.advance(0.05)
        assert hub.publish("t", b"2") == 2
        assert client.frames() == []
        loop.advance(0.051)
        assert len(client.transport.writes) == 1
        assert [one.payload for one in client.frames()] == [b"1", b"2"]
        assert len(other.frames()) == (2 if history else 1)
        late = Client(loop, turn)
        hub.publish("t", "3")
        hub.subscribe(late, "t")
        loop.settle()
        assert (client.texts(), late.texts()) == (["3"], [])
        if not history:
            hub.publish("t", "4")
            hub.unsubscribe(client, "t")
            hub.publish("t", "5")
            loop.advance(1)
            assert (client.texts(), late.texts()) == (["4"], ["4", "5"])

    def test_who_waits_for_a_position_goes_at_once(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", history=5, every=0.1)
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        hub.publish("t", "1")
        published = loop.run(hub.publish_confirmed("t", "2"))
        assert published.at.offset == 2
        loop.settle()
        assert client.texts() == ["1", "2"]
        with pytest.raises(TypeError, match="exclude="):
            hub.publish("t", "3", exclude=client)
        with pytest.raises(TypeError, match="str or bytes"):
            hub.publish("t", 3)  # type: ignore[arg-type]

    @pytest.mark.parametrize("options", [{"mode": "keyed"}, {"history": 5}, {}])
    def test_a_hub_that_is_closed(self, loop: ManualLoop, turn: Turn, options: dict[str, Any]) -> None:
        hub = Hub()
        hub.topic("t", every=3600, **options)
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        loop.settle()
        client.frames()
        hub.publish("t", "1", key="a" if "mode" in options else None)
        loop.run(hub.close())
        loop.settle()
        assert client.frames()[0].payload in (b'{"t":"t","set":{"a":1}}', b"1")
        hub.publish("t", "2", key="a" if "mode" in options else None)
        loop.advance(3600)
        assert client.frames()[0].payload in (b'{"t":"t","set":{"a":2}}', b"2")

    def test_one_that_fails_keeps_nothing_from_the_others(
        self, loop: ManualLoop, turn: Turn, caplog: pytest.LogCaptureFixture
    ) -> None:
        hub = Hub()
        hub.topic("t", every=0.1)
        hub.topic("u", every=0.1, merge=",")
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        hub.subscribe(client, "u")
        with pytest.raises(TypeError, match="merges text"):
            hub.publish("u", b"binary")
        hub.publish("u", "1")
        hub.publish("t", "2")
        hub.publish("u", "3")
        loop.advance(0.1)
        assert client.texts() == ["1,3", "2"]
        assert caplog.text == ""


class TestOtherProcesses:
    def test_what_comes_from_one(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", sample=1, keep=lambda message: message == "!")
        client, paced = Client(loop, turn), Client(loop, turn)
        hub.subscribe(client, "t")
        hub.subscribe(paced, "t", max_rate=1)
        body = b"".join(map(text, ["0", "1", "2", "!"]))
        hub._receive_run("t", body, 4)
        loop.advance(2.5)
        assert (client.texts(), client.gaps) == (["0", "!"], [("t", 2, "sampled")])
        assert (paced.texts(), sum(gap[1] for gap in paced.gaps)) == (["!"], 3)


class TestWhatFails:
    def test_keep(self, loop: ManualLoop, turn: Turn, caplog: pytest.LogCaptureFixture) -> None:
        hub = Hub()
        hub.topic("t", sample=1, keep=lambda message: message[5] == "!")
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        assert (hub.publish("t", "1"), hub.publish("t", "2"), hub.publish("t", "12345!")) == (1, 0, 1)
        loop.settle()
        assert client.texts() == ["1", "12345!"]
        assert "keep= of topic 't' has failed" in caplog.text

    def test_what_cannot_be_sent_ends_one_client(
        self, loop: ManualLoop, turn: Turn, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(Client):
            def encode_publication(self, entry: Any) -> bytes:
                raise MemoryError("no room")

        hub = Hub()
        broken, other = Broken(loop, turn), Client(loop, turn)
        broken.outbox.frame_variant = -1
        for client in (broken, other):
            hub.subscribe(client, "t", max_rate=5)
        hub.publish("t", "1")
        loop.advance(1)
        assert (broken.evicted, other.texts(), hub.count("t")) == (["too slow"], ["1"], 1)
        assert "cannot be sent" in caplog.text


def test_a_flood_goes_on_in_another_loop_of_the_same_thread() -> None:
    """Whoever runs a loop after the other has its hub in both."""
    hub = Hub()
    hub.topic("t", sample=10)
    shown = []
    for start in (1000.0, 2000.0):
        with ManualLoop(start) as loop:  # type: ignore[abstract]
            client = Client(loop, Turn(loop.call_soon, loop.time))
            hub.subscribe(client, "t")
            shown.append([hub.publish("t", str(number)) for number in range(3)])
            loop.advance(1)
            assert client.gaps == [("t", 2, "sampled")]
            client.outbox.leave_topics()
    assert shown == [[1, 0, 0], [1, 0, 0]]
