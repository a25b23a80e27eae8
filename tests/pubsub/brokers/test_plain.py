"""Numbers of plain topics: what is a double, what is missing, and what begins anew."""

from __future__ import annotations

from typing import Any

import pytest

from fastws.protocol.websocket.frames import Opcode, encode
from fastws.pubsub.brokers.envelope import encode_blob, read_blob
from fastws.pubsub.gateway.plain import FORGET_TICKS, REMEMBER_TICKS, Plain

THERE = b"another."


class Wire:
    """What a node hands to its broker, which is not there."""

    label = "wire"

    def __init__(self, max_bytes: int = 10_000) -> None:
        self.max_bytes = max_bytes
        self.sent: list[tuple[str, Any]] = []
        self.heard: list[str | int | None] = []
        broker: Any = self
        self.plain = Plain(broker, self.relay, self.skip)

    def publish(self, name: str, blob: bytes) -> None:
        self.sent.append((name, read_blob(blob)))

    def relay(self, hub: str, topic: str, frames: list[bytes]) -> None:
        self.heard += [frame[2:].decode() for frame in frames]

    def skip(self, hub: str, topic: str, missed: int | None) -> None:
        self.heard.append(missed)

    def say(self, *texts: str, topic: str = "t") -> None:
        body = b"".join(encode(Opcode.TEXT, text) for text in texts)
        self.plain.publish("hub", topic, body, len(texts))

    def take(self, number: int, *texts: str, life: int = 1, node: bytes = THERE, name: str = "hub/t") -> None:
        self.plain.take(name, encode_blob(node, life, number, [b"t" + text.encode() for text in texts]))


def test_each_topic_has_numbers_of_its_own() -> None:
    wire = Wire()
    wire.say("1", "2")
    wire.say("3")
    wire.say("1", topic="a/b")
    assert [(name, blob.number, len(blob.bodies)) for name, blob in wire.sent] == [
        ("hub/t", 1, 2),
        ("hub/t", 3, 1),
        ("hub/a%2Fb", 1, 1),
    ]
    assert {blob.node for _, blob in wire.sent} == {wire.plain.node}


def test_a_last_number_that_is_refused_is_not_said_each_second(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    wire.say("1")
    wire.plain.dropped("hub/t")
    for _ in range(20):
        before = len(wire.sent)
        wire.plain.tick(is_ready=True)
        if len(wire.sent) > before:
            wire.plain.dropped("hub/t")
    assert len(wire.sent) == 1 + 4
    assert [record.message for record in caplog.records] == [
        "broker wire: 1 runs of messages were dropped: too much waits, or they were refused"
    ]
    wire.say("2")
    assert wire.sent[-1][1].number == 2


def test_doubles_go_and_gaps_are_told() -> None:
    wire = Wire()
    wire.take(5, "5", "6")
    wire.take(5, "5", "6")
    wire.take(6, "6", "7")
    wire.take(10, "10")
    wire.take(8, "8")  # too late: it was told
    wire.take(13)  # nothing more than the number
    wire.take(13, "13")
    assert wire.heard == ["5", "6", "7", 2, "10", 2, "13"]
    assert wire.plain.missed == 4


def test_who_follows_a_topic_again_is_not_told_what_nobody_here_could_miss() -> None:
    wire = Wire()
    wire.take(5, "5")
    wire.take(5, "5", name="hub/u")
    wire.plain.followed("hub/t")
    wire.take(9, "9")
    wire.take(9, "9", name="hub/u")
    assert wire.heard == ["5", "5", "9", 3, "9"]


def test_other_nodes_and_topics_are_apart() -> None:
    wire = Wire()
    wire.take(5, "a")
    wire.take(1, "b", node=b"a third.")
    wire.take(1, "c", name="hub/u")
    wire.take(9, "own", node=wire.plain.node)
    assert wire.heard == ["a", "b", "c"]


def test_another_life_begins_anew() -> None:
    wire = Wire()
    wire.take(90, "90", life=1)
    wire.take(1, "1", life=2)
    wire.take(1, "1", life=2)
    wire.take(3, "3", life=2)
    assert wire.heard == ["90", "1", 1, "3"]


def test_another_gateway_of_a_node_may_lack_what_nobody_can_count() -> None:
    wire = Wire()
    wire.take(90, "90", life=(7 << 16) + 1)
    wire.take(1, "1", "2", life=(8 << 16) + 1)
    wire.take(2, "2", "3", life=(8 << 16) + 1)
    assert wire.heard == ["90", None, "1", "2", "3"]


def test_the_last_number_is_said_once_more_and_a_silent_topic_forgotten() -> None:
    wire = Wire()
    wire.say("1")
    wire.plain.tick(is_ready=True)
    wire.plain.tick(is_ready=True)
    assert [(blob.number, len(blob.bodies)) for _, blob in wire.sent] == [(1, 1), (2, 0)]
    for _ in range(FORGET_TICKS):
        wire.plain.tick(is_ready=True)
    wire.say("again")
    assert [(blob.life & 0xFFFF, blob.number) for _, blob in wire.sent] == [(1, 1), (1, 2), (2, 1)]
    assert len({blob.life >> 16 for _, blob in wire.sent}) == 1


def test_while_the_broker_is_away_nothing_is_forgotten() -> None:
    wire = Wire()
    wire.say("1")
    for _ in range(FORGET_TICKS + 5):
        wire.plain.tick(is_ready=False)
    wire.say("2")
    assert [(blob.life & 0xFFFF, blob.number) for _, blob in wire.sent] == [(1, 1), (1, 2)]


def test_another_node_is_remembered_for_longer_than_it_remembers() -> None:
    wire = Wire()
    wire.take(5, "5")
    for _ in range(REMEMBER_TICKS):
        wire.plain.tick(is_ready=True)
    wire.take(1, "new")
    assert wire.heard == ["5", "new"]
    assert REMEMBER_TICKS > FORGET_TICKS


def test_what_was_lost_on_the_way_is_in_the_numbers(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(max_bytes=300)
    wire.say("1", "x" * 300, "2")
    wire.plain.missed_here("hub", "t", 4)
    wire.plain.dropped("hub/t")
    wire.plain.dropped("hub/gone")
    wire.plain.tick(is_ready=True)
    assert [(blob.number, len(blob.bodies)) for _, blob in wire.sent] == [(1, 1), (3, 1), (8, 0)]
    assert "1 messages were dropped: a message may have about 300 bytes" in caplog.text
    assert "2 runs of messages were dropped: too much waits" in caplog.text


@pytest.mark.parametrize("name", ["hub/t", "no name", "a/b/c", "hub/%zz"])
def test_what_is_no_message_is_one_line_a_second_and_told(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be what a node of another version has published: nobody knows how many messages."""
    wire = Wire()
    for _ in range(3):
        wire.plain.take(name, b"junk")
        wire.plain.take("hub/t", encode_blob(THERE, 1, 1, [b"?"]))
    assert wire.heard == [None]
    names = {name, "hub/t"}
    assert caplog.text.count("holds what is no message") == len(names)
    wire.plain.tick(is_ready=True)
    wire.plain.take("hub/t", b"fws2 has blobs of its own")
    assert wire.heard == [None, None]
    assert "another version of fastws" in caplog.text
