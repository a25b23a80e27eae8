"""A handler's coroutine, gone on with past its task: nobody who looks at the task sees a difference."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from collections.abc import Awaitable, Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from fastws.connection.inbox import Inbox
from fastws.errors import ConnectionClosedOK
from fastws.loop.inline_task import InlineTask, create_task
from fastws.loop.wakeups import Wakeups
from tests.conftest import Run
from tests.loop.rooms import Room, _nothing, collect, room_of


def test_messages_are_read_within_the_poll_that_brought_them(run: Run) -> None:
    async def then(room: Room) -> None:
        room.poll("a")
        assert room.seen == ["a"]
        room.poll("b", "c")
        room.poll("d")
        assert room.seen == ["a", "b", "c", "d"]

    room_of(run, collect, then)


def test_and_outside_of_a_poll_soon(run: Run) -> None:
    async def then(room: Room) -> None:
        room.inbox.put("a")
        room.inbox.put("b")
        assert room.seen == []
        await asyncio.sleep(0)
        assert room.seen == ["a", "b"]
        room.inbox.put("c")
        await asyncio.sleep(0)
        assert room.seen == ["a", "b", "c"]

    room_of(run, collect, then)


def test_it_runs_as_its_task_and_in_its_context(run: Run) -> None:
    variable = ContextVar[str]("variable", default="nobody's")

    async def body(room: Room) -> None:
        variable.set("its own")
        for _ in range(3):
            message = await room.inbox.get()
            room.seen.append((asyncio.current_task() is room.task, variable.get()))
            variable.set(message)
            await asyncio.sleep(0)
            room.seen.append((asyncio.current_task() is room.task, variable.get()))

    async def then(room: Room) -> None:
        for message in "abc":
            room.poll(message)
            await asyncio.sleep(0.01)
        assert variable.get() == "nobody's"
        assert room.task.done() and room.task.exception() is None

    room = room_of(run, body, then)
    assert room.seen == [
        (True, "its own"), (True, "a"), (True, "a"), (True, "b"), (True, "b"), (True, "c"),
    ]  # fmt: skip


async def _value(value: object) -> object:
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize(
    "other",
    [
        lambda: asyncio.sleep(0, "x"),
        lambda: asyncio.sleep(0.001, "x"),
        lambda: asyncio.create_task(_value("x")),
        lambda: asyncio.wait_for(_value("x"), 5),
        lambda: asyncio.shield(_value("x")),
        lambda: asyncio.to_thread(lambda: "x"),
    ],
)
def test_whatever_else_it_waits_for(run: Run, other: Callable[[], Awaitable[str]]) -> None:
    async def body(room: Room) -> str:
        while (message := await room.inbox.get()) != "end":
            room.seen.append(message + await other())
        return "returned"

    async def then(room: Room) -> None:
        room.poll("a", "b")
        await asyncio.sleep(0.05)
        room.poll("c")
        await asyncio.sleep(0.05)
        room.poll("d", "end")
        assert await asyncio.wait_for(room.task, 5) == "returned"

    assert room_of(run, body, then).seen == ["ax", "bx", "cx", "dx"]


@pytest.mark.parametrize("error", [ValueError("its own"), ConnectionClosedOK(1000), asyncio.CancelledError()])
def test_what_it_raises_is_the_tasks(run: Run, error: BaseException) -> None:
    async def body(room: Room) -> None:
        await room.inbox.get()
        raise error

    async def then(room: Room) -> None:
        room.poll("a")
        await asyncio.wait([room.task], timeout=5)
        if isinstance(error, asyncio.CancelledError):
            assert room.task.cancelled()
        else:
            assert room.task.exception() is error

    room_of(run, body, then)


@pytest.mark.parametrize("first", [False, True])
def test_an_error_where_it_waits_for_something_else(run: Run, first: bool) -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError

    async def body(room: Room) -> None:
        if not first:
            await room.inbox.get()
        with pytest.raises(ValueError):
            await asyncio.gather(failing())
        room.seen.append(await room.inbox.get())

    async def then(room: Room) -> None:
        room.poll("a")
        await asyncio.sleep(0.01)
        room.poll("b")
        await asyncio.wait([room.task], timeout=5)

    assert room_of(run, body, then).seen == ["a" if first else "b"]


def test_nothing_of_it_is_left(run: Run) -> None:
    """However it ends, without the help of the garbage collector."""

    class Value:
        pass

    variable = ContextVar[Value]("variable")

    async def body(room: Room) -> None:
        variable.set(value := Value())
        room.seen.append(weakref.ref(value))
        while (message := await room.inbox.get()) != "return":
            if message == "raise":
                raise ValueError

    async def scenario() -> None:
        left: list[Any] = []
        for end in ("return", "raise", "cancel"):
            room = Room()
            await room.start(body)
            room.poll("a")
            left += room.seen
            if end == "cancel":
                room.task.cancel()
            else:
                room.poll(end)
            await asyncio.wait([room.task])
            assert room.task.cancelled() or bool(room.task.exception()) is (end == "raise")
            del room.task  # the error's traceback has the coroutine, which has the room
        del room
        await asyncio.sleep(0)
        assert [reference() for reference in left] == [None] * 3

    gc.collect()
    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


def test_a_message_of_another_loop(run: Run) -> None:
    """The task says what is wrong; nobody goes on with it from there."""

    async def then(room: Room) -> None:
        other = asyncio.new_event_loop()
        inbox = Inbox(10, lambda: None, lambda: None, Wakeups(other))

        async def body(room: Room) -> None:
            await room.inbox.get()
            await inbox.get()

        await room.start(body)
        room.poll("a")
        await asyncio.wait([room.task], timeout=5)
        assert "different loop" in str(room.task.exception())
        other.close()

    room_of(run, _nothing, then)


def test_a_loop_that_gives_tasks_no_context() -> None:
    class Loop(asyncio.SelectorEventLoop):
        def create_task(self, coroutine: Any, *, name: str | None = None) -> Any:
            return asyncio.Task(coroutine, loop=self, name=name)

    async def main() -> None:
        task = create_task(_value(None))  # type: ignore[arg-type]
        assert inspect.iscoroutine(task.get_coro())
        await task

    loop = Loop()
    loop.run_until_complete(main())
    loop.close()


def test_a_loop_that_is_run_within_a_task(run: Run) -> None:
    """No other task may be gone on with there: this one waits until it may."""

    async def then(room: Room) -> None:
        room.wakeups.begin()
        room.inbox.put("a")
        assert room.wakeups.end() is None  # a task runs: this scenario's
        assert room.seen == []
        await asyncio.sleep(0)
        assert room.seen == ["a"]
        room.poll("b")
        assert room.seen == ["a", "b"]

    room_of(run, collect, then)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_loop_ends_it(run: Run, error: BaseException) -> None:
    async def body(room: Room) -> None:
        await room.inbox.get()
        raise error

    room: Room

    async def scenario() -> None:
        nonlocal room
        room = Room()
        await room.start(body)
        room.poll("a")
        await asyncio.sleep(5)

    with pytest.raises(type(error)):
        run(scenario())
    assert room.task.done() and room.task.exception() is error
    room.loop.run_until_complete(_cancel_all())


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def test_a_task_factory_of_the_applications_own(run: Run) -> None:
    async def then(room: Room) -> None:
        made: list[str] = []

        def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
            made.append(coroutine.__name__)
            return asyncio.Task(coroutine, loop=loop, **more)

        room.loop.set_task_factory(factory)
        try:
            await room.start(collect)
        finally:
            room.loop.set_task_factory(None)
        assert made == ["collect"]
        assert inspect.iscoroutine(room.task.get_coro())
        room.poll("a")
        await asyncio.sleep(0)

    assert room_of(run, _nothing, then).seen == ["a"]


def test_who_looks_at_the_task_finds_the_coroutine(run: Run) -> None:
    async def then(room: Room) -> None:
        driver: Any = room.task.get_coro()
        assert type(driver) is InlineTask
        assert asyncio.iscoroutine(driver)
        assert driver.__qualname__ == driver.__name__ == "collect"
        assert driver.cr_code is collect.__code__
        assert driver.cr_await is not None
        assert "coro=<collect() running at" in repr(room.task)
        assert [frame.f_code for frame in room.task.get_stack()] == [collect.__code__]
        with pytest.raises(AttributeError, match="nothing"):
            _ = driver.nothing

    room_of(run, collect, then)


def test_a_task_that_is_given_up_closes_the_coroutine(run: Run) -> None:
    async def scenario() -> None:
        room = Room()
        closed: list[str] = []

        async def body() -> None:
            try:
                await room.inbox.get()
            finally:
                closed.append("closed")

        driver = InlineTask(body(), room.loop, copy_context())
        assert asyncio.isfuture(next(driver))
        driver.close()
        assert closed == ["closed"]
        room.inbox.put("a")  # wakes nobody
        assert await room.inbox.get() == "a"

    run(scenario())


def test_driven_by_hand(run: Run) -> None:
    """As any coroutine may be: awaited, thrown at with a class or an exception."""

    async def scenario() -> None:
        room = Room()
        context = copy_context()

        async def body() -> None:
            for expected in (KeyError, LookupError):
                with pytest.raises(expected):
                    await room.inbox.get()

        driver = InlineTask(body(), room.loop, context)
        driver.send(None)
        driver.throw(KeyError)
        with pytest.raises(StopIteration):
            driver.throw(LookupError, LookupError("one"), None)
        await InlineTask(_nothing(room), room.loop, context)

    run(scenario())
