"""How many connections fit, and accepting without running out of descriptors."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket

import pytest

import fastws
from fastws.server.descriptors import (
    ACCEPTS_PER_TURN,
    RESERVED_DESCRIPTORS,
    accepts_in_bulk,
    connections_that_fit,
    listen_again,
)
from fastws.server.run import AcceptErrors
from fastws.testing.network import ListeningSocket
from tests.kit import ManualLoop, Recorder

UNLIMITED = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "raised", "room"),
    [
        ((1024, 4096), (4096, 4096), 4096 - RESERVED_DESCRIPTORS),
        ((1024, 1024), None, 1024 - RESERVED_DESCRIPTORS),
        ((128, 128), None, 64),
        ((1024, UNLIMITED), (UNLIMITED, UNLIMITED), None),
    ],
)
def test_connections_that_fit(
    monkeypatch: pytest.MonkeyPatch,
    limits: tuple[int, int],
    raised: tuple[int, int] | None,
    room: int | None,
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: given.append(pair))
    assert connections_that_fit() == room
    assert given == ([raised] if raised else [])


def test_a_system_that_does_not_let_the_limit_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, pair: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, UNLIMITED))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert connections_that_fit() == 1024 - RESERVED_DESCRIPTORS


def waiting(server: fastws.Server) -> int:
    """Connections that may wait at the server's socket, as the kernel says (tcpi_sacked of TCP_INFO)."""
    with socket.socket(fileno=socket.dup(server.sockets[0].fileno())) as sock:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[28:32], "little")


@pytest.mark.live
def test_plain_asyncio_accepts_a_few_in_a_turn_and_lets_as_many_wait_as_told() -> None:
    given: list[int] = []

    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        assert accepts_in_bulk(loop)
        listen = loop.create_server

        async def create_server(*args: object, **options: object) -> asyncio.Server:
            given.append(int(str(options["backlog"])))
            return await listen(*args, **options)  # type: ignore[call-overload, no-any-return]

        loop.create_server = create_server  # type: ignore[method-assign]
        async with fastws.serve(Recorder(), "127.0.0.1", backlog=100) as server:
            return waiting(server)

    assert asyncio.run(scenario()) == 100
    assert given == [ACCEPTS_PER_TURN]


def test_a_listener_in_memory_stays_as_it_is(loop: ManualLoop) -> None:
    assert not accepts_in_bulk(loop)
    listen_again(ListeningSocket(("127.0.0.1", 8000)), 100)


def test_accept_errors_are_told_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    times = iter([1.0, 1.0, 5.0, 12.0, 12.0])
    monkeypatch.setattr(loop, "time", lambda: next(times))
    handler = AcceptErrors()
    error = OSError(24, "Too many open files")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            handler(loop, {"message": "socket.accept() out of system resource", "exception": error})
        handler(loop, {"message": "something else"})
    loop.close()
    told = [(record.name, record.getMessage()) for record in caplog.records]
    wanted = "connections cannot be accepted: [Errno 24] Too many open files"
    assert told == [("fastws.error", wanted), ("fastws.error", wanted), ("asyncio", "something else")]
