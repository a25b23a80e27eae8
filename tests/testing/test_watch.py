"""A wait that comes to nothing fails its test and is named."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import pytest

import fastws
from fastws.testing import Clock, ManualLoop, WaitTimeout, live, pair, until
from fastws.testing.watch import Watch, waits_for
from tests.client.loops import both_loops


async def silent(ws: fastws.WebSocket) -> None:
    await ws.wait_closed()


async def never() -> None:
    await asyncio.Event().wait()


@both_loops
async def test_a_wait_for_a_message_that_does_not_come() -> None:
    with pytest.raises(WaitTimeout, match=r"^waited 0\.2 s at test_watch\.py:\d+, `await ws\.recv\(\)`"):
        async with pair(silent, timeout=0.2) as ws:
            await ws.recv()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@both_loops
async def test_a_clock_that_stands_still_does_not_hold_it() -> None:
    clock = Clock()
    with pytest.raises(WaitTimeout, match=r"`await asyncio\.sleep\(1\)` in sleep"):
        async with pair(silent, timeout=0.2, clock=clock):
            await asyncio.sleep(1)


@both_loops
async def test_many_short_waits_are_none_that_is_long() -> None:
    async with pair(silent, timeout=0.2):
        for _ in range(10):
            await asyncio.sleep(0.05)


@both_loops
async def test_a_handshake_that_is_not_answered() -> None:
    async def undecided(request: fastws.Request) -> None:
        await never()

    routes = [fastws.Route("/", silent, authorize=undecided)]
    with pytest.raises(WaitTimeout, match="in pair.__aenter__ > pair.connect"):
        async with pair(routes, timeout=0.2):
            pytest.fail("it cannot have opened")


@both_loops
async def test_of_two_blocks_one_says_it() -> None:
    with pytest.raises(WaitTimeout, match="recv"):
        async with live(silent, timeout=0.2) as site, pair(silent, timeout=0.2) as ws:
            assert site.url
            await ws.recv()


@both_loops
async def test_other_exceptions_are_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        async with pair(silent, timeout=0.2) as ws:
            try:
                await ws.recv()
            finally:
                raise ZeroDivisionError

    async def cancelled() -> None:
        async with pair(silent):
            await never()

    task = asyncio.ensure_future(cancelled())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@both_loops
async def test_until() -> None:
    said: list[int] = []
    asyncio.get_running_loop().call_later(0.3, said.append, 1)
    await until(lambda: said)
    with pytest.raises(WaitTimeout, match="^waited 0.1 s for two of them$"):
        await until(lambda: len(said) == 2, "two of them", timeout=0.1)
    with pytest.raises(WaitTimeout, match=re.escape("lambda: len(said) == 2")):
        await until(lambda: len(said) == 2, timeout=0.1)
    with pytest.raises(WaitTimeout, match="__len__"):
        await until([].__len__, timeout=0.05)


async def through_a_generator() -> None:
    async def numbers():  # type: ignore[no-untyped-def]
        await never()
        yield 1

    async for _ in numbers():
        pass


@pytest.mark.parametrize(
    ("wait", "said"),
    [
        (never, r"at test_watch.py:\d+, `await asyncio.Event\(\).wait\(\)` in Event.wait"),
        (through_a_generator, "async for"),
    ],
    ids=["event", "generator"],
)
async def test_where_a_task_waits(wait: Callable[[], Awaitable[None]], said: str) -> None:
    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    assert re.search(said, waits_for(task))
    task.cancel()
    await asyncio.wait([task])


def test_a_manual_loop_names_what_cannot_happen(fastws_loop: ManualLoop) -> None:
    with pytest.raises(RuntimeError, match=r"cannot happen at test_watch\.py:\d+, `await asyncio\.Event"):
        fastws_loop.run(never())


async def test_a_watch_without_a_limit_has_no_thread() -> None:
    watch = Watch(None)
    watch.start()
    watch.stop()
    watch.stop()
    watch.check(None)


def test_the_time_in_which_the_loop_does_not_run_is_no_wait() -> None:
    """Between two tests of a fixture's pair, which slow ones without a loop may come between."""
    watch = Watch(0.05)

    async def start() -> None:
        watch.start()

    async def short() -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        runner.run(start())
        for _ in range(3):
            time.sleep(0.2)
            runner.run(short())
        watch.stop()
        watch.check(None)


def test_a_loop_that_is_closed_under_it() -> None:
    watch = Watch(0.01)

    async def start() -> None:
        watch.start()

    asyncio.run(start())
    time.sleep(0.05)
    watch.stop()
    watch.check(None)
