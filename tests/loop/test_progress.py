"""What counts as progress of a peer that reads slowly: what its kernel has taken."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fastws.loop.progress import progress_mark
from fastws.server.send_buffer import NOTSENT_LOWAT
from fastws.testing import MemoryTransport
from tests.kit import ManualLoop

READ = 128 * 1024


@pytest.fixture(params=["tcp", "tcp, small buffer", "unix"])
def sockets(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A socket that writes, whose buffers are full, and its peer."""
    if request.param == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs, _ = listener.accept()
        if request.param != "tcp" and sys.platform == "linux":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
            ours.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, 16384)
    with ours, theirs:
        ours.setblocking(False)
        try:
            while True:
                ours.send(bytes(READ))
        except BlockingIOError:
            yield ours, theirs


class Held:
    """A transport that holds the same all the time, as one does while the kernel's buffer drains."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> Any:
        return self._sock if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 1_000_000


def test_it_moves_when_the_peer_reads_and_only_then(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    transport = Held(ours)
    before = progress_mark(transport)
    assert [progress_mark(transport) for _ in range(10)] == [before] * 10
    taken = 0
    # A window that was closed opens when some 64 KiB are free.
    while progress_mark(transport) == before:
        taken += len(theirs.recv(READ))
        assert taken <= 32 * READ


def test_a_socket_that_is_closed_or_is_none_leaves_what_the_transport_holds(loop: ManualLoop) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    assert progress_mark(Held(ours)) == 1_000_000
    assert progress_mark(Held(None)) == 1_000_000
    assert progress_mark(MemoryTransport(loop, asyncio.Protocol())) == 0
