"""What a reader awaits: as any Future to a task, and called back within a poll."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from fastws.loop.wakeups import Waiter, Wakeups
from tests.conftest import Run


async def wait_for(waiter: Waiter) -> str:
    await waiter
    return "woken"


@pytest.mark.parametrize("polled", [False, True])
def test_a_task_waits_until_it_is_woken(run: Run, polled: bool) -> None:
    async def scenario() -> None:
        wakeups = Wakeups(asyncio.get_running_loop())
        waiter = Waiter(wakeups)
        assert asyncio.isfuture(waiter)
        task = asyncio.create_task(wait_for(waiter))
        await asyncio.sleep(0)
        assert not task.done() and not waiter.done()
        if polled:
            asyncio.get_running_loop().call_soon(_poll, wakeups, [waiter])
            await asyncio.sleep(0)
            assert task.done()
        else:
            waiter.wake()
            waiter.wake()
        assert await task == "woken"
        assert waiter.done()
        assert not waiter.cancel()
        await waiter  # over at once

    run(scenario())


def _poll(wakeups: Wakeups, waiters: list[Waiter]) -> None:
    wakeups.begin()
    for waiter in waiters:
        waiter.wake()
    assert wakeups.end() is None


def test_cancelling(run: Run) -> None:
    async def scenario() -> None:
        waiter = Waiter(Wakeups(asyncio.get_running_loop()))
        task = asyncio.create_task(wait_for(waiter))
        await asyncio.sleep(0)
        task.cancel("why")
        assert waiter.done()
        waiter.wake()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.CancelledError, match="why"):
            waiter.result()
        nameless = Waiter(Wakeups(asyncio.get_running_loop()))
        assert nameless.cancel()
        with pytest.raises(asyncio.CancelledError):
            nameless.result()

    run(scenario())


def test_one_callback_that_fails_fails_no_other(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        failures: list[dict[str, Any]] = []
        handler = loop.get_exception_handler()

        def note(_: Any, context: dict[str, Any]) -> None:
            failures.append(context)
            raise SystemExit(4)

        loop.set_exception_handler(note)
        wakeups = Wakeups(loop)
        variable = ContextVar[str]("variable")
        called: list[str] = []

        def call_back(waiter: Waiter) -> None:
            called.append(variable.get())
            if called[-1] == "fails":
                raise ValueError
            if called[-1] == "exits":
                raise KeyboardInterrupt

        wakeups.begin()
        for name in ("one", "fails", "exits", "two"):
            waiter = Waiter(wakeups)
            context = copy_context()
            context.run(variable.set, name)
            waiter.on_wake(call_back, context)
            waiter.wake()
        assert called == []
        fatal = wakeups.end()
        loop.set_exception_handler(handler)
        assert called == ["one", "fails", "exits", "two"]
        assert isinstance(fatal, KeyboardInterrupt)
        assert [type(failure["exception"]) for failure in failures] == [ValueError]

    run(scenario())


def test_who_abandons_it_is_not_called_back(run: Run) -> None:
    async def scenario() -> None:
        waiter = Waiter(Wakeups(asyncio.get_running_loop()))
        called: list[Waiter] = []
        waiter.on_wake(called.append, copy_context())
        waiter.abandon()
        waiter.wake()
        await asyncio.sleep(0)
        assert called == [] and waiter.done()

    run(scenario())
