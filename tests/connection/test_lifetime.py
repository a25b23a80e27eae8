"""A connection's times: keep-alive and the limit of a write without progress."""

from __future__ import annotations

import re
from typing import Any

import pytest

import fastws
from fastws import Route, Server
from fastws.connection.lifetime import PONG_GRACE_SECONDS
from fastws.testing.wire import PING, TEXT
from tests.kit import ManualLoop, RawClient, Recorder, handshake
from tests.kit.served import NO_PINGS, opened, stall


class TestKeepAlive:
    """Pings every 20 s, a pong within 20 s more, and one more look at the socket before the end."""

    def test_a_peer_that_answers(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        for _ in range(10):
            loop.advance(20.05)
            (ping,) = client.frames()
            assert (ping.opcode, len(ping.payload)) == (PING, 4)
            client.pong(ping.payload)
        assert handler.ws.latency is not None
        assert handler.closes() == []

    @pytest.mark.parametrize("kind", ["silent", "vanished", "wrong pongs"])
    def test_a_peer_that_does_not(self, loop: ManualLoop, kind: str) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        if kind == "vanished":
            client.vanish()
        for _ in range(40):
            loop.advance(1)
            if kind == "wrong pongs":
                client.pong(b"")
                client.pong(b"nope")
        assert handler.closes() == []
        loop.advance(PONG_GRACE_SECONDS + 0.2)
        assert handler.closes() == [(1006, "ping timeout")]
        assert client.transport.aborted
        loop.settle()
        assert loop.timers == []

    def test_no_second_ping_before_the_pong(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder(), timeouts={"ping_interval": 5, "ping_timeout": 12})
        loop.advance(16)
        assert len(client.frames()) == 1

    def test_without_a_limit_for_the_pong(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={"ping_timeout": None})
        loop.advance(100)
        assert [one.opcode for one in client.frames()] == [PING] * 5
        assert handler.closes() == []

    def test_after_a_pause_of_the_machine(self, loop: ManualLoop) -> None:
        """Timers fire before reads: the pong that lies in the socket still counts."""
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        loop.advance(20.05)
        (ping,) = client.frames()
        loop.sleep_machine(3600)
        loop.settle()
        client.pong(ping.payload)
        loop.advance(PONG_GRACE_SECONDS + 0.2)
        assert handler.closes() == []

    def test_while_nothing_is_read(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        handler.ws.pause_reading()
        loop.advance(20.05)
        client.pong(client.frames()[0].payload)
        loop.advance(300)
        assert handler.closes() == []
        handler.ws.resume_reading()
        loop.advance(5)
        assert handler.closes() == []

    def test_just_when_reading_goes_on(self, loop: ManualLoop) -> None:
        """A timer that fires between the resumption and the first read is no reason to end it."""
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        handler.ws.pause_reading()
        loop.advance(20.05)
        ping = client.frames()[0]
        loop.advance(60)
        handler.ws.resume_reading()
        loop.advance(PONG_GRACE_SECONDS)
        assert handler.closes() == []
        client.pong(ping.payload)
        loop.advance(PONG_GRACE_SECONDS)
        assert handler.closes() == []

    def test_a_pong_for_a_newer_ping(self, loop: ManualLoop) -> None:
        """A peer may answer only the most recent ping (RFC 6455, section 5.5.3)."""
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        client.connection.loop_state.clock = loop.time
        loop.advance(20.05)
        loop.advance(1)
        task = loop.create_task(handler.ws.ping(b"newer"))
        loop.settle()
        client.pong(b"newer")
        loop.advance(18)
        assert task.done()
        assert handler.closes() == []
        loop.advance(10)
        assert handler.closes() == []
        assert [one.opcode for one in client.frames()] == [PING] * 3

    def test_pings_overtake_what_waits(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={"write": None})
        stall(loop, client, handler.ws)
        handler.ws.send_nowait("waits")
        loop.advance(20.05)
        client.read()
        assert [one.opcode for one in client.frames()] == [TEXT, PING, TEXT]

    def test_off(self, loop: ManualLoop) -> None:
        client = opened(loop, Recorder())
        loop.advance(1000)
        assert client.frames() == []
        assert loop.timers == []

    def test_behind_what_a_slow_reader_takes_first(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel has taken all, the ping too, and the peer reads on: its pong may come much later."""
        kernel = SlowPeer(loop, seconds=30.0)
        kernel.patch(monkeypatch)
        handler = Recorder()
        client = opened(loop, handler, timeouts={})
        loop.advance(20.05)
        (ping,) = client.frames()
        loop.advance(200)
        assert handler.closes() == []
        client.pong(ping.payload)
        kernel.stop()
        loop.advance(20.05)
        assert handler.closes() == []
        # It answers the next ping no more, and takes nothing more: it has the time of its window once.
        loop.advance(20 + PONG_GRACE_SECONDS + 29.5)
        assert handler.closes() == []
        loop.advance(2)
        assert handler.closes() == [(1006, "ping timeout")]

    def test_a_peer_whose_kernel_has_all_and_that_answers_nothing(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = SlowPeer(loop, seconds=0.0)
        kernel.patch(monkeypatch)
        handler = Recorder()
        opened(loop, handler, timeouts={})
        loop.advance(40 + PONG_GRACE_SECONDS + 0.2)
        assert handler.closes() == [(1006, "ping timeout")]


class SlowPeer:
    """What the kernel tells of a peer that takes something in each 2 s; ``seconds`` is its window's time."""

    def __init__(self, loop: ManualLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._stopped_at: float | None = None

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastws.connection.lifetime.progress_mark", self.mark)
        monkeypatch.setattr("fastws.connection.lifetime.window_seconds", lambda transport: self._seconds)

    def stop(self) -> None:
        self._stopped_at = self._loop.time()

    def mark(self, transport: Any) -> int:
        return int((self._stopped_at or self._loop.time()) // 2)


class TestWriteLimit:
    def test_a_window_that_opens_in_large_steps(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        kernel = SlowPeer(loop, seconds=50.0)
        kernel.stop()
        kernel.patch(monkeypatch)
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(49)
        assert handler.closes() == []
        loop.advance(3)
        assert client.transport.aborted
        assert re.search(r"took nothing for 5\d s: aborted", caplog.text)

    def test_a_window_is_waited_for_within_a_bound(
        self, loop: ManualLoop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kernel = SlowPeer(loop, seconds=10_000.0)
        kernel.stop()
        kernel.patch(monkeypatch)
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(119)
        assert handler.closes() == []
        loop.advance(3)
        assert client.transport.aborted

    def test_without_progress(self, loop: ManualLoop, caplog: pytest.LogCaptureFixture) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        loop.advance(9.9)
        assert not client.transport.lost
        loop.advance(1.2)
        assert client.transport.aborted
        assert handler.closes() == [(1006, "write timeout")]
        assert "took nothing for 10 s" in caplog.text

    def test_progress_counts_however_small(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        client.stall(1)
        handler.ws.send_nowait("x" * 1000)
        loop.settle()
        client.read_slowly(1, 8.0)
        loop.advance(200)
        assert handler.closes() == []
        client.read()
        loop.advance(20)
        assert handler.closes() == []

    def test_what_is_said_meanwhile_is_no_progress(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler)
        stall(loop, client, handler.ws)
        for _ in range(12):
            loop.advance(1)
            handler.ws.send_nowait("more")
            client.ping(b"x")
        assert client.transport.aborted

    def test_off(self, loop: ManualLoop) -> None:
        handler = Recorder()
        client = opened(loop, handler, timeouts={**NO_PINGS, "write": None})
        stall(loop, client, handler.ws)
        loop.advance(1000)
        assert handler.closes() == []

    def test_is_not_forgotten_for_a_later_deadline(self, loop: ManualLoop) -> None:
        """The first ping is due in 20 s; the write that stalled before the 101 was read is not."""
        release = loop.create_future()

        async def authorize(request: fastws.Request) -> None:
            await release

        async def start() -> Server:
            page = Route("/page", http=lambda request: fastws.Response(200, "x"))
            return await fastws.serve([page, Route("/", Recorder(), authorize=authorize)], access_log=False)

        client = RawClient(loop.run(start()), loop)
        client.stall()
        client.send(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n" + handshake())
        loop.settle()
        release.set_result(None)
        loop.advance(11.2)
        assert client.transport.aborted
