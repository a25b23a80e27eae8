"""Tests that run on asyncio's loop and on uvloop, and must leave no task behind."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.kit import until
from tests.kit.loops import uvloop_or_skip

__all__ = ["both_loops"]

Test = Callable[..., Coroutine[Any, Any, None]]


def both_loops(test: Test) -> Callable[..., None]:
    """Make two plain tests of an ``async def`` one. An error in a callback fails it too."""
    signature = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)

    @pytest.mark.parametrize(
        "loop_factory", [asyncio.new_event_loop, uvloop_or_skip], ids=["asyncio", "uvloop"]
    )
    @functools.wraps(test)
    def run(*args: Any, loop_factory: Callable[[], asyncio.AbstractEventLoop], **kwargs: Any) -> None:
        errors: list[dict[str, Any]] = []
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.get_loop().set_exception_handler(lambda _, context: errors.append(context))
            runner.run(_checked(test(*args, **kwargs)))
        assert not errors, errors

    parameters = [*signature.parameters.values(), factory]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


async def _checked(test: Coroutine[Any, Any, None]) -> None:
    await test
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
