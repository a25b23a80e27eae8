"""What all connections of a loop share."""

from __future__ import annotations

import asyncio
import gc
import weakref

from fastws import Compression
from fastws.loop.state import READ_BUFFER_BYTES, LoopState, loop_state_of
from fastws.protocol.websocket.frames import ENGINE
from tests.conftest import Run
from tests.kit import ManualLoop


def test_one_per_loop(run: Run) -> None:
    async def scenario() -> tuple[LoopState, LoopState]:
        loop = asyncio.get_running_loop()
        return loop_state_of(loop), loop_state_of(loop)

    first, second = run(scenario())
    assert first is second
    assert first is not run(_of_another_loop())


async def _of_another_loop() -> LoopState:
    other = ManualLoop()
    return loop_state_of(other)


def test_it_keeps_no_loop_alive() -> None:
    loop = asyncio.new_event_loop()
    loop_state_of(loop)
    loop.close()
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_how_bytes_come(run: Run) -> None:
    """asyncio asks whether a protocol is a BufferedProtocol by its class; uvloop by its methods."""

    async def scenario() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        return loop_state_of(loop).reads_into_buffer, isinstance(loop, asyncio.BaseEventLoop)

    reads_into_buffer, is_asyncio = run(scenario())
    assert reads_into_buffer is not is_asyncio


def test_one_buffer_for_all_reads(loop: ManualLoop) -> None:
    context = loop_state_of(loop)
    assert context.get_buffer(-1) is context.get_buffer(65536)
    assert len(context.get_buffer(-1)) == READ_BUFFER_BYTES
    assert (256 * 1024 if ENGINE == "c" else 16 * 1024) == READ_BUFFER_BYTES


def test_one_compressor_for_those_with_the_same_settings(loop: ManualLoop) -> None:
    context = loop_state_of(loop)
    assert context.deflate_pool(None) is None
    pool = context.deflate_pool(Compression())
    assert context.deflate_pool(Compression()) is pool
    assert context.deflate_pool(Compression(level=9)) is not pool


def test_masks_are_fresh(loop: ManualLoop) -> None:
    masks = [loop_state_of(loop).random_mask() for _ in range(1000)]
    assert {len(mask) for mask in masks} == {4}
    assert len(set(masks)) > 990


def test_a_loop_that_nobody_knows_is_not_taken_for_uvloop() -> None:
    """Its transports may call ``data_received`` of any protocol, and hide what they hold."""

    class Foreign(ManualLoop):
        reads_into_buffer = False

    state = LoopState(Foreign())
    assert (state.reads_into_buffer, state.uses_sockets) == (False, False)
