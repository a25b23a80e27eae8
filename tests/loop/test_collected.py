"""Coroutines that nobody runs any more: Python closes them when it collects them, and that is no failure."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from fastws.connection.handlers import as_handler
from fastws.protocol.http.messages import Request
from fastws.server.pending import PendingAnswer


async def waits(*_: Any) -> None:
    await asyncio.get_running_loop().create_future()


def of_a_handler() -> Coroutine[Any, Any, None]:
    handler: Any = as_handler(waits)
    ws = SimpleNamespace(request=Request(), close_nowait=lambda *_: pytest.fail("a close of what is gone"))
    coroutine: Coroutine[Any, Any, None] = handler._run(ws)
    return coroutine


def of_a_page() -> Coroutine[Any, Any, None]:
    pending: Any = object.__new__(PendingAnswer)
    pending._then = lambda answer: pytest.fail("an answer to what is gone")
    coroutine: Coroutine[Any, Any, None] = pending._run(waits(), "a page", Request())
    return coroutine


@pytest.mark.parametrize("make", [of_a_handler, of_a_page])
def test_what_is_collected_is_not_logged(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    coroutine = make()

    async def begin() -> None:
        coroutine.send(None)

    asyncio.run(begin())

    async def collect() -> None:  # in the middle of another task
        coroutine.close()

    asyncio.run(collect())
    assert not caplog.records


async def test_an_application_that_raises_it_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    closed: list[int] = []

    async def application(ws: object) -> None:
        await asyncio.sleep(0)
        raise GeneratorExit

    handler: Any = as_handler(application)
    ws = SimpleNamespace(request=Request(), close_nowait=lambda code, reason: closed.append(code))
    await handler._run(ws)
    assert closed == [1011] and len(caplog.records) == 1
