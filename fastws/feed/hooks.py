"""Calls an application's hook, which may be anything, and may do anything."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastws.feed.access import FeedError
from fastws.loop.fatal import is_cancelled, is_collected

__all__ = ["HOOK", "HOOK_SECONDS", "ask", "nonsense"]

log = logging.getLogger("fastws.error")

#: The name of the task of a hook, which is cancelled when its client has gone; what is published is not.
HOOK = "hook of a feed"
#: So long a hook may take.
HOOK_SECONDS = 10.0


async def ask(hook: Callable[..., Any], *args: object) -> Any:
    """Return what a hook says. A hook that is no coroutine makes no task.

    Raises:
        FeedError: The hook's own; or ``"internal"`` where it raised anything else, or took longer than 10 s.
    """
    try:
        answer = hook(*args)
        if not inspect.isawaitable(answer):
            return answer
        task = asyncio.get_running_loop().create_task(_limited(answer, _name_of(hook)), name=HOOK)
        try:
            return await task
        finally:
            if task.done() and isinstance(answer, Coroutine):
                answer.close()  # a client that left at once has cancelled the task before that began it
    except (FeedError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as exc:
        # One outside ``Exception`` too, such as a panic of pyo3, and what a cancelled task raises.
        if is_cancelled(exc) or is_collected(exc):
            raise
        log.exception("the hook %s failed", _name_of(hook))
    raise FeedError("internal", "the application failed")


def nonsense(hook: Callable[..., Any], answer: object, wanted: str) -> FeedError:
    """Return the error for an answer that means nothing."""
    log.error("the hook %s returned %r, which is not %s", _name_of(hook), answer, wanted)
    return FeedError("internal", "the application failed")


def _name_of(hook: Callable[..., Any]) -> str:
    name: str = getattr(hook, "__name__", type(hook).__name__)
    return name


async def _limited(answer: Awaitable[Any], name: str) -> Any:
    limit = asyncio.timeout(HOOK_SECONDS)
    try:
        async with limit:
            return await answer
    except TimeoutError:
        if not limit.expired():
            raise  # the application's own
        log.exception("the hook %s took longer than %d s", name, HOOK_SECONDS)
        raise FeedError("internal", "the application failed") from None
