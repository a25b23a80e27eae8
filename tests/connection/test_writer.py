"""One write a turn, and bytes past the transport."""

from __future__ import annotations

import pytest

from fastws.connection.counters import Counters
from fastws.connection.flow import SendStatus
from fastws.connection.writer import TURN_MESSAGES
from fastws.loop.turn import Turn
from fastws.protocol.websocket.frames import encode
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.kit import Kernel, ManualLoop
from tests.kit.outboxes import BYE, Peer, text


class TestTurns:
    def test_one_write_at_the_end_of_the_turn(self, loop: ManualLoop, peer: Peer) -> None:
        for message in "abc":
            assert peer.outbox.push(text(message)) is SendStatus.SENT
        assert peer.transport.writes == []
        assert peer.outbox.buffered_amount == 9
        loop.turn()
        assert len(peer.transport.writes) == 1
        assert peer.texts() == ["a", "b", "c"]
        assert (peer.outbox.sent_messages, peer.outbox.sent_bytes) == (3, 9)
        assert peer.outbox.buffered_amount == 0

    @pytest.mark.parametrize("stalled", [False, True])
    def test_it_counts_from_the_first_frame(self, loop: ManualLoop, peer: Peer, stalled: bool) -> None:
        """Not what the handshake has left: in the turn's write, behind a slow socket, in the transport."""
        if stalled:
            peer.stall()
        peer.outbox.write_http(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        counters = Counters()
        peer.outbox.count_from_here(counters)
        peer.outbox.push(text("a"))
        loop.settle()
        peer.transport.take()
        assert b"".join(peer.transport.writes).endswith(b"\r\n\r\n" + text("a"))
        assert (peer.outbox.sent_messages, peer.outbox.sent_bytes) == (1, len(text("a")))
        assert (counters.messages_sent, counters.bytes_sent) == (1, len(text("a")))

    def test_a_corked_outbox_is_flushed_by_who_corked_it(self, loop: ManualLoop, peer: Peer) -> None:
        peer.outbox.corked = True
        peer.outbox.push(text("a"))
        assert peer.outbox.buffered_amount == 3
        loop.settle()
        assert peer.transport.writes == []
        peer.outbox.flush()
        peer.outbox.flush()
        assert peer.transport.writes == [text("a")]

    def test_nothing_is_written_to_a_transport_that_closes_meanwhile(
        self, loop: ManualLoop, peer: Peer
    ) -> None:
        peer.outbox.push(text("a"))
        peer.transport.abort()
        loop.settle()
        assert peer.transport.writes == []

    def test_a_burst_is_not_slow(self, loop: ManualLoop, turn: Turn) -> None:
        """However large: nothing counts against a client before its socket has refused bytes."""
        peer = Peer(loop, turn, limits=(2, 10))
        verdicts = {peer.outbox.push(text("x" * 100)) for _ in range(1000)}
        assert verdicts == {SendStatus.SENT}
        loop.settle()
        assert len(peer.frames()) == 1000


class TestPace:
    """What who sends asks, to find out whether it should wait."""

    def test_a_turn_in_which_much_was_said(self, loop: ManualLoop, peer: Peer) -> None:
        for _ in range(TURN_MESSAGES - 1):
            peer.outbox.push(text("x"))
        assert not peer.outbox.is_filling()
        peer.outbox.push(text("x"))
        assert peer.outbox.is_filling()
        loop.settle()
        assert not peer.outbox.is_filling()

    def test_what_must_wait(self, loop: ManualLoop, turn: Turn) -> None:
        hub, peer = Hub(), Peer(loop, turn)
        hub.subscribe(peer, "t")
        assert not peer.outbox.must_wait()
        hub.publish("t", "published before")
        assert not peer.outbox.must_wait()
        peer.outbox.push_fragment(encode(TEXT, "1", None, 0), first=True, fin=False)
        assert peer.outbox.must_wait()
        peer.outbox.push_fragment(encode(CONTINUATION, "2"), first=False, fin=True)
        loop.settle()
        assert [one.payload for one in peer.frames()] == [b"published before", b"1", b"2"]
        peer.stall()
        assert peer.outbox.must_wait()


class TestDirect:
    """Bytes past the transport: only while it holds none, and what is left over goes through it."""

    def test_whole(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        peer = Peer(loop, turn, kernel=kernel)
        peer.outbox.push(text("a"))
        peer.outbox.push(text("b"))
        loop.settle()
        assert kernel.calls == [1]
        assert peer.texts() == ["a", "b"]

    def test_messages_and_frames_in_one_write(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        peer = Peer(loop, turn, kernel=kernel)
        assert peer.outbox.takes_messages()
        for message in ("a", b"b"):
            assert peer.outbox.push_message(message) is SendStatus.SENT
        peer.outbox.push(text("c"))
        assert peer.outbox.buffered_amount == 9
        loop.settle()
        assert kernel.calls == [1]
        assert [one.payload for one in peer.frames()] == [b"a", b"b", b"c"]
        assert peer.outbox.sent_messages == 3
        assert peer.outbox.sent_bytes == 9
        peer.outbox.is_open = False
        assert peer.outbox.push_message("d") is SendStatus.CLOSED

    def test_what_waits_is_counted_with_its_headers(
        self, loop: ManualLoop, turn: Turn, kernel: Kernel
    ) -> None:
        peer = Peer(loop, turn, kernel=kernel)
        for size in (0, 125, 126, 65535, 65536):
            peer.outbox.push_message(bytes(size))
            peer.outbox.push_message("x" * size)
            peer.outbox.push_message((bytes(size), b"mask"))
        waiting = peer.outbox.buffered_amount
        loop.settle()
        assert peer.outbox.sent_bytes == waiting

    @pytest.mark.parametrize("room", [0, 2])
    def test_the_rest_goes_through_the_transport(
        self, loop: ManualLoop, turn: Turn, kernel: Kernel, room: int
    ) -> None:
        peer = Peer(loop, turn, kernel=kernel, room=room)
        peer.outbox.push(text("hello"))
        loop.settle()
        assert peer.outbox.blocked
        peer.outbox.push_fragment(text("behind it"), first=True, fin=True)
        loop.settle()
        assert kernel.calls == [1]
        peer.outbox.push(text("waits"))
        peer.transport.take()
        assert peer.texts() == ["hello", "behind it", "waits"]
        assert kernel.calls == [1, 1]

    def test_none_while_the_transport_holds_bytes(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        peer = Peer(loop, turn, kernel=kernel, room=0)
        peer.outbox.push(text("refused"))
        peer.outbox.flush()
        peer.outbox.push_last(BYE)
        peer.outbox.push_urgent(PONG, encode(PONG, b""))
        peer.transport.take(len(text("refused")))
        assert peer.outbox.blocked
        peer.transport.take()
        assert [one.opcode for one in peer.frames()] == [TEXT, CLOSE]

    def test_a_message_behind_what_was_published(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        hub, peer = Hub(), Peer(loop, turn, kernel=kernel)
        hub.subscribe(peer, "t")
        hub.publish("t", "1")
        peer.outbox.push_message("2")
        hub.publish("t", "3")
        loop.settle()
        assert peer.texts() == ["1", "2", "3"]

    def test_urgent_frames_of_which_a_part_is_taken(
        self, loop: ManualLoop, turn: Turn, kernel: Kernel
    ) -> None:
        peer = Peer(loop, turn, kernel=kernel, room=1)
        peer.outbox.push(text("refused"))
        peer.outbox.flush()
        peer.outbox.push_urgent(PING, encode(PING, b"ping"))
        peer.transport.take(len(text("refused")) - 1 + 2)
        assert peer.outbox.blocked
        peer.transport.take()
        assert [one.opcode for one in peer.frames()] == [TEXT, PING]

    def test_an_error_ends_the_connection(self, loop: ManualLoop, turn: Turn, kernel: Kernel) -> None:
        peer = Peer(loop, turn, kernel=kernel)
        kernel.errors[peer.outbox.fd] = 32
        peer.outbox.push(text("a"))
        loop.settle()
        assert peer.transport.aborted
        assert peer.outbox.fd == -1
        assert peer.outbox.push(text("b")) is SendStatus.CLOSED
