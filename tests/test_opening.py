"""A client's handshake against a server made of bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import fastws
from fastws.errors import HandshakeInterrupted
from tests.kit import ManualLoop, RawServer


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
    refused = attempt.fails(fastws.Refused, "status 403")
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
