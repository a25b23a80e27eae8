"""No path of the C engine keeps a block: each case again and again, with the count of blocks flat."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import pytest

from fastws.protocol.frames import Engine, MaskPool
from tests.protocol.cases import CASES
from tests.protocol.wire import ENGINES, MASK, feed, new_reader, sized, wire

pytestmark = pytest.mark.parametrize("engine_", ENGINES[:1])


def blocks_kept(work: Callable[[], object], rounds: int) -> int:
    for _ in range(rounds):
        work()
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(rounds):
        work()
    gc.collect()
    return sys.getallocatedblocks() - before


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

    assert blocks_kept(work, 20) < 20


def test_raising_readers(engine_: Engine) -> None:
    def inflate(payload: bytes, limit: int) -> bytes:
        if payload == b"raise":
            raise ZeroDivisionError
        return None  # type: ignore[return-value]

    sent = [wire([sized(0x81, b"x"), sized(0xC1, payload)], client=False) for payload in (b"raise", b"type")]

    def work() -> None:
        for data in sent:
            with pytest.raises((ZeroDivisionError, TypeError)):
                engine_.Reader(False, 100, 10, 10, inflate).receive(data)
        with pytest.raises(TypeError):
            engine_.Reader(False, 100, 10, 10, None).receive("text")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="limit"):
            engine_.Reader(False, 0, 10, 10, None)

    assert blocks_kept(work, 200) < 20


def test_cycles_are_collected(engine_: Engine) -> None:
    class Owner:
        def __init__(self) -> None:
            self.reader = engine_.Reader(False, 100, 10, 10, self.inflate)

        def inflate(self, payload: bytes, limit: int) -> bytes:
            return payload

    assert blocks_kept(Owner, 1000) < 20


def test_encode(engine_: Engine) -> None:
    mask = MaskPool()
    refused = [(3, b""), (1, "\ud800"), (1, b"", b"abc"), (9, b"x" * 126), (1, 5), (1,), ("x", b"")]

    def work() -> None:
        for payload in ("text", "\u20ac" * 100, b"x" * 300, bytearray(70_000), memoryview(b"x")):
            engine_.encode(2, payload, None)
            engine_.encode(2, payload, MASK, fin=False)
            engine_.encode(2, payload, mask())
        for arguments in refused:
            with pytest.raises((TypeError, ValueError)):
                engine_.encode(*arguments)  # type: ignore[arg-type]

    assert blocks_kept(work, 200) < 20
