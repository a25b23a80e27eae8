"""Closes: by the peer, by us, for a violation, and of who is too slow."""

from __future__ import annotations

from typing import Any

import pytest

from fastws import SendStatus, WebSocket
from fastws.pubsub.hub import Hub
from fastws.testing.wire import CLOSE, TEXT
from tests.kit import ManualLoop, Pair, RawClient, Recorder, frame
from tests.kit.served import NO_PINGS, Scripted, opened, served, stall


class TestPeerCloses:
    @pytest.mark.parametrize("code", [1000, 1001, 3000, 4999, None])
    def test_is_answered_with_its_code_and_reason(self, loop: ManualLoop, code: int | None) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.close(code, "" if code is None else "bye")
        loop.settle()
        (answer,) = client.frames()
        assert (answer.close_code, answer.close_reason) == (code or 1005, "" if code is None else "bye")
        assert handler.closes() == [(code or 1005, "" if code is None else "bye")]
        assert client.transport.lost
        assert not client.transport.aborted

    def test_on_close_comes_before_the_end_of_tcp(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.close()
        assert handler.closes() == [(1000, "")]
        assert not client.transport.lost
        assert handler.ws.send_nowait("late") is SendStatus.CLOSED
        loop.settle()

    def test_what_follows_it_is_ignored(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.send(frame(CLOSE, b"\x03\xe8") + frame(TEXT, "late") + b"\xff\xff")
        loop.settle()
        assert handler.messages() == []
        assert [one.close_code for one in client.frames()] == [1000]

    def test_what_was_accepted_goes_first(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("accepted")
        client.close()
        loop.settle()
        assert not client.transport.lost
        client.read()
        loop.settle()
        assert [one.payload for one in client.frames()] == [b"stalls", b"accepted", b"\x03\xe8"]
        assert client.transport.lost

    def test_one_that_never_reads_the_answer(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.stall()
        client.close()
        assert handler.closes() == [(1000, "")]
        loop.advance(9)
        assert not client.transport.lost
        loop.advance(2.2)
        assert client.transport.aborted


class TestViolations:
    @pytest.mark.parametrize(
        ("data", "code", "reason"),
        [
            (b"\x83\x80abcd", 1002, "unknown opcode"),
            (b"\x81\x05Hello", 1002, "unmasked frame"),
            (frame(TEXT, b"\xff"), 1007, "invalid UTF-8"),
            (frame(TEXT, "x" * 600), 1009, "message too big"),
        ],
    )
    def test_closes_with_its_code(self, loop: ManualLoop, data: bytes, code: int, reason: str) -> None:
        handler = Recorder(echo=True)
        client = opened(loop, handler, limits={"max_message_size": 512})
        client.send(frame(TEXT, "fine") + data + frame(TEXT, "late"))
        loop.settle()
        echo, last = client.frames()
        assert echo.payload == b"fine"
        assert (last.opcode, last.close_code) == (CLOSE, code)
        assert handler.closes() == [(code, last.close_reason)]
        assert last.close_reason == reason

    def test_the_rest_is_read_so_that_no_reset_takes_the_close_frame(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert client.transport.eof_written
        for _ in range(4):
            client.send(b"\xff" * 300_000)
            loop.advance(1)
        assert client.transport.unread == 0
        client.transport.feed_eof()
        loop.settle()
        assert client.transport.lost
        assert not client.transport.aborted

    def test_a_peer_that_has_reset_it_before(self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        def write_eof() -> None:
            raise OSError(107, "Transport endpoint is not connected")

        client = opened(loop, Recorder())
        monkeypatch.setattr(client.transport, "write_eof", write_eof)
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert client.transport.aborted

    def test_a_peer_that_goes_on_has_five_seconds(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder())
        client.send(b"\x83\x80abcd")
        loop.advance(4.9)
        assert not client.transport.lost
        loop.advance(0.2)
        assert client.transport.aborted

    def test_over_tls_there_is_no_half_a_close(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder(), ssl_object=object())
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert client.frames()[-1].close_code == 1002
        assert client.transport.lost

    def test_while_closing(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(4000)
        client.send(b"\x83\x80abcd")
        loop.settle()
        assert [one.close_code for one in client.frames()] == [4000]
        assert handler.closes() == [(4000, "")]


class TestWeClose:
    def test_twice(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(4000)
        handler.ws.close_nowait(4001)
        client.ping(b"too late for a pong")
        loop.settle()
        assert [(one.opcode, one.close_code) for one in client.frames()] == [(CLOSE, 4000)]

    def test_the_peer_answers(self, loop: ManualLoop) -> None:
        handler = Scripted()
        client = opened(loop, handler)
        client.send(frame(TEXT, "close") + frame(TEXT, "sent before it saw our close"))
        loop.settle()
        (ours,) = client.frames()
        assert (ours.close_code, ours.close_reason) == (4000, "as told")
        assert handler.closes() == []
        client.close(4000)
        loop.settle()
        assert handler.events == [("open",), ("message", "close"), ("close", 4000, "as told")]
        assert client.transport.lost
        assert not client.transport.aborted

    def test_the_peer_does_not(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(1000, "bye")
        loop.advance(4.9)
        assert not client.transport.lost
        loop.advance(0.2)
        assert client.transport.aborted
        assert handler.closes() == [(1000, "bye")]

    def test_the_peer_ends_tcp_instead(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(1000, "bye")
        client.transport.feed_eof()
        loop.settle()
        assert handler.closes() == [(1000, "bye")]

    def test_a_slow_peer_has_the_write_limit(self, loop: ManualLoop) -> None:
        """What was accepted before the close goes out as long as there is progress."""
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("y" * 100)
        handler.ws.close_nowait(1000, "bye")
        for _ in range(4):
            loop.advance(8)
            client.read(20)
        assert not client.transport.lost
        client.read()
        assert [one.opcode for one in client.frames()] == [TEXT, TEXT, CLOSE]
        loop.advance(5.2)
        assert client.transport.lost

    def test_without_a_limit(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={**NO_PINGS, "close": None})
        handler.ws.close_nowait()
        loop.advance(1000)
        assert not client.transport.lost

    def test_a_client_waits_for_the_server_to_end_tcp(self, loop: ManualLoop) -> None:
        """RFC 6455, section 7.1.1."""
        handler = Recorder()
        pair = Pair(loop, handler, timeouts=NO_PINGS, client={"timeouts": NO_PINGS})
        loop.run(pair.ws.close(1000, "bye"))
        assert handler.closes() == [(1000, "bye")]
        assert not pair.client.aborted
        assert not pair.server.aborted

    def test_a_client_does_not_wait_for_ever(self, loop: ManualLoop) -> None:
        handler = Recorder()
        pair = Pair(loop, handler, timeouts=NO_PINGS, client={"timeouts": NO_PINGS})
        pair.client.vanish()
        start = loop.time()
        loop.run(pair.ws.close())
        assert 5 <= loop.time() - start < 5.2

    def test_abort(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.connection.abort()
        loop.settle()
        assert client.transport.aborted
        assert handler.closes() == [(1006, "")]


class TestEviction:
    def publish_until_evicted(self, loop: ManualLoop, **options: Any) -> tuple[RawClient, Recorder, Hub]:
        hub, handler = Hub(), Recorder()
        client = opened(loop, handler, limits={"send_queue": 256}, **options)
        hub.subscribe(handler.ws, "t")
        stall(loop, client, handler.ws)
        for number in range(256):
            hub.publish("t", str(number))
            loop.settle()
        assert handler.closes() == []
        hub.publish("t", "one too many")
        loop.settle()
        return client, handler, hub

    def test_1008_for_both_sides(self, loop: ManualLoop) -> None:
        client, handler, hub = self.publish_until_evicted(loop)
        assert handler.closes() == [(1008, "too slow")]
        assert hub.count("t") == 0
        client.read()
        loop.settle()
        frames = client.frames()
        assert [(one.opcode, one.payload) for one in frames] == [
            (TEXT, b"stalls"),
            (CLOSE, b"\x03\xf0too slow"),
        ]
        assert client.transport.eof_written
        client.close(1008)
        loop.settle()
        assert client.transport.lost
        assert not client.transport.aborted
        assert client.connection.evicted

    def test_who_takes_nothing_is_cut_at_the_write_limit(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop)
        loop.advance(9)
        assert not client.transport.lost
        loop.advance(3)
        assert client.transport.aborted
        assert handler.closes() == [(1008, "too slow")]

    def test_who_only_takes_nothing_counts_as_evicted_too(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(9)
        assert not client.connection.evicted
        loop.advance(3)
        assert client.transport.aborted
        assert client.connection.evicted
        assert handler.closes() == [(1006, "write timeout")]

    def test_who_has_the_frame_and_does_not_answer(self, loop: ManualLoop) -> None:
        client, _, _ = self.publish_until_evicted(loop)
        client.read()
        loop.advance(5.2)
        assert client.transport.aborted

    def test_over_tls(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop, ssl_object=object())
        client.read()
        loop.settle()
        assert client.frames()[-1].close_code == 1008
        assert not client.transport.lost
        loop.advance(5.2)
        assert client.transport.lost
        assert handler.closes() == [(1008, "too slow")]

    def test_messages_that_come_meanwhile_are_ignored(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop)
        client.read()
        loop.settle()
        client.text("late")
        client.transport.feed_eof()
        loop.settle()
        assert handler.messages() == []
        assert client.transport.lost

    def test_on_close_may_publish(self, loop: ManualLoop) -> None:
        """It is not called in the middle of a fan-out."""
        hub = Hub()

        class Announcing(Recorder):
            def on_close(self, ws: WebSocket, code: int, reason: str) -> None:
                super().on_close(ws, code, reason)
                hub.publish("t", "somebody left")

        handler = Announcing()
        server = served(loop, handler, limits={"send_queue": 1})
        slow, fine = RawClient(server, loop), RawClient(server, loop)
        for client in (slow, fine):
            client.upgrade()
            hub.subscribe(handler.ws, "t")
        stall(loop, slow, handler.sockets[0])
        for message in "abc":
            hub.publish("t", message)
        loop.settle()
        assert fine.texts() == ["a", "b", "c", "somebody left"]

    def test_twice_and_when_closing(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        handler.ws.close_nowait(4000)
        client.connection.evict("too slow")
        loop.settle()
        assert [one.close_code for one in client.frames()] == [4000]
        assert not client.connection.evicted

    def test_lost_in_the_same_turn(self, loop: ManualLoop) -> None:
        client, handler, _ = self.publish_until_evicted(loop)
        client.transport.lose()
        loop.settle()
        assert handler.closes() == [(1008, "too slow")]
        assert loop.timers == []
