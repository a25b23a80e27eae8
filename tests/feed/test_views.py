"""The view of a topic: what it costs those who have none, and what it shares."""

from __future__ import annotations

from typing import Any

import pytest

import fastws
from fastws.loop.turn import Turn
from fastws.pubsub.notes import note_of
from tests.kit import Kernel, ManualLoop
from tests.kit.outboxes import Peer

CLIENTS = 50


@pytest.mark.parametrize("history", [0, 100])
@pytest.mark.parametrize("messages", [1, 16])
def test_one_write_for_all(
    loop: ManualLoop, turn: Turn, monkeypatch: pytest.MonkeyPatch, history: int, messages: int
) -> None:
    kernel = Kernel()
    kernel.patch(monkeypatch)
    hub = fastws.Hub()
    hub.topic("t", history=history)
    peers = [Peer(loop, turn, kernel=kernel) for _ in range(CLIENTS)]
    for peer in peers:
        hub._subscribe_view(peer, "t", None, 0)
    loop.settle()
    kernel.calls.clear()

    async def publish() -> None:
        for number in range(messages):
            assert hub.publish("t", str(number)) == CLIENTS

    loop.run(publish())
    loop.settle()
    assert kernel.calls == [CLIENTS]
    sent = [peer.transport.take_sent() for peer in peers]
    assert len(set(sent)) == 1
    assert sent[0].count(b'"d":') == messages


def test_a_message_is_wrapped_once(loop: ManualLoop, turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = fastws.Hub()
    hub.topic("t", history=100)
    start = loop.run(hub.position("t"))
    wrapped: list[Any] = []
    dumps = fastws.json._orjson.dumps  # type: ignore[attr-defined]

    class Counted:
        loads = staticmethod(fastws.json._orjson.loads)  # type: ignore[attr-defined]

        @staticmethod
        def dumps(value: Any) -> bytes:
            wrapped.append(value)
            return dumps(value)

    monkeypatch.setattr("fastws.json._orjson", Counted)

    async def publish() -> None:
        for number in range(10):
            hub.publish("t", str(number))

    loop.run(publish())
    assert wrapped == []  # nobody listens by a feed
    peers = [Peer(loop, turn) for _ in range(CLIENTS)]
    for peer in peers:
        hub._subscribe_view(peer, "t", start, 0)
    loop.settle()
    assert [value for value in wrapped if value in map(str, range(10))] == list(map(str, range(10)))
    assert len({peer.transport.take_sent() for peer in peers}) == 1


def test_views_come_and_go(loop: ManualLoop, turn: Turn) -> None:
    hub = fastws.Hub()
    for topic in ("kept", "plain"):
        hub.topic(topic, history=10 if topic == "kept" else 0)
        peer, plain = Peer(loop, turn), Peer(loop, turn)

        async def listen(topic: str = topic, peer: Peer = peer, plain: Peer = plain) -> None:
            joined = hub._subscribe_view(peer, topic, None, 0)
            hub.subscribe(plain, topic)
            assert hub.publish(topic, "both") == 2
            hub._unsubscribe_view(peer, joined.topic)
            assert hub.publish(topic, "one") == 1
            again = hub._subscribe_view(peer, topic, None, 0)
            assert again.topic is not joined.topic
            assert hub.publish(topic, "both again") == 2

        loop.run(listen())
        loop.settle()
        assert plain.texts() == ["both", "one", "both again"]
        assert [text.partition('"d":')[2] for text in peer.texts()] == ['"both"}', '"both again"}']


def test_notes() -> None:
    assert note_of(None) == b"\x83\0"
    assert note_of("é") == b"\x83\x02\xc3\xa9"
    with pytest.raises(ValueError, match="125 bytes"):
        note_of("x" * 126)


def test_who_is_evicted_while_it_subscribes_stays_out(loop: ManualLoop, turn: Turn) -> None:
    hub = fastws.Hub()
    peer, other = Peer(loop, turn, limits=(1, 1000)), Peer(loop, turn)
    hub.subscribe(peer, "plain")
    hub._subscribe_view(other, "feed", None, 0)
    peer.stall()
    for topic in ("plain", "plain", "feed"):
        hub.publish(topic, "x")
    assert hub._subscribe_view(peer, "feed", None, 0) is None
    assert (peer.evicted, hub.count("feed")) == (["too slow"], 1)
    loop.settle()
