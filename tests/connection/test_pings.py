"""Pings of the application and their pongs."""

from __future__ import annotations

from typing import Any

import pytest

from fastws import (
    ConnectionClosedError,
)
from fastws.testing.wire import PING
from tests.kit import ManualLoop
from tests.kit.served import collect


class TestPings:
    def test_round_trip(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        assert ws.latency is None
        task = loop.create_task(ws.ping(b"p"))
        loop.settle()
        assert client.frames() == [(PING, b"p", True, False, False)]
        loop.advance(0.25)
        client.pong(b"other")
        loop.settle()
        assert not task.done()
        client.pong(b"p")
        loop.settle()
        assert task.result() > 0
        assert ws.latency == task.result()

    @pytest.mark.parametrize("payload", ["text", bytearray(b"x"), 5])
    def test_a_payload_is_bytes(self, loop: ManualLoop, payload: Any) -> None:
        _, ws, _ = collect(loop)
        with pytest.raises(TypeError, match="the payload of a ping is bytes, not"):
            loop.run(ws.ping(payload))

    def test_own_payloads(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        tasks = [loop.create_task(ws.ping()) for _ in range(3)]
        loop.settle()
        payloads = [one.payload for one in client.frames()]
        assert len(set(payloads)) == 3
        assert all(len(payload) == 4 for payload in payloads)
        for payload in payloads:
            client.pong(payload)
        loop.settle()
        assert all(task.done() for task in tasks)

    def test_the_newest_pong_answers_the_pings_before_it(self, loop: ManualLoop) -> None:
        """A peer may answer only the most recent ping (RFC 6455, section 5.5.3)."""
        client, ws, _ = collect(loop)
        tasks = [loop.create_task(ws.ping(payload)) for payload in (b"1", b"2", b"3")]
        loop.settle()
        client.pong(b"2")
        loop.settle()
        assert [task.done() for task in tasks] == [True, True, False]
        client.pong(b"1")
        client.pong(b"3")
        loop.settle()
        assert tasks[2].done()

    def test_an_empty_payload(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        client.pong(b"")
        loop.settle()
        assert ws.latency is None
        task = loop.create_task(ws.ping(b""))
        loop.settle()
        client.pong(b"")
        loop.settle()
        assert task.done()

    def test_the_pong_of_the_keep_alive_answers_too(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop, timeouts={"ping_interval": 20, "ping_timeout": 20})
        loop.advance(20.1)
        client.pong(client.frames()[0].payload)
        before = loop.create_task(ws.ping(b"before"))
        loop.advance(20.1)
        after = loop.create_task(ws.ping(b"after"))
        loop.settle()
        keep_alive = client.frames()[1]
        client.pong(keep_alive.payload)
        loop.settle()
        assert (before.done(), after.done()) == (True, False)
        assert ws.latency is not None
        client.pong(b"after")
        loop.settle()
        assert after.done()

    def test_what_cannot_be_sent(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        with pytest.raises(ValueError, match="125"):
            loop.run(ws.ping(b"x" * 126))
        task = loop.create_task(ws.ping(b"twice"))
        loop.settle()
        with pytest.raises(ValueError, match="under way"):
            loop.run(ws.ping(b"twice"))
        task.cancel()
        loop.settle()
        again = loop.create_task(ws.ping(b"twice"))
        loop.settle()
        client.pong(b"twice")
        loop.settle()
        assert again.done()

    def test_cancelled_after_the_answer(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        task = loop.create_task(ws.ping(b"p"))
        loop.settle()
        client.pong(b"p")
        task.cancel()
        loop.settle()
        assert task.cancelled()
        waiting = loop.create_task(ws.ping(b"q"))
        loop.settle()
        waiting.cancel()
        client.pong(b"q")
        loop.settle()
        assert waiting.cancelled()

    def test_the_end(self, loop: ManualLoop) -> None:
        client, ws, _ = collect(loop)
        answered, waiting = loop.create_task(ws.ping(b"1")), loop.create_task(ws.ping(b"2"))
        given_up = loop.create_task(ws.ping(b"3"))
        loop.settle()
        client.pong(b"1")
        client.transport.lose()
        given_up.cancel()
        loop.settle()
        assert answered.exception() is None
        assert isinstance(waiting.exception(), ConnectionClosedError)
        with pytest.raises(ConnectionClosedError):
            loop.run(ws.ping())
