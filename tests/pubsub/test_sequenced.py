"""Topics with a history: what is published, kept, replayed, told; and what is refused."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from typing import Any

import pytest

from fastws.config import Compression
from fastws.loop.turn import Turn
from fastws.protocol.websocket.deflate import Inflater
from fastws.pubsub import sequencer
from fastws.pubsub.bus.registry import installed
from fastws.pubsub.classes import TopicClass
from fastws.pubsub.events import Message, Position, Published, Synced
from fastws.pubsub.hub import Hub
from fastws.pubsub.ticks import Tickers
from tests.conftest import Run
from tests.kit import ManualLoop
from tests.kit.buses import Bus
from tests.pubsub.histories import Client, publish


class TestPublishing:
    def test_nobody_has_to_listen(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        publish(hub, "t", 1, 3)
        client = Client(loop, turn)
        synced = hub.subscribe(client, "t", recent=2)
        assert synced is not None
        assert (synced.at.offset, synced.resumed, synced.missed, synced.reason) == (1, None, 0, None)
        assert hub.publish("t", "4") == 1
        loop.settle()
        assert client.texts() == ["2", "3", "4"]

    def test_all_have_the_same_messages(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        with pytest.raises(TypeError, match="exclude= .*numbered for all alike"):
            hub.publish("t", "x", exclude=client)
        assert loop.run(hub.position("t")).offset == 0

    @pytest.mark.parametrize("message", [5, None, ["a"]])
    def test_what_is_no_message_has_no_position(self, loop: ManualLoop, hub: Hub, message: Any) -> None:
        with pytest.raises(TypeError, match="str or bytes"):
            hub.publish("t", message)
        with pytest.raises(TypeError, match="str or bytes"):
            loop.run(hub.publish_confirmed("t", message))
        assert loop.run(hub.position("t")).offset == 0

    def test_what_is_changed_afterwards_is_kept_as_it_was(self, loop: ManualLoop, hub: Hub) -> None:
        message = bytearray(b"before")
        hub.publish("t", message)  # type: ignore[arg-type]
        message[:] = b"after!"
        assert [one.message for one in loop.run(hub.history("t"))] == [b"before"]

    def test_a_bad_name(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t/**", history=5)
        with pytest.raises(ValueError, match="segment '..'"):
            hub.publish("t/../x", "x")
        with pytest.raises(ValueError, match="segment ''"):
            hub.subscribe(Client(loop, turn), "t/")
        with pytest.raises(ValueError, match="control"):
            loop.run(hub.position("t/\n"))

    def test_merging(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", history=5, merge="+")
        client, late = Client(loop, turn), Client(loop, turn)
        hub.subscribe(client, "t")
        publish(hub, "t", 1, 3)
        with pytest.raises(TypeError, match="merges text"):
            hub.publish("t", b"x")
        loop.settle()
        hub.subscribe(late, "t", recent=2)
        loop.settle()
        assert (client.texts(), late.texts()) == (["1+2+3"], ["2+3"])

    @pytest.mark.parametrize("compression", [None, Compression(threshold=10)])
    def test_compression_of_its_own(
        self, loop: ManualLoop, turn: Turn, compression: Compression | None
    ) -> None:
        hub = Hub(compression=Compression(threshold=100))
        hub.topic("t", history=5, compression=compression)
        now, late = Client(loop, turn), Client(loop, turn)
        now.outbox.frame_variant = late.outbox.frame_variant = 15
        hub.subscribe(now, "t")
        hub.publish("t", "big " * 20)
        loop.settle()
        hub.subscribe(late, "t", recent=1)
        loop.settle()
        for client in (now, late):
            (frame,) = client.frames()
            payload = Inflater(15)(frame.payload, 1000) if frame.rsv1 else frame.payload
            assert (frame.rsv1, payload) == (compression is not None, b"big " * 20)


class TestConfirmed:
    def test_once(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        hub.topic("u", history=1)
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        at = loop.run(hub.position("t"))
        first = loop.run(hub.publish_confirmed("t", "a", once="id"))
        again = loop.run(hub.publish_confirmed("t", "b", once="id"))
        other = loop.run(hub.publish_confirmed("t", "c", once="other"))
        elsewhere = loop.run(hub.publish_confirmed("u", "d", once="id"))
        without = loop.run(hub.publish_confirmed("t", "e"))
        assert (first, again) == (Published(at.after(1)), Published(at.after(1), duplicate=True))
        assert (other.at, elsewhere.at.offset, without.at) == (at.after(2), 1, at.after(3))
        loop.settle()
        assert client.texts() == ["a", "c", "e"]

    def test_for_300_seconds(self, loop: ManualLoop, hub: Hub) -> None:
        first = loop.run(hub.publish_confirmed("t", "a", once="id"))
        loop.advance(299.9)
        assert loop.run(hub.publish_confirmed("t", "a", once="id")) == Published(first.at, duplicate=True)
        loop.advance(0.2)
        assert not loop.run(hub.publish_confirmed("t", "a", once="id")).duplicate

    def test_so_many_ids(self, loop: ManualLoop, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastws.pubsub.sequencer.ONCE_IDS", 2)
        for once in "abc":
            loop.run(hub.publish_confirmed("t", once, once=once))
        known = [loop.run(hub.publish_confirmed("t", "x", once=once)).duplicate for once in "cba"]
        assert known == [True, True, False]

    @pytest.mark.parametrize("once", ["", "x" * 256, "ü" * 128])
    def test_bad_ids(self, loop: ManualLoop, hub: Hub, once: str) -> None:
        with pytest.raises(ValueError, match="once= has 1 to 255 bytes"):
            loop.run(hub.publish_confirmed("t", "a", once=once))
        with pytest.raises(TypeError, match="once= is text"):
            loop.run(hub.publish_confirmed("t", "a", once=b"x"))  # type: ignore[arg-type]
        assert loop.run(hub.position("t")).offset == 0


class TestReading:
    def test_pages_that_go_back(self, loop: ManualLoop, hub: Hub) -> None:
        publish(hub, "t", 1, 7)
        at = loop.run(hub.position("t"))
        assert at.offset == 7

        def page(**options: Any) -> list[Any]:
            return [one.message for one in loop.run(hub.history("t", **options))]

        assert page() == ["3", "4", "5", "6", "7"]
        assert page(limit=2) == ["6", "7"]
        newest = loop.run(hub.history("t", limit=1))
        assert newest == [Message("t", "7", at)]
        assert page(limit=2, before=newest[0].at) == ["5", "6"]
        assert page(limit=9, before=str(Position(at.epoch, 5))) == ["3", "4"]
        assert page(limit=0) == page(before=Position(at.epoch, 3)) == page(before=Position("other", 9)) == []
        assert page(before=Position(at.epoch, 10**9)) == page()

    @pytest.mark.parametrize(
        ("options", "error"),
        [({"limit": -1}, ValueError), ({"limit": 1.5}, TypeError), ({"before": "x"}, ValueError)],
    )
    def test_bad_arguments(
        self, loop: ManualLoop, hub: Hub, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            loop.run(hub.history("t", **options))

    def test_topics_that_keep_nothing(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = Client(loop, turn)
        hub.topic("plain")
        for topic in ("plain", "undeclared"):
            for call in (
                hub.position(topic),
                hub.history(topic),
                hub.publish_confirmed(topic, "x"),
            ):
                with pytest.raises(ValueError, match=f"topic '{topic}' keeps no history: declare it"):
                    loop.run(call)
            for options in ({"since": "a:1"}, {"recent": 1}):
                with pytest.raises(ValueError, match="keeps no history"):
                    hub.subscribe(client, topic, **options)  # type: ignore[arg-type]
            assert hub.subscribe(client, topic) is None
        with pytest.raises(ValueError, match="keeps no history"):
            loop.run(Hub().position("t"))


class TestTime:
    def test_what_is_too_old_is_gone(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", history=5, ttl=10)
        publish(hub, "t", 1, 2)
        loop.advance(6)
        publish(hub, "t", 3, 3)
        loop.advance(4)
        assert [one.message for one in loop.run(hub.history("t"))] == ["3"]
        at = loop.run(hub.position("t"))
        synced = hub.subscribe(Client(loop, turn), "t", since=Position(at.epoch, 1))
        assert synced == Synced("t", at.after(-1), resumed=False, missed=1, reason="expired")

    def test_the_timer_frees_memory_and_rests(self, loop: ManualLoop) -> None:
        hub = Hub()
        hub.topic("t", history=5, ttl=10)
        hub.topic("for ever", history=5, ttl=math.inf)
        publish(hub, "t", 1, 3)
        publish(hub, "for ever", 1, 3)
        assert loop.timers
        before = sys.getallocatedblocks()
        loop.advance(12)
        assert sys.getallocatedblocks() < before
        assert loop.timers == []
        loop.advance(10**6)
        assert len(loop.run(hub.history("for ever"))) == 3

    def test_a_hub_that_was_closed_goes_on_to_forget(self, loop: ManualLoop) -> None:
        hub = Hub()
        hub.topic("t", history=5, ttl=10)
        publish(hub, "t", 1, 3)
        loop.run(hub.close())
        assert loop.timers == []
        loop.run(hub.start())
        loop.advance(12)
        assert hub.kept_bytes() == 0

    def test_the_position_of_many_idle_topics_is_remembered(
        self, loop: ManualLoop, turn: Turn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sequencer, "IDLE_TOPICS", 3)
        hub = Hub()
        hub.topic("t/*", history=5, ttl=10)
        client = Client(loop, turn)
        hub.subscribe(client, "t/used")
        publish(hub, "t/0", 1, 2)
        at = loop.run(hub.position("t/0"))
        loop.advance(12)
        for number in range(1, 3):
            loop.run(hub.position(f"t/{number}"))
        assert loop.run(hub.position("t/0")) == at
        synced = hub.subscribe(client, "t/0", since=at)
        assert synced is not None
        assert synced.resumed
        hub.unsubscribe(client, "t/0")
        for number in range(3, 6):
            loop.run(hub.position(f"t/{number}"))
        assert loop.run(hub.position("t/0")).epoch != at.epoch
        assert (hub.count("t/used"), hub.publish("t/used", "x")) == (1, 1)

    def test_one_in_the_place_of_an_idle_topic_stays(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the keeper makes one, where workers declare another mode."""
        monkeypatch.setattr(sequencer, "IDLE_TOPICS", 2)
        hub, topics = Hub(), dict[str, Any]()
        stream, keyed = hub.topic("s/*", history=5), hub.topic("k/*", mode="keyed")
        assert isinstance(stream, TopicClass) and isinstance(keyed, TopicClass)
        maker = sequencer.Sequencer(topics, Tickers())
        maker.make("t", stream)
        later = maker.make("t", keyed)
        later.use()
        for number in range(3):
            maker.make(str(number), stream)
        assert topics["t"] is later


