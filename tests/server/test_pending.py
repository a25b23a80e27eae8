"""What an application has not answered yet: answered, given up, or cancelled by somebody else."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from fastws import Response
from fastws.protocol.http.messages import Request
from fastws.server.pending import PendingAnswer
from tests.kit.served import Panic


class Caller:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.answers: list[Any] = []

    def ask(self, answer: Any) -> PendingAnswer:
        return PendingAnswer(answer, "the endpoint of /", self.answers.append, Request())


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_answered() -> None:
    async def endpoint() -> str:
        return "fine"

    caller = Caller()
    pending = caller.ask(endpoint())
    assert caller.answers == []
    await turns()
    pending.give_up()
    assert caller.answers == ["fine"]


@pytest.mark.parametrize("kind", [ValueError, Panic, GeneratorExit, asyncio.CancelledError])
async def test_it_raises(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint() -> None:
        raise kind("broken")

    caller = Caller()
    with caplog.at_level(logging.ERROR):
        caller.ask(endpoint())
        await turns()
    assert [answer.status for answer in caller.answers] == [500]
    (record,) = caplog.records
    assert record.getMessage() == "the endpoint of / failed"
    assert "broken" in caplog.text


async def test_given_up() -> None:
    said: list[str] = []

    async def endpoint() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            said.append("cancelled")
            raise

    caller = Caller()
    pending = caller.ask(endpoint())
    await turns()
    pending.give_up()
    pending.give_up()
    await turns()
    assert (said, caller.answers) == (["cancelled"], [])


@pytest.mark.parametrize("end", ["answered", "given up", "cancelled"])
async def test_it_keeps_nobody_alive(end: str) -> None:
    async def endpoint() -> None:
        if end != "answered":
            await asyncio.sleep(3600)

    caller, before = Caller(), asyncio.all_tasks()
    seen = weakref.ref(caller)
    gc.disable()
    try:
        pending = caller.ask(endpoint())
        await asyncio.sleep(0)
        if end == "given up":
            pending.give_up()
        elif end == "cancelled":
            for task in asyncio.all_tasks() - before:
                task.cancel()
                del task
        await turns()
        del caller
        assert pending is not None
        assert seen() is None
    finally:
        gc.enable()


async def test_an_answer_after_it_was_given_up_lets_go_of_its_stream() -> None:
    class Stream:
        length = 5
        closed = False

        def read(self, n: int) -> bytes:
            raise AssertionError

        def close(self) -> None:
            self.closed = True

    stream = Stream()

    async def endpoint() -> Response:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return Response(200, stream=stream)
        raise AssertionError

    caller = Caller()
    pending = caller.ask(endpoint())
    await turns()
    pending.give_up()
    await turns()
    assert (caller.answers, stream.closed) == ([], True)


async def test_it_awaited_a_task_that_was_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async def endpoint() -> None:
        task = asyncio.ensure_future(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    caller = Caller()
    caller.ask(endpoint())
    await turns()
    assert [answer.status for answer in caller.answers] == [500]
    assert [record.getMessage() for record in caplog.records] == ["the endpoint of / failed"]


async def test_cancelled_by_somebody_else() -> None:
    async def endpoint() -> None:
        await asyncio.sleep(3600)

    caller = Caller()
    before = asyncio.all_tasks()
    caller.ask(endpoint())
    await turns()
    (task,) = asyncio.all_tasks() - before
    task.cancel()
    await turns()
    assert [answer.status for answer in caller.answers] == [500]
