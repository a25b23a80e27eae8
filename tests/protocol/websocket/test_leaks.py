"""No path of the C engine keeps a block: each case again and again, with the count of blocks flat."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from fastws.protocol.websocket.frames import Engine, MaskPool
from tests.blocks import blocks_kept
from tests.protocol.websocket.cases import CASES
from tests.protocol.websocket.wire import ENGINES, MASK, Case, feed, new_reader, sized, wire

try:
    import _testcapi
except ImportError:
    _testcapi = None

pytestmark = [pytest.mark.measures, pytest.mark.parametrize("engine_", ENGINES[:1])]


@pytest.mark.parametrize("step", [None, 1])
def test_readers(engine_: Engine, step: int | None) -> None:
    inputs = [
        (wire(case.frames, client=client), client, case)
        for case in CASES
        for client in (False, True)
        if len(wire(case.frames, client=client)) < 2000
    ]

    def work() -> None:
        for data, client, case in inputs:
            feed(new_reader(engine_, client=client, deflate=case.deflate, **case.limits), data, step=step)

    assert blocks_kept(work, 20) < 10


def test_raising_readers(engine_: Engine) -> None:
    def inflate(payload: bytes, limit: int) -> bytes:
        if payload == b"raise":
            raise ZeroDivisionError
        return None  # type: ignore[return-value]

    sent = [wire([sized(0x81, b"x"), sized(0xC1, payload)], client=False) for payload in (b"raise", b"type")]

    def work() -> None:
        for data in sent:
            with pytest.raises((ZeroDivisionError, TypeError)):
                engine_.Reader(100, 10, 10, inflate, client=False).receive(data)
        with pytest.raises(TypeError):
            engine_.Reader(100, 10, 10, None, client=False).receive("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="limit"):
            engine_.Reader(0, 10, 10, None, client=False)

    assert blocks_kept(work, 100) < 10


def test_encode(engine_: Engine) -> None:
    mask = MaskPool()
    refused = [(3, b""), (1, "\ud800"), (1, b"", b"abc"), (9, b"x" * 126), (1, 5), (1,), ("x", b"")]

    def work() -> None:
        for payload in ("text", "\u20ac" * 100, b"x" * 300, bytearray(70_000), memoryview(b"x")):
            engine_.encode(2, payload, None)
            engine_.encode(2, payload, MASK, flags=0)
            engine_.encode(2, payload, mask())
        for arguments in refused:
            with pytest.raises((TypeError, ValueError)):
                engine_.encode(*arguments)  # type: ignore[arg-type]

    assert blocks_kept(work, 100) < 10


@pytest.mark.skipif(_testcapi is None, reason="this Python comes without _testcapi")
@pytest.mark.skipif(sys.gettrace() is not None, reason="coverage's tracer allocates too, and cannot fail")
def test_every_allocation_may_fail(engine_: Engine) -> None:
    """MemoryError and nothing else, whichever allocation it is. (Without zlib, which answers with others.)"""
    work: list[Callable[[], object]] = []
    for case in CASES:
        data = wire(case.frames, client=False)
        if case.deflate or len(data) > 2000:
            continue
        for step in (len(data), 3):
            pieces = [data[at : at + step] for at in range(0, len(data), step)]
            work.append(lambda case=case, pieces=pieces: read(engine_, case, pieces))
    work += [lambda: engine_.encode(1, "\u20ac" * 100, MASK), lambda: engine_.encode(3, b"")]

    def fail_each() -> None:
        for one in work:
            for number in range(12):
                try:
                    _testcapi.set_nomemory(number, number + 1)
                    one()
                except (MemoryError, ValueError):
                    pass
                finally:
                    _testcapi.remove_mem_hooks()

    assert blocks_kept(fail_each, 1) < 10


def read(engine_: Engine, case: Case, pieces: list[bytes]) -> None:
    receive = new_reader(engine_, client=False, **case.limits).receive
    rest = iter(pieces)
    try:
        for piece in rest:
            receive(piece)
    except MemoryError:
        _testcapi.remove_mem_hooks()
        assert receive(b"\x89\x80abcd") == []
        raise
