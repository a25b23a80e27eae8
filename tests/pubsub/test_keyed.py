"""Keyed topics: a snapshot, all changes of a tick in one frame, only the last values for who is slow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastws.loop.turn import Turn
from fastws.pubsub.events import Position
from fastws.pubsub.hub import Hub
from tests.kit import ManualLoop
from tests.pubsub.mirrors import Mirror

TICK = 0.025


@pytest.fixture
def hub() -> Hub:
    made = Hub()
    made.topic("t", mode="keyed")
    return made


def joined(loop: ManualLoop, turn: Turn, hub: Hub, **options: Any) -> Mirror:
    """A client that has its snapshot and the first ``live``."""
    client = Mirror(loop, turn, **options)
    hub.subscribe(client, "t")
    loop.settle()
    client.read()
    return client


def without_live(client: Mirror) -> list[dict[str, Any]]:
    return [message for message in client.read() if "live" not in message]


class TestFrames:
    def test_an_empty_topic(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = Mirror(loop, turn)
        synced = hub.subscribe(client, "t")
        assert synced is not None
        assert (synced.snapshot, synced.resumed, synced.missed, synced.at.offset) == (True, None, 0, 0)
        loop.settle()
        assert client.texts() == ['{"t":"t","snap":{}}', f'{{"t":"t","live":"{synced.at}"}}']

    def test_a_snapshot_has_what_was_published_in_the_same_turn(
        self, loop: ManualLoop, turn: Turn, hub: Hub
    ) -> None:
        hub.publish("t", "1", key="a")
        hub.publish("t", json={"x": [2]}, key="b")
        client = Mirror(loop, turn)
        synced = hub.subscribe(client, "t")
        loop.settle()
        assert client.texts() == [
            '{"t":"t","snap":{"a":1,"b":{"x":[2]}}}',
            f'{{"t":"t","live":"{synced and synced.at}"}}',
        ]

    def test_all_changes_of_a_tick_are_one_frame_and_the_same_bytes(
        self, loop: ManualLoop, turn: Turn, hub: Hub
    ) -> None:
        clients = [joined(loop, turn, hub) for _ in range(3)]
        for number in range(3):
            assert hub.publish("t", str(number), key="a") == 3
        hub.publish("t", '"x"', key="b")
        hub.publish("t", "1", key="c")
        hub.remove("t", "c")
        loop.settle()
        assert [client.read() for client in clients] == [[], [], []]
        loop.advance(TICK)
        first = clients[0].transport.writes[-1]
        assert all(client.transport.writes[-1] is first for client in clients)
        assert clients[0].texts()[0] == '{"t":"t","set":{"a":2,"b":"x"},"rm":["c"]}'

    def test_removing_and_clearing(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = joined(loop, turn, hub)
        hub.publish("t", "1", key="a")
        hub.publish("t", "2", key="b")
        loop.advance(TICK)
        assert (hub.remove("t", "a"), hub.remove("t", "a"), hub.remove("t", "x")) == (True, False, False)
        loop.advance(TICK)
        assert (hub.clear("t"), hub.clear("t")) == (True, False)
        hub.publish("t", "3", key="c")
        loop.advance(TICK)
        assert without_live(client) == [
            {"t": "t", "set": {"a": 1, "b": 2}},
            {"t": "t", "rm": ["a"]},
            {"t": "t", "clear": True},
            {"t": "t", "set": {"c": 3}},
        ]

    def test_pieces_of_64_kib(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        early, value = joined(loop, turn, hub), json.dumps("v" * 1000)
        for number in range(200):
            hub.publish("t", value, key=str(number))
        hub.publish("t", json.dumps("v" * 100_000), key="large")
        late = Mirror(loop, turn)
        hub.subscribe(late, "t")
        loop.advance(TICK)
        for client in (early, late):
            frames = client.frames()
            # Who joined within the tick is given all of it again.
            times = 2 if client is late else 1
            sizes = [len(one.payload) for one in frames]
            assert sum(size > 65536 for size in sizes) == times
            assert len([size for size in sizes if size > 60_000]) == 4 * times
            for one in frames:
                client.apply(json.loads(one.payload))
            assert len(client.state) == 201
            assert client.state["large"] == "v" * 100_000

    def test_the_source_text_is_relayed(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = joined(loop, turn, hub)
        hub.publish("t", f' {{"n": {2**64}, "n": 1.10}}\n', key='"é')
        loop.advance(TICK)
        assert client.texts()[0] == '{"t":"t","set":{"\\"é":{"n": 18446744073709551616, "n": 1.10}}}'

    def test_live_again_at_most_once_a_second(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = joined(loop, turn, hub)
        for number in range(80):  # two seconds
            hub.publish("t", str(number), key="a")
            loop.advance(TICK)
        lives = [message for message in client.read() if "live" in message]
        assert 2 <= len(lives) <= 3
        loop.advance(2)
        (last,) = client.read()
        assert last == {"t": "t", "live": str(loop.run(hub.position("t")))}
        loop.advance(10)
        assert client.read() == []


class TestBadInput:
    @pytest.mark.parametrize(
        "value",
        [
            "",
            "x",
            "1 2",
            "1,2",
            "1],[2",
            "1]],[[2",
            "[",
            "nan",
            "\ud800",
            '"\ud800"',
            "[" * 1023 + "]" * 1023,
            "{'a':1}",
        ],
    )
    def test_no_json(self, hub: Hub, loop: ManualLoop, value: str) -> None:
        with pytest.raises(ValueError, match="keyed topic 't' is JSON source text: no JSON"):
            hub.publish("t", value, key="a")
        with pytest.raises(ValueError, match="no JSON"):
            hub.publish_threadsafe("t", value, key="a")
        assert loop.run(hub.snapshot("t")) == {}

    @pytest.mark.parametrize("value", [b"1", 1, None, bytearray(b"1")])
    def test_no_text(self, hub: Hub, loop: ManualLoop, value: Any) -> None:
        with pytest.raises(TypeError, match="JSON source text, or json="):
            hub.publish("t", value, key="a")

    @pytest.mark.parametrize(
        ("key", "error"),
        [
            ("", ValueError),
            ("k" * 256, ValueError),
            ("\ud800", ValueError),
            (5, TypeError),
            (b"k", TypeError),
        ],
    )
    def test_bad_keys(self, hub: Hub, loop: ManualLoop, key: Any, error: type[Exception]) -> None:
        for publish in (hub.publish, hub.publish_threadsafe):
            with pytest.raises(error, match="key="):
                publish("t", "1", key=key)

    def test_json_that_cannot_be(self, hub: Hub, loop: ManualLoop) -> None:
        deep: list[Any] = []
        for _ in range(2000):
            deep = [deep]
        for value in (object(), 2**64, "\ud800", deep):
            for topic, key in (("t", "k"), ("plain", None)):
                with pytest.raises(TypeError):
                    hub.publish(topic, json=value, key=key)

    def test_what_does_not_go_together(self, hub: Hub, loop: ManualLoop, turn: Turn) -> None:
        hub.topic("kept", history=5)
        client = Mirror(loop, turn)
        for publish in (hub.publish, hub.publish_threadsafe):
            with pytest.raises(TypeError, match=r"keyed: publish\(topic, value, key="):
                publish("t", "1")
            with pytest.raises(TypeError, match="not both"):
                publish("t", "1", json=1, key="a")
            with pytest.raises(TypeError, match="or json="):
                publish("t", key="a")
            with pytest.raises(TypeError, match="or json="):
                publish("plain")
            with pytest.raises(ValueError, match="has no keys: declare it"):
                publish("plain", "1", key="a")
            with pytest.raises(ValueError, match="has no keys"):
                publish("kept", "1", key="a")
        with pytest.raises(TypeError, match="exclude= cannot be"):
            hub.publish("t", "1", key="a", exclude=client)
        with pytest.raises(ValueError, match="recent= is not for it"):
            hub.subscribe(client, "t", recent=1)
        with pytest.raises(ValueError, match="is keyed: it has a snapshot"):
            loop.run(hub.history("t"))
        for call in (lambda: hub.remove("plain", "a"), lambda: hub.clear("kept")):
            with pytest.raises(ValueError, match="has no keys"):
                call()
        with pytest.raises(ValueError, match="has no keys"):
            loop.run(hub.snapshot("plain"))
        with pytest.raises(ValueError, match="has no keys"):
            Hub().clear("t")

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"mode": "keys"}, ValueError),
            ({"history": 5}, ValueError),
            ({"merge": "\n"}, ValueError),
            ({"policy": "evict"}, ValueError),
            ({"max_keys": 0}, ValueError),
            ({"max_keys": "5"}, TypeError),
            ({"key_ttl": 0}, ValueError),
            ({"key_ttl": "5"}, TypeError),
            ({"every": -1}, ValueError),
            ({"every": float("inf")}, ValueError),
            ({"every": True}, TypeError),
        ],
    )
    def test_bad_declarations(self, options: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            Hub().topic("t", **{"mode": "keyed", **options})

    def test_too_many_keys(self, loop: ManualLoop) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed", max_keys=2)
        for key in ("a", "b", "a"):
            hub.publish("t", "1", key=key)
        with pytest.raises(ValueError, match="holds 2 keys, its max_keys, and not 'c'"):
            hub.publish("t", "1", key="c")
        assert loop.run(hub.snapshot("t")) == {"b": "1", "a": "1"}


class TestResuming:
    def test_only_what_has_changed(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        for key in "abcd":
            hub.publish("t", "1", key=key)
        client = joined(loop, turn, hub)
        at = client.at
        client.outbox.leave_topics()
        hub.publish("t", "2", key="a")
        hub.remove("t", "b")
        client.outbox.subscriptions = None
        synced = hub.subscribe(client, "t", since=at)
        loop.settle()
        assert synced is not None
        assert (synced.resumed, synced.snapshot, str(synced.at)) == (True, False, at)
        assert without_live(client) == [{"t": "t", "set": {"a": 2}, "rm": ["b"]}]
        assert client.state == {"a": 2, "c": 1, "d": 1}

    def test_behind_a_clear(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        hub.publish("t", "1", key="a")
        at = loop.run(hub.position("t"))
        hub.clear("t")
        hub.publish("t", "2", key="b")
        client = Mirror(loop, turn)
        hub.subscribe(client, "t", since=at)
        loop.settle()
        assert without_live(client) == [{"t": "t", "clear": True}, {"t": "t", "set": {"b": 2}}]

    @pytest.mark.parametrize(
        ("case", "reason"), [("epoch", "epoch"), ("future", "future"), ("ttl", "expired"), ("many", "limit")]
    )
    def test_a_snapshot_where_nobody_knows_what_was_removed(
        self, loop: ManualLoop, turn: Turn, case: str, reason: str
    ) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed", max_keys=3, ttl=10)
        for key in "abc":
            hub.publish("t", "1", key=key)
        at = loop.run(hub.position("t"))
        if case == "epoch":
            at = Position("other", 1)
        elif case == "future":
            at = at.after(1)
        elif case == "ttl":
            hub.remove("t", "a")
            loop.advance(11)
        else:
            for _ in range(4):
                hub.remove("t", "a")
                hub.publish("t", "1", key="b")
                hub.remove("t", "b")
                hub.publish("t", "1", key="a")
                hub.remove("t", "c")
                hub.publish("t", "1", key="x")
                hub.remove("t", "x")
                hub.publish("t", "1", key="y")
                hub.remove("t", "y")
        client = Mirror(loop, turn)
        synced = hub.subscribe(client, "t", since=at)
        loop.settle()
        assert synced is not None
        assert (synced.resumed, synced.missed, synced.reason, synced.snapshot) == (False, None, reason, True)
        client.read()
        assert "snap" in client.messages[0]
        assert client.state == {key: int(value) for key, value in loop.run(hub.snapshot("t")).items()}

    def test_twice(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client = joined(loop, turn, hub)
        again = hub.subscribe(client, "t")
        assert again is not None
        assert (again.snapshot, str(again.at)) == (False, client.at)
        with pytest.raises(ValueError, match="subscribed already"):
            hub.subscribe(client, "t", since=client.at)
        loop.settle()
        assert client.read() == []


class TestSlow:
    def test_only_the_last_value_and_nothing_queued(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        client, other = joined(loop, turn, hub), joined(loop, turn, hub)
        client.stall()
        for number in range(1, 200):
            hub.publish("t", str(number), key="ab"[number % 2])
            loop.advance(TICK)
            assert (client.outbox.queued, client.outbox.queue_bytes) == (0, 0)
        hub.remove("t", "a")
        loop.advance(TICK)
        client.reads_on()
        assert without_live(client) == [{"t": "t", "set": {"b": 199}, "rm": ["a"]}]
        assert (client.evicted, client.gaps, client.outbox.dropped) == ([], [], 0)
        hub.publish("t", "300", key="c")
        loop.advance(TICK)
        assert without_live(client) == [{"t": "t", "set": {"c": 300}}]
        other.read()
        assert client.state == other.state == {"b": 199, "c": 300}
        assert hub.count("t") == 2

    def test_behind_forgotten_tombstones_it_begins_again(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed", ttl=10)
        client = joined(loop, turn, hub)
        for key in "abc":
            hub.publish("t", "1", key=key)
        loop.advance(TICK)
        client.read()
        client.stall()
        hub.remove("t", "a")
        loop.advance(1)
        loop.advance(20)
        client.reads_on()
        assert without_live(client) == [{"t": "t", "clear": True}, {"t": "t", "snap": {"b": 1, "c": 1}}]

    def test_a_joining_client_that_stalls(self, loop: ManualLoop, turn: Turn, hub: Hub) -> None:
        """Changes of what it has, and of what it has not been sent yet, come once."""
        value = "1" * 15
        for number in range(8000):
            hub.publish("t", value, key=f"k{number}")
        client = Mirror(loop, turn, room=100_000)
        hub.subscribe(client, "t")
        loop.settle()
        assert client.outbox.blocked
        hub.publish("t", "2" * 15, key="k0")
        hub.publish("t", "2" * 15, key="k7999")
        hub.remove("t", "k1")
        hub.remove("t", "k7998")
        loop.advance(TICK)
        client.transport.room = None
        client.reads_on()
        client.read()
        expected = loop.run(hub.snapshot("t"))
        assert {key: str(value) for key, value in client.state.items()} == expected
        assert len([1 for message in client.messages if "k0" in message.get("set", {})]) == 1


class TestExpiring:
    def test_values_expire(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed", key_ttl=5)
        client = joined(loop, turn, hub)
        hub.publish("t", "1", key="a")
        loop.advance(3)
        hub.publish("t", "2", key="b")
        loop.advance(2.2)
        assert without_live(client)[-1] == {"t": "t", "rm": ["a"]}
        assert loop.run(hub.snapshot("t")) == {"b": "2"}
        loop.advance(10)
        client.read()
        assert client.state == {}

    def test_what_has_expired_leaves_room_at_once(self, loop: ManualLoop, turn: Turn) -> None:
        hub = Hub()
        hub.topic("t", mode="keyed", key_ttl=5, max_keys=1)
        loop.run(hub.start())
        hub.publish("t", "1", key="a")
        loop.sleep_machine(6)  # its timer has not come yet
        hub.publish("t", "2", key="b")
        assert loop.run(hub.snapshot("t")) == {"b": "2"}


class TestJoining:
    def test_who_joins_at_one_position_gets_the_same_bytes(
        self, loop: ManualLoop, turn: Turn, hub: Hub
    ) -> None:
        for number in range(5000):
            hub.publish("t", json="v" * 20, key=f"k{number}")
        clients = [Mirror(loop, turn) for _ in range(10)]
        for client in clients:
            hub.subscribe(client, "t")
        loop.settle()
        for others in zip(*(client.transport.writes for client in clients), strict=True):
            assert all(written is others[0] for written in others)
        assert len(clients[0].transport.writes) == 3

    def test_a_snapshot_serves_others_while_little_has_changed(
        self, loop: ManualLoop, turn: Turn, hub: Hub
    ) -> None:
        for number in range(100):
            hub.publish("t", "1", key=f"k{number}")
        first = joined(loop, turn, hub)
        assert first.at is not None
        for number in range(20):
            hub.publish("t", "2", key=f"k{number}")
        hub.remove("t", "k50")
        late = Mirror(loop, turn)
        synced = hub.subscribe(late, "t")
        assert synced is not None and str(synced.at) == first.at  # that of the first snapshot
        loop.settle()
        late.read()
        assert len(late.messages[0]["snap"]) == 100
        assert (len(late.messages[1]["set"]), late.messages[1]["rm"]) == (20, ["k50"])
        for number in range(20, 40):
            hub.publish("t", "2", key=f"k{number}")
        fresh = Mirror(loop, turn)
        hub.subscribe(fresh, "t")
        loop.advance(0.03)
        for client in (first, late, fresh):
            client.read()
            assert client.state == {key: int(value) for key, value in loop.run(hub.snapshot("t")).items()}
        assert len(fresh.messages[0]["snap"]) == 99
