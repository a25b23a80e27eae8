"""Cancellation and timeouts of a handler's coroutine that is gone on with past its task."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import Run
from tests.kit import until
from tests.loop.rooms import Room, _nothing, collect, room_of


def test_cancelled_while_it_waits(run: Run) -> None:
    async def body(room: Room) -> None:
        while True:
            try:
                room.seen.append(await room.inbox.get())
            except asyncio.CancelledError as exc:
                room.seen.append(exc.args)
                if room.task.cancelling() > 2:
                    raise

    async def then(room: Room) -> None:
        room.poll("a")
        room.task.cancel("why")
        await asyncio.sleep(0)
        room.poll("b")
        room.task.cancel()
        room.poll("c")  # comes when it has been cancelled, and before it knows
        assert room.seen == ["a", ("why",), "b"]
        await asyncio.sleep(0.01)
        assert room.seen[3:] == [(), "c"]
        room.task.cancel()
        await asyncio.wait([room.task], timeout=5)
        assert room.task.cancelled()

    assert room_of(run, body, then).seen[5:] == [()]


def test_cancelled_with_what_it_waits_for_past_the_task(run: Run) -> None:
    """The task has not heard yet what it waits for: that must be cancelled all the same."""

    async def then(room: Room) -> None:
        future = room.loop.create_future()

        async def body(room: Room) -> None:
            await room.inbox.get()
            try:
                await future
            except asyncio.CancelledError as exc:
                room.seen.append(exc.args)
                raise

        await room.start(body)
        room.poll("a")
        room.task.cancel("why")
        await asyncio.wait([room.task], timeout=5)
        assert future.cancelled()
        assert room.task.cancelled()
        assert len(room.seen) == 1

    room_of(run, _nothing, then)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [None, ValueError()])
def test_cancelled_when_what_it_waits_for_is_done(run: Run, when: str, error: Exception | None) -> None:
    """The task has not heard of that either: it must not go on as if nobody had cancelled it."""

    async def then(room: Room) -> None:
        future = room.loop.create_future()

        async def body(room: Room) -> None:
            await room.inbox.get()
            room.seen.append(await future)

        await room.start(body)
        room.poll("a")
        if when == "before":
            room.task.cancel()
        if error is None:
            future.set_result("item")
        else:
            future.set_exception(error)
        if when == "after":
            room.task.cancel()
        await asyncio.wait([room.task], timeout=5)
        assert room.task.cancelled()
        assert error is None or future.exception() is error

    assert room_of(run, _nothing, then).seen == []


@pytest.mark.parametrize("do", ["return", "raise", "wait", "sleep", "get"])
def test_one_that_cancels_itself(run: Run, do: str) -> None:
    async def body(room: Room) -> str:
        await room.inbox.get()
        room.task.cancel()
        if do == "raise":
            raise ValueError
        if do == "wait":
            await asyncio.sleep(5)
        if do == "sleep":
            await asyncio.sleep(0)
            room.seen.append("went on")
        if do == "get":
            room.seen.append(await room.inbox.get())
        return "returned"

    async def then(room: Room) -> None:
        room.poll("a")
        room.poll("b")
        await asyncio.wait([room.task], timeout=4)
        if do == "raise":
            assert isinstance(room.task.exception(), ValueError)
        else:
            assert room.task.cancelled()

    assert room_of(run, body, then).seen == []


def test_cancelled_in_a_bare_yield_past_the_task(run: Run) -> None:
    async def body(room: Room) -> None:
        await room.inbox.get()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            room.seen.append("cancelled")
        room.seen.append(await room.inbox.get())

    async def then(room: Room) -> None:
        room.poll("a")
        room.task.cancel()
        await asyncio.sleep(0.01)
        room.poll("b")
        await asyncio.wait([room.task], timeout=5)

    assert room_of(run, body, then).seen == ["cancelled", "b"]


@pytest.mark.parametrize("error", [None, ValueError()])
def test_cancelled_when_it_has_ended_past_the_task(run: Run, error: Exception | None) -> None:
    async def body(room: Room) -> str:
        await room.inbox.get()
        if error is not None:
            raise error
        return "returned"

    async def then(room: Room) -> None:
        room.poll("a")
        room.task.cancel()
        await asyncio.wait([room.task], timeout=5)
        if error is not None:
            assert room.task.exception() is error
        else:
            assert room.task.result() == "returned"

    room_of(run, body, then)


def test_timeouts(run: Run) -> None:
    async def body(room: Room) -> None:
        for _ in range(2):
            try:
                async with asyncio.timeout(0.2):
                    while True:
                        room.seen.append(await room.inbox.get())
            except TimeoutError:
                room.seen.append("late")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(room.inbox.get(), 0.01)
        room.seen.append("waited")
        room.seen.append(await asyncio.wait_for(room.inbox.get(), 5))

    async def then(room: Room) -> None:
        room.poll("a")
        await until(lambda: room.seen[-1:] == ["late"])
        room.poll("b")
        await until(lambda: room.seen[-1:] == ["waited"])
        room.poll("c")
        await asyncio.wait([room.task], timeout=5)
        assert room.task.exception() is None

    assert room_of(run, body, then).seen == ["a", "late", "b", "late", "waited", "c"]


def test_a_task_group(run: Run) -> None:
    """Its other tasks wait for messages too; one that fails cancels what waits here."""

    async def failing(event: asyncio.Event) -> None:
        await event.wait()
        raise ValueError

    async def then(room: Room) -> None:
        event = asyncio.Event()

        async def body(room: Room) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(failing(event))
                await collect(room)

        await room.start(body)
        await asyncio.sleep(0)
        room.poll("a")
        event.set()
        await asyncio.wait([room.task], timeout=5)
        assert isinstance(room.task.exception(), ExceptionGroup)

    assert room_of(run, _nothing, then).seen == ["a"]
