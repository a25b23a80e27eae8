"""What is on its way arrives, whoever ends the connection, as long as the peer takes it."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

import fastws
from fastws import Request, Response, Route, Server
from fastws.testing.wire import BINARY, CLOSE
from tests.kit import ManualLoop, RawClient, Recorder, frame, handshake

BODY = bytes(range(256)) * 4096


def big(request: Request) -> Response:
    return Response(200, BODY)


async def allow(request: Request) -> None:
    await asyncio.sleep(1)


@pytest.fixture
def server(loop: ManualLoop) -> Server:
    async def start() -> Server:
        routes: list[Any] = [
            Route("/big", http=big),
            Route("/ws", Recorder(echo=True)),
            Route("/asked", Recorder(), authorize=allow),
        ]
        return await fastws.serve(routes, access_log=False)

    return loop.run(start())


def read_all(loop: ManualLoop, client: RawClient, *, step: int, seconds: float) -> bytes:
    """Read ``step`` bytes every so many seconds; return what came."""
    client.read_slowly(step, seconds)
    loop.advance(seconds * (len(BODY) / step + 2))
    return client.pending()


def test_the_last_response_of_a_connection_has_its_time(loop: ManualLoop, server: Server) -> None:
    """Five seconds are for a peer that takes nothing."""
    client = RawClient(server, loop)
    client.stall()
    client.get("/big", "Connection: close")
    assert read_all(loop, client, step=100_000, seconds=3).endswith(BODY)


def test_tcp_ends_as_soon_as_the_last_response_is_taken(loop: ManualLoop, server: Server) -> None:
    client = RawClient(server, loop)
    client.stall()
    client.get("/big", "Connection: close")
    loop.advance(1)
    client.read()
    loop.settle()
    assert client.response().body == BODY
    assert client.transport.eof_written


@pytest.mark.parametrize("what", ["response", "echo"])
def test_a_stop_lets_out_what_is_on_its_way(what: str, loop: ManualLoop, server: Server) -> None:
    client = RawClient(server, loop)
    if what == "response":
        client.stall()
        client.get("/big")
    else:
        client.upgrade("/ws")
        client.stall()
        client.send(frame(BINARY, BODY))
    loop.settle()
    client.read_slowly(200_000, 1)
    loop.run(server.shutdown())
    if what == "response":
        assert client.response().body == BODY
    else:
        echo, close = client.frames()
        assert (echo.payload, close.opcode, close.close_code) == (BODY, CLOSE, 1001)


def test_a_stop_cuts_who_takes_nothing(loop: ManualLoop, server: Server) -> None:
    client = RawClient(server, loop)
    client.stall()
    client.get("/big")
    started = loop.time()
    loop.run(server.shutdown(4))
    assert loop.time() - started == pytest.approx(4, abs=0.1)
    assert client.transport.aborted


def test_who_is_let_in_after_the_stop_is_sent_away(loop: ManualLoop, server: Server) -> None:
    """Nobody would tell that WebSocket of the end."""
    client = RawClient(server, loop)
    client.send(handshake("/asked"))
    loop.advance(0.5)
    loop.run(server.shutdown())
    assert client.response().status == 503


def test_who_has_reset_the_connection_already(loop: ManualLoop, server: Server) -> None:
    """asyncio ends a socket that is none any more, and raises."""
    client = RawClient(server, loop)
    client.upgrade("/ws")

    def write_eof() -> None:
        raise OSError(errno.ENOTCONN, "not connected")

    client.transport.write_eof = write_eof  # type: ignore[method-assign]
    client.send(b"\xff\xff")
    loop.settle()
    assert client.transport.aborted
    assert loop.errors == []
