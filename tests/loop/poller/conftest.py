"""Real loops, of which no epoll may stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from tests.kit.loops import uvloop_or_skip
from tests.loop.poller.talking import Run, epolls


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a real loop, which shall report nothing; and no epoll may stay open."""
    loop = asyncio.new_event_loop() if request.param == "asyncio" else uvloop_or_skip()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    before = epolls()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(asyncio.wait_for(coroutine, 20))

    run.loop = loop  # type: ignore[attr-defined]
    yield run
    assert epolls() == before
    loop.close()
    assert not errors
