"""send(2) from C: what is taken, what is not, and what is refused."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fastws.protocol.websocket.frames import encode
from tests.blocks import blocks_kept

_fanout = pytest.importorskip("fastws.loop._send", reason="the C modules are not built")

Pair = tuple[socket.socket, socket.socket]
KEY = bytes.fromhex("37fa213d")


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """More than fit without an allocation."""
    made = [socket.socketpair() for _ in range(300)]
    for one, other in made:
        # Both block: that nothing waits here is the doing of the flags.
        one.settimeout(5)
        other.settimeout(5)
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def fill(sock: socket.socket) -> None:
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sock.send(bytes(65536))


def taken_from(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += sock.recv(65536)
    return received


class TestSendItems:
    """A turn of one connection: messages get their headers, frames made before go as they are."""

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
    @pytest.mark.parametrize("text", [True, False])
    def test_a_message(self, pairs: list[Pair], size: int, text: bool) -> None:
        one, other = pairs[0]
        message = "x" * size if text else b"x" * size
        expected = encode(1 if text else 2, message)
        assert _fanout.send_items(one.fileno(), message) == len(expected)
        assert taken_from(other, len(expected)) == expected

    @pytest.mark.parametrize("size", [5, 40_000])
    def test_many(self, pairs: list[Pair], size: int) -> None:
        one, other = pairs[0]
        items = ["a" * size, b"b" * size, (b"\x89\x00",), "c"]
        expected = encode(1, "a" * size) + encode(2, b"b" * size) + b"\x89\x00" + encode(1, "c")
        assert _fanout.send_items(one.fileno(), items) == len(expected)
        assert taken_from(other, len(expected)) == expected

    @pytest.mark.parametrize(
        "items", [b"x" * 8_000_000, [b"x" * 4_000_000] * 2, ["y" * 60_000], (b"z" * 8_000_000,)]
    )
    def test_not_all(self, pairs: list[Pair], items: Any) -> None:
        one, _ = pairs[0]
        if items == ["y" * 60_000]:
            fill(one)
        whole = b"".join(
            item[0] if isinstance(item, tuple) else encode(1 if isinstance(item, str) else 2, item)
            for item in (items if isinstance(items, list) else [items])
        )
        size, taken, rest = _fanout.send_items(one.fileno(), items)
        assert size == len(whole)
        assert 0 <= taken < size
        assert rest == whole[taken:]

    @pytest.mark.parametrize("size", [0, 1, 5, 126, 65_535, 65_536, 131_072, 131_073, 200_001])
    @pytest.mark.parametrize("text", [True, False])
    def test_a_masked_message(self, pairs: list[Pair], size: int, text: bool) -> None:
        one, other = pairs[0]
        message = ("0123456789abcdefg" * (size // 17 + 1))[:size]
        item = message if text else message.encode()
        expected = encode(1 if text else 2, item, KEY)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_000_000)
        assert _fanout.send_items(one.fileno(), (item, KEY)) == len(expected)
        assert taken_from(other, len(expected)) == expected
        several = ["a", (item, KEY), (b"\x89\x00",)]
        expected = encode(1, "a") + expected + b"\x89\x00"
        assert _fanout.send_items(one.fileno(), several) == len(expected)
        assert taken_from(other, len(expected)) == expected

    @pytest.mark.parametrize("over", ["unix", "tcp"])
    @pytest.mark.parametrize("filled", [True, False])
    def test_not_all_of_a_masked_message(self, over: str, filled: bool) -> None:
        """The rest goes on with the right byte of the key, wherever the socket stopped."""
        message = bytes(range(251)) * 40_000
        whole = encode(2, message, KEY)
        for room in (2304, 5000, 300_001):
            one, other = socket.socketpair() if over == "unix" else tcp_pair()
            with one, other:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
                if filled:
                    fill(one)
                size, taken, rest = _fanout.send_items(one.fileno(), (message, KEY))
                assert (size, type(rest)) == (len(whole), bytes)
                assert taken == 0 if filled else 0 < taken < size
                assert rest == whole[taken:]

    def test_errors_are_numbers(self, pairs: list[Pair]) -> None:
        """EPIPE, without the signal."""
        one, other = pairs[0]
        other.close()
        for items in ("x", ["x", b"y"], b"x" * 100_000, (b"x" * 100_000, KEY)):
            size, taken, rest = _fanout.send_items(one.fileno(), items)
            assert (taken, rest) == (-errno.EPIPE, b"")
            assert size > 0
        one.close()
        assert _fanout.send_items(one.fileno(), (b"x",)) == (1, -errno.EBADF, b"")

    @pytest.mark.parametrize(
        "arguments",
        [
            (),
            (0,),
            (0, "x", 1),
            ("0", "x"),
            (0, 5),
            (0, "\u20ac"),
            (0, ("x",)),
            (0, (b"x", b"y")),
            (0, (b"x", "mask")),
            (0, ("\u20ac", KEY)),
            (0, ((b"x",), KEY)),
            (0, (b"x", KEY, KEY)),
            (0, [None]),
        ],
    )
    def test_wrong_arguments(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises(TypeError):
            _fanout.send_items(*arguments)

    @pytest.mark.parametrize("descriptor", [2**31, 2**70, -2])
    def test_no_descriptor(self, descriptor: int) -> None:
        with pytest.raises(OverflowError):
            _fanout.send_items(descriptor, b"")

    @pytest.mark.measures
    def test_keeps_nothing(self, pairs: list[Pair]) -> None:
        fd = pairs[0][0].fileno()
        fill(pairs[0][0])

        def work() -> None:
            for items in (
                "x",
                b"y",
                ["x", (b"z",)],
                b"x" * 100_000,
                ["x" * 40_000] * 3,
                (b"x" * 100_000, KEY),
            ):
                _fanout.send_items(fd, items)
            with pytest.raises(TypeError):
                _fanout.send_items(fd, ["x", None])

        assert blocks_kept(work, 100) < 10


class TestSendMany:
    @pytest.mark.parametrize("count", [0, 1, 256, 257, 300])
    def test_all_taken(self, pairs: list[Pair], count: int) -> None:
        assert _fanout.send_many([one.fileno() for one, _ in pairs[:count]], b"Hello") is None
        assert [other.recv(100) for _, other in pairs[:count]] == [b"Hello"] * count

    def test_only_the_exceptions_are_told(self, pairs: list[Pair]) -> None:
        pairs[3][1].close()
        fill(pairs[5][0])
        fds = [one.fileno() for one, _ in pairs]
        fds[7] = -1
        assert _fanout.send_many(fds, b"Hello") == [(3, -errno.EPIPE), (5, 0), (7, -errno.EBADF)]
        assert pairs[299][1].recv(100) == b"Hello"

    def test_parts(self, pairs: list[Pair]) -> None:
        data = bytes(8 * 1024 * 1024)
        told = _fanout.send_many([one.fileno() for one, _ in pairs[:2]], data)
        assert [index for index, _ in told] == [0, 1]
        assert all(0 < taken < len(data) for _, taken in told)

    @pytest.mark.parametrize("arguments", [(), ([],), ([], "x"), ((), b""), (["1"], b""), ([True], b"")])
    def test_misused(self, arguments: tuple[object, ...]) -> None:
        with pytest.raises(TypeError):
            _fanout.send_many(*arguments)

    def test_nothing_is_sent_when_one_is_no_descriptor(self, pairs: list[Pair]) -> None:
        one, other = pairs[0]
        with pytest.raises(OverflowError):
            _fanout.send_many([one.fileno(), *[0] * 300, 2**40], b"Hello")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)

    def test_the_list_may_change_meanwhile(self, pairs: list[Pair]) -> None:
        """Its descriptors were copied before the GIL was given away."""
        fds = [one.fileno() for one, _ in pairs]
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                fds[:] = []
                fds[:] = [one.fileno() for one, _ in pairs]

        thread = threading.Thread(target=change)
        thread.start()
        for _ in range(50):
            assert _fanout.send_many(fds, b"x") is None
        stop.set()
        thread.join()


@pytest.mark.measures
def test_nothing_is_kept(pairs: list[Pair]) -> None:
    pairs[3][1].close()
    fds = [one.fileno() for one, _ in pairs]

    def work() -> None:
        for count in (0, 10, 300):
            _fanout.send_many(fds[:count], b"x")
        with pytest.raises(TypeError):
            _fanout.send_many([*fds, "x"], b"x")

    assert blocks_kept(work, 20) < 10


def test_every_allocation_may_fail(pairs: list[Pair]) -> None:
    testcapi = pytest.importorskip("_testcapi")
    fds = [one.fileno() for one, _ in pairs[:10]] + [-1] * 300
    failed = 0
    for number in range(10):
        try:
            testcapi.set_nomemory(number, number + 1)
            _fanout.send_many(fds, b"x")
        except MemoryError:
            failed += 1
        finally:
            testcapi.remove_mem_hooks()
    assert failed