class TestLoops:
    def test_no_loop(self, hub: Hub) -> None:
        with pytest.raises(RuntimeError, match="belongs to a running event loop"):
            hub.publish("t", "x")
        with pytest.raises(RuntimeError, match="start it with `async with hub`"):
            hub.publish_threadsafe("t", "x")

    def test_from_a_thread(self, run: Run) -> None:
        said: list[str] = []

        def elsewhere(hub: Hub) -> None:
            hub.publish_threadsafe("t", "threadsafe")
            try:
                hub.publish("t", "x")
            except RuntimeError as error:
                said.append(str(error))

        async def scenario() -> list[Any]:
            hub = Hub()
            hub.topic("t", history=5)
            async with hub:
                thread = threading.Thread(target=elsewhere, args=(hub,))
                thread.start()
                await asyncio.to_thread(thread.join)
                await asyncio.sleep(0)
                return [one.message for one in await hub.history("t")]

        assert run(scenario()) == ["threadsafe"]
        assert said == ["a hub belongs to the thread of its loop; here use publish_threadsafe"]

    def test_one_loop_after_the_other(self, hub: Hub) -> None:
        async def scenario(number: int) -> list[Any]:
            hub.publish("t", str(number))
            loop: Any = asyncio.get_running_loop()
            client = Client(loop, Turn(loop.call_soon))
            hub.subscribe(client, "t", recent=5)
            for _ in range(5):
                await asyncio.sleep(0)
            client.outbox.leave_topics()
            return client.texts()

        assert asyncio.run(scenario(1)) == ["1"]
        assert asyncio.run(scenario(2)) == ["1", "2"]

    def test_processes_that_meet_at_a_path_cannot_number(self) -> None:
        with installed(Bus(1)):
            hub = Hub()
        with pytest.raises(ValueError, match="nobody numbers messages of hubs"):
            hub.topic("t", history=5)
        hub.topic("t", policy="drop_oldest")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"history": -1}, ValueError, "history"),
        ({"history": 1.5}, TypeError, "history"),
        ({"history": True}, TypeError, "history"),
        ({"history": 1, "history_bytes": 0}, ValueError, "history_bytes"),
        ({"history": 1, "ttl": 0}, ValueError, "ttl"),
        ({"history": 1, "ttl": -1}, ValueError, "ttl"),
        ({"history": 1, "ttl": math.nan}, ValueError, "ttl"),
        ({"history": 1, "ttl": "5"}, TypeError, "ttl"),
        ({"history": 1, "compression": 5}, TypeError, "compression"),
        ({"history": 1, "policy": "wait"}, ValueError, "wait"),
    ],
)
def test_settings_that_are_none(options: dict[str, Any], error: type[Exception], text: str) -> None:
    hub = Hub()
    with pytest.raises(error, match=text):
        hub.topic("t", **options)
    hub.topic("t")
