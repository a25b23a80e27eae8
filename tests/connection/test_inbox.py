"""The queue between a connection and a coroutine that asks for messages."""

from __future__ import annotations

import asyncio

import pytest

from fastws.connection.inbox import Inbox
from fastws.errors import ConcurrencyError, ConnectionClosedOK
from fastws.loop.wakeups import Wakeups
from tests.conftest import Run


def make(high: int = 4) -> tuple[Inbox, list[str]]:
    said: list[str] = []
    wakeups = Wakeups(asyncio.get_running_loop())
    return Inbox(high, lambda: said.append("pause"), lambda: said.append("resume"), wakeups), said


def closed() -> Exception:
    return ConnectionClosedOK(1000)


def test_messages_that_wait(run: Run) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        inbox.put("")
        inbox.put(b"two")
        assert [await inbox.get(), await inbox.get()] == ["", b"two"]

    run(scenario())


def test_a_reader_that_waits(run: Run) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        reader = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put("one")
        inbox.put("two")
        assert await reader == "one"
        assert await inbox.get() == "two"

    run(scenario())


@pytest.mark.parametrize(("high", "resumed_at"), [(4, 2), (1, 0), (5, 2)])
def test_pauses_when_full_and_resumes_at_half(run: Run, high: int, resumed_at: int) -> None:
    async def scenario() -> None:
        inbox, said = make(high)
        for number in range(high):
            assert said == []
            inbox.put(str(number))
        inbox.put("over")
        assert said == ["pause"]
        left = high + 1
        while said == ["pause"]:
            await inbox.get()
            left -= 1
        assert said == ["pause", "resume"]
        assert left == resumed_at

    run(scenario())


def test_what_waits_is_read_before_the_end(run: Run) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        inbox.put("last")
        inbox.end(closed)
        assert await inbox.get() == "last"
        for _ in range(2):
            with pytest.raises(ConnectionClosedOK):
                await inbox.get()

    run(scenario())


def test_the_end_wakes_the_reader(run: Run) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        reader = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.end(closed)
        inbox.end(closed)
        with pytest.raises(ConnectionClosedOK):
            await reader

    run(scenario())


def test_one_reader_at_a_time(run: Run) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        first = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        with pytest.raises(ConcurrencyError, match="recv"):
            await inbox.get()
        inbox.put("one")
        assert await first == "one"
        second = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put("two")
        assert await second == "two"

    run(scenario())


@pytest.mark.parametrize("when", ["before", "in the same turn"])
def test_a_cancelled_reader_loses_no_message(run: Run, when: str) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        reader = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        if when == "before":
            reader.cancel()
            await asyncio.sleep(0)
            inbox.put("kept")
        else:
            inbox.put("kept")
            reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await asyncio.wait_for(inbox.get(), 1) == "kept"

    run(scenario())


def test_a_message_that_somebody_else_took_in_between(run: Run) -> None:
    async def scenario() -> None:
        inbox, _ = make()
        first = asyncio.create_task(inbox.get())
        await asyncio.sleep(0)
        inbox.put("one")
        assert await inbox.get() == "one"
        await asyncio.sleep(0)
        assert not first.done()
        inbox.put("two")
        assert await first == "two"

    run(scenario())
