"""What hostile peers send: bounds of memory for both engines, of time for the C engine."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable

import pytest

from fastws.config import Limits
from fastws.protocol.websocket.deflate import Inflater
from fastws.protocol.websocket.events import Event, Fail, Pong
from fastws.protocol.websocket.frames import Engine, FrameReader
from tests.effort import within_cpu
from tests.protocol.websocket.cases import TOO_BIG, TOO_MANY, TOO_MANY_EMPTY, deflated
from tests.protocol.websocket.wire import ENGINES, Frame, frame, sized, wire

pytestmark = [pytest.mark.measures, pytest.mark.parametrize("engine_", ENGINES)]

KIB, MIB = 1024, 1024 * 1024
READ = 64 * KIB
SANITIZED = "FASTWS_SANITIZED" in os.environ  # by tests/sanitize.sh: several times as slow


def default_reader(engine_: Engine) -> FrameReader:
    limits = Limits()
    return engine_.Reader(
        limits.max_message_size, limits.max_fragments, limits.max_empty_fragments, Inflater(), client=False
    )


def receive(reader: FrameReader, data: bytes, read: int = READ) -> list[Event]:
    """In reads of the usual size, as far as the first events."""
    view = memoryview(data)
    for at in range(0, len(data), read):
        if got := reader.receive(view[at : at + read]):
            return got
    return []


def bounded(engine_: Engine, memory: int, seconds: float, work: Callable[[], object]) -> object:
    """What ``work`` returns; fail if it allocates more or, on the shipped C engine, takes longer."""
    tracemalloc.start()
    try:
        result = work()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < memory
    if engine_.name == "c" and not SANITIZED:
        within_cpu(seconds, work)
    return result


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize("limit", [sys.maxsize // 4, sys.maxsize // 2, sys.maxsize])
def test_the_largest_limit_is_the_same_everywhere(engine_: Engine, limit: int, beyond: int) -> None:
    """W5: found by `python -m tests.differential`; which of two faults is told depended on the engine."""
    unmasked = b"\x82\x7f" + (sys.maxsize // 4 + beyond).to_bytes(8, "big")
    reader = engine_.Reader(limit, 10, 10, None, client=False)
    assert reader.receive(unmasked) == [TOO_BIG if beyond else Fail(1002, "unmasked frame")]


def test_fragment_bomb(engine_: Engine) -> None:
    """W1."""
    bomb = wire([sized(0x01, b"x")] + [sized(0x00, b"x")] * 40_000, client=False)
    assert bounded(engine_, 2 * MIB, 1, lambda: receive(default_reader(engine_), bomb)) == [TOO_MANY]


def test_fragment_bombs_that_wait(engine_: Engine) -> None:
    """W1: a hundred connections just below the limit."""
    bomb = wire([sized(0x01, b"x")] + [sized(0x00, b"x")] * 4_000, client=False)
    count = 100 if engine_.name == "c" else 4

    def begin() -> None:
        readers = [default_reader(engine_) for _ in range(count)]
        for reader in readers:
            assert receive(reader, bomb) == []

    bounded(engine_, 50 * MIB * count // 100, 1, begin)


def test_empty_fragments(engine_: Engine) -> None:
    """W2."""
    flood = wire([frame("01 00")] + [frame("00 00")] * 1000, client=False)
    assert bounded(engine_, MIB, 1, lambda: receive(default_reader(engine_), flood)) == [TOO_MANY_EMPTY]


@pytest.mark.parametrize("first", [0x81, 0x82])
def test_one_byte_reads(engine_: Engine, first: int) -> None:
    """W3. (wsproto has no bound of time; a part of the message will do for it.)"""
    size = 256 * KIB if engine_.name == "c" else 16 * KIB
    data = wire([sized(first, b"x" * size)], client=False)
    expected = b"x" * size if first == 0x82 else "x" * size
    assert bounded(engine_, 2 * size + 64 * KIB, 1, lambda: receive(default_reader(engine_), data, 1)) == [
        expected
    ]


def test_announced_and_never_sent(engine_: Engine) -> None:
    """W4, and the buffer of an allowed frame: it grows with what has arrived."""
    begun = [frame(first + "7f 0000000000100000", b"x") for first in ("01", "02", "41", "81")]
    refused = wire([frame("82 7f 0000000040000000")], client=False)

    def announce() -> None:
        readers = [default_reader(engine_) for _ in range(100)]
        assert readers.pop().receive(refused) == [TOO_BIG]
        for number, reader in enumerate(readers):
            assert reader.receive(wire([begun[number % 4]], client=False)) == []

    bounded(engine_, MIB, 0.05, announce)


def test_large_message_is_held_once(engine_: Engine) -> None:
    data = wire([sized(0x82, bytes(MIB))], client=False)
    assert bounded(
        engine_,
        3 * MIB if engine_.name == "c" else 6 * MIB,
        1,
        lambda: receive(default_reader(engine_), data),
    ) == [bytes(MIB)]


@pytest.mark.parametrize("fragments", [1, 1000])
def test_deflate_bomb(engine_: Engine, fragments: int) -> None:
    """W7: whole, and spread over a thousand fragments."""
    bomb = deflated(bytes(50 * MIB))
    if fragments == 1:
        sent = [sized(0xC2, bomb)]
    else:
        step = len(bomb) // fragments
        spread = [sized(0x00, bomb[at : at + step]) for at in range(step, len(bomb), step)]
        sent = [sized(0x42, bomb[:step]), *spread, frame("80 00")]
    data = wire(sent, client=False)
    assert bounded(engine_, 3 * MIB, 0.1, lambda: receive(default_reader(engine_), data)) == [TOO_BIG]


def test_empty_deflate_blocks(engine_: Engine) -> None:
    """W8: a message of a MiB of them, through the reader."""
    data = wire([sized(0xC2, b"\x00\x00\x00\xff\xff" * (MIB // 5))], client=False)
    assert bounded(engine_, 6 * MIB, 0.1, lambda: receive(default_reader(engine_), data)) == [b""]


def test_control_flood(engine_: Engine) -> None:
    """W12: a reader holds nothing of a flood; what is owed for it is the machine's affair."""
    flood = wire([sized(0x8A, b"x" * 125)] * 500, client=False)
    reader = default_reader(engine_)
    for _ in range(20):
        assert reader.receive(flood) == [Pong(b"x" * 125)] * 500
    assert not reader.pending


def test_bad_utf8_is_seen_early(engine_: Engine) -> None:
    """W16: in the read that brings it, though a MiB is announced."""
    reader = default_reader(engine_)
    data = Frame(bytes.fromhex("81 7f 0000000000100000"), b"x" * 100_000 + b"\xff")
    assert receive(reader, wire([data], client=False)) == [Fail(1007, "invalid UTF-8")]


def test_idle_reader_is_small(engine_: Engine) -> None:
    if engine_.name != "c":
        pytest.skip("wsproto's Connection weighs what it weighs")
    reader = engine_.Reader(MIB, 10, 10, None, client=False)
    assert sys.getsizeof(reader) <= 128
    work = wire([sized(0x01, b"x"), sized(0x80, b"x" * 70_000), sized(0x89, b"p")], client=False)
    tracemalloc.start()
    for at in range(0, len(work), 1000):
        reader.receive(work[at : at + 1000])
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < 2000
