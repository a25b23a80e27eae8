"""A client's handshake against a server made of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import fastws
from fastws.errors import HandshakeInterrupted
from fastws.testing.wire import accept_token
from tests.kit import ManualLoop, RawServer, Recorder


async def opened(**options: Any) -> fastws.WebSocket:
    return await fastws.connect("ws://server/", proxy=None, **options)


class Attempt:
    def __init__(self, loop: ManualLoop, **options: Any) -> None:
        self.loop = loop
        self.server = RawServer(loop)
        self.task = loop.create_task(opened(**options))
        loop.settle()

    def fails(self, kind: type[BaseException], match: str | None = None) -> Any:
        self.loop.settle()
        with pytest.raises(kind, match=match) as caught:
            self.task.result()
        assert self.server.ended
        return caught.value


@pytest.fixture
def attempt(loop: ManualLoop) -> Iterator[Attempt]:
    yield Attempt(loop)


def test_it_opens_and_takes_early_frames(loop: ManualLoop, attempt: Attempt) -> None:
    request = attempt.server.accept(early=b"\x81\x02hi")
    assert request.startswith("GET / HTTP/1.1\r\n")
    assert loop.run(attempt.task.result().recv()) == "hi"


@pytest.mark.parametrize("answer", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"])
def test_an_answer_that_is_none(attempt: Attempt, answer: bytes) -> None:
    attempt.server.send(answer)
    attempt.fails(fastws.HandshakeError)


def test_a_refusal_whose_body_ends_with_tcp(attempt: Attempt) -> None:
    attempt.server.send(b"HTTP/1.1 403 X\r\n\r\nbody")
    assert not attempt.task.done()
    attempt.server.transport.write_eof()
    attempt.loop.settle()
    refused = attempt.fails(fastws.HandshakeRefused, "status 403")
    assert refused.response.body == b"body"


def test_tcp_that_ends_before_the_answer(attempt: Attempt) -> None:
    attempt.server.send(b"HTTP/1.1 1")
    attempt.server.transport.write_eof()
    attempt.fails(HandshakeInterrupted)


def test_tcp_that_is_cut(attempt: Attempt) -> None:
    attempt.server.transport.abort()
    attempt.loop.settle()
    with pytest.raises((OSError, HandshakeInterrupted)):
        attempt.task.result()


def test_cancelled_it_hangs_up(attempt: Attempt) -> None:
    attempt.task.cancel()
    attempt.fails(asyncio.CancelledError)


def test_a_101_for_somebody_who_has_gone(loop: ManualLoop) -> None:
    """Cancelled in the very turn in which the answer comes: no ``on_open`` for nobody."""
    handler = Recorder()
    attempt = Attempt(loop, handler=handler)
    head = attempt.server.received
    key = next(line for line in head.decode().split("\r\n") if "-Key: " in line).split(": ")[1]
    client = loop.network.connections[0][0]
    attempt.task.cancel()
    client.feed(
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {accept_token(key)}\r\n\r\n".encode()
    )
    attempt.fails(asyncio.CancelledError)
    assert handler.events == []


def test_a_request_that_the_socket_takes_in_pieces(loop: ManualLoop) -> None:
    loop.network.capacity = 50
    attempt = Attempt(loop)
    attempt.server.accept()
    assert attempt.task.result().close_code is None


def test_no_route_to_the_server(loop: ManualLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TimeoutError of TCP's own is passed on as it is."""

    async def create_connection(*args: Any, **options: Any) -> Any:
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr(loop, "create_connection", create_connection)
    with pytest.raises(TimeoutError, match="Connection timed out"):
        loop.run(opened())


def test_no_answer_at_all(loop: ManualLoop) -> None:
    attempt = Attempt(loop, open_timeout=3.0)
    loop.advance(3.1)
    attempt.fails(TimeoutError, "no WebSocket within 3 s")


def test_a_reset_in_the_handshake(loop: ManualLoop, attempt: Attempt) -> None:
    loop.network.connections[0][0].lose()
    loop.settle()
    assert isinstance(attempt.task.exception(), ConnectionResetError)


def test_garbage_for_somebody_who_has_gone(loop: ManualLoop, attempt: Attempt) -> None:
    attempt.task.cancel()
    loop.network.connections[0][0].feed(b"SSH-2.0\r\n\r\n")
    attempt.fails(asyncio.CancelledError)


def test_cancelled_by_its_own_on_open(loop: ManualLoop) -> None:
    class Leaving(Recorder):
        def on_open(self, ws: fastws.WebSocket) -> None:
            super().on_open(ws)
            connecting.task.cancel()

    handler = Leaving()
    connecting = Attempt(loop, handler=handler)
    connecting.server.accept()
    connecting.fails(asyncio.CancelledError)
    assert handler.closes() == [(1006, "")]
