"""What counts as progress of a peer that reads slowly: what its kernel has taken."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fastws.loop.progress import SLOW_READER_RATE, SMALL_BUFFER_BYTES, progress_mark, window_seconds
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


def info_of(*, retransmits: int = 0, probes: int = 0, acknowledged: int, waiting: int) -> bytes:
    """A ``tcp_info`` as Linux fills it in."""
    info = bytearray(148)
    info[2], info[3] = retransmits, probes
    struct.pack_into("=Q", info, 120, acknowledged)
    struct.pack_into("=I", info, 144, waiting)
    return bytes(info)


class Told(Held):
    """Its kernel says what the test says."""

    family = socket.AF_INET

    def __init__(self, info: bytes) -> None:
        super().__init__(self)
        self._info = info

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self._info[:size]


TAKEN = SMALL_BUFFER_BYTES + 30 * SLOW_READER_RATE


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize(
    ("info", "seconds"),
    [
        pytest.param(info_of(acknowledged=TAKEN, waiting=1), 30, id="behind a large buffer"),
        pytest.param(info_of(acknowledged=TAKEN, waiting=1, probes=2), 30, id="asked just now"),
        pytest.param(info_of(acknowledged=100_000, waiting=1), 0, id="behind a small one"),
        pytest.param(info_of(acknowledged=TAKEN, waiting=0), 0, id="nothing waits"),
        pytest.param(info_of(acknowledged=TAKEN, waiting=1, probes=3), 0, id="no answer to probes"),
        pytest.param(info_of(acknowledged=TAKEN, waiting=1, retransmits=3), 0, id="no acknowledgement"),
        pytest.param(info_of(acknowledged=TAKEN, waiting=1)[:140], 0, id="an older kernel"),
    ],
)
def test_how_long_a_closed_window_may_be_the_reason(info: bytes, seconds: float) -> None:
    assert window_seconds(Told(info)) == pytest.approx(seconds, abs=0.001)


def test_a_window_that_is_closed(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = sockets
    if ours.family != socket.AF_INET or sys.platform != "linux":
        assert window_seconds(Held(ours)) == 0
    else:
        while not window_seconds(Held(ours)):  # the kernel still sends what the fixture has written
            with contextlib.suppress(BlockingIOError):
                ours.send(bytes(READ))
    assert window_seconds(Held(None)) == 0
