"""Clients that are behind on a topic with a history: who joins or returns, and who is slow."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.connection.counters import Counters
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import encode
from fastws.pubsub.events import Synced
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CONTINUATION, TEXT
from tests.kit import ManualLoop
from tests.kit.outboxes import Peer, text
from tests.pubsub.histories import Client, publish


class TestResuming:
    @pytest.mark.parametrize(
        ("since", "error"),
        [("garbage", ValueError), ("", ValueError), (5, TypeError), (b"a:1", TypeError)],
    )
    def test_what_is_no_position(
        self, loop: ManualLoop, turn: Turn, hub: Hub, since: Any, error: type[Exception]
    ) -> None:
        client = Client(loop, turn)
        with pytest.raises(error, match="position"):
            hub.subscribe(client, "t", since=since)
        assert (hub.count("t"), client.outbox.is_open) == (0, True)

    @pytest.mark.parametrize(("recent", "error"), [(-1, ValueError), ("3", TypeError), (True, TypeError)])
    def test_bad_recent(
        self, loop: ManualLoop, turn: Turn, hub: Hub, recent: Any, error: type[Exception]
    ) -> None:
        with pytest.raises(error, match="recent"):
            hub.subscribe(Client(loop, turn), "t", recent=recent)

    def test_another_topics_position(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        hub.topic("u", history=5)
        publish(hub, "t", 1, 3)
        publish(hub, "u", 1, 3)
        at = loop.run(hub.position("u"))
        synced = hub.subscribe(Client(loop, turn), "t", since=at)
        assert synced is not None
        assert (synced.resumed, synced.missed, synced.reason) == (False, None, "epoch")

    def test_what_is_said_in_the_same_call_comes_first(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        publish(hub, "t", 1, 3)
        client = Client(loop, turn)
        synced = hub.subscribe(client, "t", recent=3)
        client.outbox.push(text(f"begins behind {synced and synced.at.offset}"))
        publish(hub, "t", 4, 4)
        loop.settle()
        assert client.texts() == ["begins behind 0", "1", "2", "3", "4"]

    def test_who_leaves_before_the_replay(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        publish(hub, "t", 1, 3)
        gone, stays = Client(loop, turn), Client(loop, turn)
        for client in (gone, stays):
            hub.subscribe(client, "t", recent=3)
        assert (hub.count("t"), hub.subscribers("t"), hub.topics(gone)) == (2, [gone, stays], ["t"])
        hub.unsubscribe(gone, "t")
        stays.outbox.leave_topics()
        loop.settle()
        assert (gone.frames(), stays.frames(), hub.count("t")) == ([], [], 0)

    def test_twice_does_no_harm(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        publish(hub, "t", 1, 3)
        client = Client(loop, turn)
        first = hub.subscribe(client, "t", recent=2)
        assert hub.subscribe(client, "t") == first
        loop.settle()
        at = loop.run(hub.position("t"))
        assert hub.subscribe(client, "t") == Synced("t", at)
        with pytest.raises(ValueError, match="subscribed already"):
            hub.subscribe(client, "t", since=at)
        assert client.texts() == ["2", "3"]

    def test_who_read_the_same_gets_the_same_bytes(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        publish(hub, "t", 1, 3)
        clients = [Client(loop, turn) for _ in range(3)]
        for client in clients:
            hub.subscribe(client, "t", recent=3)
        loop.settle()
        first = clients[0].transport.writes[0]
        assert all(client.transport.writes[0] is first for client in clients)

    def test_clients_that_read_much_take_turns(
        self, loop: ManualLoop, turn: Turn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = Hub()
        hub.topic("t", history=1000, history_bytes=2**24)
        for number in range(8):
            hub.publish("t", f"{number}".ljust(60_000))
        clients = [Client(loop, turn) for _ in range(20)]
        for client in clients:
            hub.subscribe(client, "t", recent=8)
        hub.publish("t", "live")
        took = []
        while any(client.outbox.subscriptions.cursors for client in clients):  # type: ignore[union-attr]
            loop.turn()
            took.append(sum(map(len, (client.transport.take_sent() for client in clients))))
        assert max(took) <= 2**20 + 2 * 64 * 1024 + 20 * 8
        assert sum(took) == 20 * (8 * 60_004 + 6)


class TestSlow:
    def test_nothing_is_queued_for_it(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        client.stall()
        for number in range(1, 6):
            assert hub.publish("t", str(number)) == 1
            loop.settle()
        assert (client.outbox.queued, client.outbox.queue_bytes) == (0, 0)
        client.reads_on()
        assert client.texts() == ["stalls", "1", "2", "3", "4", "5"]
        assert (client.gaps, client.outbox.dropped) == ([], 0)

    @pytest.mark.parametrize("hubs", ["evict", "drop_newest", "drop_oldest"])
    @pytest.mark.parametrize("policy", [None, "drop_oldest"])
    def test_a_gap_is_told(self, loop: ManualLoop, turn: Turn, policy: str | None, hubs: str) -> None:
        hub = Hub(policy=hubs)
        hub.topic("t", history=3, policy=policy)
        client = Client(loop, turn)
        client.outbox.counters = counters = Counters()
        hub.subscribe(client, "t")
        client.stall()
        publish(hub, "t", 1, 10)
        loop.settle()
        client.reads_on()
        assert client.texts() == ["stalls", "8", "9", "10"]
        assert (client.gaps, client.outbox.dropped, client.evicted) == ([("t", 7, "slow")], 7, [])
        assert (counters.messages_sent, counters.messages_dropped) == (4, 7)

    def test_or_it_is_evicted(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub(policy="drop_oldest")
        hub.topic("t", history=3, policy="evict")
        kept, lost, joins = (Client(loop, turn) for _ in range(3))
        for client in (kept, lost):
            hub.subscribe(client, "t")
            client.stall()
        publish(hub, "t", 1, 3)
        loop.settle()
        kept.reads_on()
        publish(hub, "t", 4, 4)
        loop.settle()
        # Who only joins is not slow, however much is published before its turn comes.
        hub.subscribe(joins, "t", recent=3)
        publish(hub, "t", 5, 8)
        loop.settle()
        lost.reads_on()
        assert kept.texts() == ["stalls", *"12345678"]
        assert (kept.evicted, lost.evicted, joins.evicted) == ([], ["too slow"], [])
        assert (joins.texts(), joins.gaps) == (["6", "7", "8"], [("t", 4, "slow")])
        assert hub.count("t") == 2

    @pytest.mark.parametrize("policy", [None, "drop_oldest"])
    def test_where_nobody_can_be_told(self, loop: ManualLoop, turn: Turn, policy: str | None) -> None:
        hub = Hub()
        hub.topic("t", history=3, policy=policy)
        client = Peer(loop, turn)
        hub.subscribe(client, "t")
        client.stall()
        publish(hub, "t", 1, 10)
        loop.settle()
        client.transport.take()
        loop.settle()
        assert client.evicted == ([] if policy else ["too slow"])
        assert [one.payload for one in client.frames()][1:4] == (
            [b"8", b"9", b"10"] if policy else [b"\x03\xf0too slow"]
        )

    def test_the_newest_cannot_be_dropped(self) -> None:
        with pytest.raises(ValueError, match="'drop_oldest' or 'evict'"):
            Hub().topic("t", history=3, policy="drop_newest")

    def test_what_a_gap_makes_the_handler_do(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        """It unsubscribes, closes, or publishes: in the call that tells the gap."""

        class Acting(Client):
            def tell_gap(self, topic: str, missed: int, reason: str) -> bool:
                super().tell_gap(topic, missed, reason)
                self.act(self)
                return True

            act: Any

        def leave(client: Acting) -> None:
            client.outbox.push_last(b"\x88\x00")
            client.outbox.leave_topics()

        def flood(client: Acting) -> None:
            if len(client.gaps) < 3:
                publish(hub, "t", 11, 16)

        for act in (lambda client: hub.unsubscribe(client, "t"), leave, flood):
            client = Acting(loop, turn)
            client.act = act
            hub.subscribe(client, "t")
            client.stall()
            publish(hub, "t", 1, 10)
            loop.settle()
            client.reads_on()
            said = [one.text for one in client.frames() if one.opcode == TEXT]
            if act is flood:
                assert [missed for _, missed, _ in client.gaps] == [5, 6, 6]
                assert said == ["stalls", "12", "13", "14", "15", "16"]
            else:
                assert (said, client.gaps) == (["stalls"], [("t", 5, "slow")])

    def test_what_cannot_be_sent_ends_one_client(
        self, loop: ManualLoop, turn: Turn, hub: Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As where a compressor has no memory: that is told, and the others have theirs."""

        class Broken(Client):
            def encode_publication(self, entry: Any) -> bytes:
                raise MemoryError("no room")

        broken, other = Broken(loop, turn), Client(loop, turn)
        broken.outbox.frame_variant = -1
        publish(hub, "t", 1, 2)
        for client in (broken, other):
            hub.subscribe(client, "t", recent=2)
        loop.settle()
        assert (broken.evicted, other.texts(), hub.count("t")) == (["too slow"], ["1", "2"], 1)
        assert "what topics have kept cannot be sent" in caplog.text

    def test_behind_a_message_in_fragments(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = Client(loop, turn)
        hub.subscribe(client, "t")
        client.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        publish(hub, "t", 1, 2)
        loop.settle()
        assert client.outbox.queued == 0
        client.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        loop.settle()
        assert [one.text for one in client.frames()] == ["1", "2", "1", "2"]
