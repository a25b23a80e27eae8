"""recv(2) from many sockets in one C call."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from tests.blocks import blocks_kept

_fanin = pytest.importorskip("fastws.loop._recv", reason="the C modules are not built, or there is no epoll")

SLOTS = _fanin.SLOTS
SLOT = 100

Pair = tuple[socket.socket, socket.socket]


class Set:
    """An epoll set, a buffer, and pairs of TCP sockets of which the first is in the set."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.buffer = bytearray(SLOTS * SLOT)
        self.pairs: list[Pair] = []

    def add(self, count: int, events: int = select.EPOLLIN | select.EPOLLET) -> list[Pair]:
        with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
            for _ in range(count):
                other = socket.create_connection(listener.getsockname())
                one = listener.accept()[0]
                self.pairs.append((one, other))
                self.epoll.register(one.fileno(), events)
        return self.pairs[-count:]

    def receive(self) -> list[tuple[int, int]]:
        """Descriptors and sizes."""
        got = _fanin.receive_many(self.epoll.fileno(), self.buffer)
        return list(zip(got[::2], got[1::2], strict=True))

    def data(self, slot: int, size: int) -> bytes:
        return bytes(self.buffer[slot * SLOT : slot * SLOT + size])


@pytest.fixture
def sockets() -> Iterator[Set]:
    made = Set()
    yield made
    for pair in made.pairs:
        for sock in pair:
            sock.close()
    made.epoll.close()


def test_nothing_to_read(sockets: Set) -> None:
    sockets.add(2)
    assert sockets.receive() == []


def test_each_has_its_part_of_the_buffer(sockets: Set) -> None:
    pairs = sockets.add(3)
    for number, (_, other) in enumerate(pairs):
        other.sendall(bytes([number]) * (number + 1))
    got = sockets.receive()
    assert sorted(got) == sorted((one.fileno(), number + 1) for number, (one, _) in enumerate(pairs))
    for slot, (_, size) in enumerate(got):
        assert sockets.data(slot, size) == bytes([size - 1]) * size
    assert sockets.receive() == []


def test_those_that_find_no_place_come_next(sockets: Set) -> None:
    pairs = sockets.add(SLOTS + 3)
    for _, other in pairs:
        other.sendall(b"x")
    first, second = sockets.receive(), sockets.receive()
    assert (len(first), len(second)) == (SLOTS, 3)
    assert {fd for fd, _ in first + second} == {one.fileno() for one, _ in pairs}


def test_what_fills_its_part_stays_in_the_socket(sockets: Set) -> None:
    [(one, other)] = sockets.add(1)
    other.sendall(b"x" * (SLOT + 1))
    assert sockets.receive() == [(one.fileno(), SLOT)]
    assert one.recv(SLOT) == b"x"


def test_the_end_is_left_to_others_with_what_came_before(sockets: Set) -> None:
    """Both may come by one edge, of which nothing tells again."""
    [(one, other)] = sockets.add(1, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
    other.sendall(b"last")
    other.shutdown(socket.SHUT_WR)
    assert sockets.receive() == [(one.fileno(), 0)]
    assert (one.recv(10), one.recv(10)) == (b"last", b"")


def test_the_end_that_was_not_asked_for(sockets: Set) -> None:
    [(one, other)] = sockets.add(1)
    other.shutdown(socket.SHUT_WR)
    assert sockets.receive() == [(one.fileno(), 0)]


def test_urgent_data_is_left_to_others(sockets: Set) -> None:
    """A read stops before it, and no edge tells of what is behind."""
    [(one, other)] = sockets.add(1, select.EPOLLIN | select.EPOLLPRI | select.EPOLLET)
    other.send(b"before")
    other.send(b"!", socket.MSG_OOB)
    assert sockets.receive() == [(one.fileno(), 0)]


def test_an_error_is_left_to_others(sockets: Set) -> None:
    [(one, other)] = sockets.add(1)
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.close()
    assert sockets.receive() == [(one.fileno(), 0)]
    with pytest.raises(ConnectionResetError):
        one.recv(1)


def test_a_read_that_fails(sockets: Set) -> None:
    """A listener has nothing to read, whatever epoll says of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        sockets.epoll.register(listener.fileno(), select.EPOLLIN)
        assert sockets.receive() == [(listener.fileno(), 0)]


def test_ready_for_something_else(sockets: Set) -> None:
    [(one, _)] = sockets.add(1, select.EPOLLOUT)
    assert sockets.receive() == [(one.fileno(), -1)]


@pytest.mark.parametrize(
    "arguments", [(), (0,), (0, b""), ("0", bytearray(SLOTS)), (0, 0), (0, bytearray(SLOTS), 0)]
)
def test_misused(arguments: tuple[object, ...]) -> None:
    with pytest.raises((TypeError, BufferError)):
        _fanin.receive_many(*arguments)


@pytest.mark.parametrize(("epoll", "size"), [(0, SLOTS - 1), (2**40, SLOTS)])
def test_impossible(epoll: int, size: int) -> None:
    with pytest.raises(ValueError):
        _fanin.receive_many(epoll, bytearray(size))


def test_no_epoll() -> None:
    with pytest.raises(OSError):
        _fanin.receive_many(-1, bytearray(SLOTS))


@pytest.mark.measures
def test_nothing_is_kept(sockets: Set) -> None:
    pairs = sockets.add(SLOTS)

    def work() -> None:
        for _, other in pairs:
            other.sendall(b"x" * 80)
        sockets.receive()
        with pytest.raises(TypeError):
            _fanin.receive_many(sockets.epoll.fileno(), "")

    assert blocks_kept(work, 20) < 10


def test_every_allocation_may_fail(sockets: Set) -> None:
    testcapi = pytest.importorskip("_testcapi")
    pairs = sockets.add(2)
    # Numbers of which Python keeps no objects ready.
    high = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, 300) for one, _ in pairs]
    failed = 0
    with select.epoll() as epoll:
        for fd in high:
            epoll.register(fd, select.EPOLLIN)
        for number in range(10):
            for _, other in pairs:
                other.sendall(b"x" * 300)
            buffer = bytearray(SLOTS * 400)
            try:
                testcapi.set_nomemory(number, number + 1)
                _fanin.receive_many(epoll.fileno(), buffer)
            except MemoryError:
                failed += 1
            finally:
                testcapi.remove_mem_hooks()
    for fd in high:
        os.close(fd)
    assert failed >= 3
