# cython: annotation_typing=False
"""A handler's coroutine, run by its task, but without its task while it waits for messages only.

A task needs a Future and a call by the loop for each wait. A handler's coroutine waits for the next message
most of the time. Then its task stays parked: it waits for one Future that nobody completes. Meanwhile the
poll resumes the coroutine directly, in the task's context and as the current task. As soon as the coroutine
waits for anything else, ends or raises, the task takes over, and sees no difference. To cancel the coroutine,
cancel its task.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # for task implementations: "Extending" in the manual
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any

from fastws.loop.wakeups import Waiter

__all__ = ["InlineTask", "create_task"]

#: What the task has to be told of the coroutine when it wakes up: nothing, what it yielded, or how it ended.
NO_NEWS, YIELDED, ENDED = range(3)


def create_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``coroutine``, which waits for messages most of the time, in a task of the running loop.

    Where the loop has a task factory, or tasks without a ``context``, it is an ordinary task.
    """
    loop = asyncio.get_running_loop()
    try:
        has_factory = loop.get_task_factory() is not None
    except NotImplementedError:
        has_factory = True
    if has_factory:  # its tasks may be anything, and may not take a context
        return loop.create_task(coroutine)
    context = copy_context()
    try:
        return loop.create_task(InlineTask(coroutine, loop, context), context=context)
    except TypeError:  # a loop without that argument
        return loop.create_task(coroutine)


class InlineTask:
    """What a task of ``loop`` runs, in ``context``, in place of ``coroutine``."""

    __slots__ = (
        "_context",
        "_coroutine",
        "_loop",
        "_news",
        "_parked",
        "_resume",
        "_task",
        "_value",
        "_waiter",
    )

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
    ) -> None:
        self._coroutine = coroutine
        self._context: Any = context
        self._loop = loop
        #: Known from the coroutine's first wait for a message on.
        self._task: Any = None
        #: What the task waits for while the coroutine is resumed without it.
        self._parked: asyncio.Future[None] | None = None
        #: What the coroutine waits for, if that is a message.
        self._waiter: Waiter | None = None
        self._news = NO_NEWS
        self._value: Any = None
        self._resume: Any = self.resume  # bound once

    # -- without the task -----------------------------------------------------------------------

    def resume(self, waiter: Waiter) -> None:
        """Resume the coroutine in place of its task."""
        parked = self._parked
        if waiter is not self._waiter or parked is None or parked.done():
            return  # cancelled: the task is about to throw that into the coroutine
        self._waiter = None
        try:
            _enter_task(self._loop, self._task)
        except RuntimeError:  # within another task, where something runs a loop inside a task
            parked.set_result(None)
            return
        try:
            got = self._coroutine.send(None)
        except BaseException as exc:  # StopIteration, when it has returned
            self._news, self._value = ENDED, exc
        else:
            if self._waits(got):
                return
            self._news, self._value = YIELDED, got
        finally:
            _leave_task(self._loop, self._task)
        if not parked.done():  # else the coroutine has cancelled its own task, which wakes up already
            parked.set_result(None)

    def _waits(self, got: Any) -> bool:
        """Wait for what the coroutine has yielded, if that is a message; return False for all else."""
        if type(got) is not Waiter:
            return False
        waiter = got  # compiled, its class is known from here on
        if waiter.get_loop() is not self._loop:
            return False  # most likely of another thread: the task raises what is wrong
        self._waiter = waiter
        waiter.on_wake(self._resume, self._context)
        return True

    # -- what the task calls --------------------------------------------------------------------

    def __await__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        """Show the coroutine's name, its frame and what it waits for to those who look at the task."""
        if name.startswith("cr_") or name in ("__name__", "__qualname__"):
            return getattr(self._coroutine, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __next__(self) -> Any:
        news, value = self._take_news()
        if news == YIELDED:
            return value
        try:
            if news == ENDED:
                raise value
            return self._yielded(self._coroutine.send(None))
        except BaseException:
            self._forget()
            raise
        finally:
            value = None  # its traceback has this frame

    def send(self, argument: object) -> Any:
        return self.__next__()

    def throw(self, kind: Any, instance: Any = None, traceback: Any = None) -> Any:
        """Throw into the coroutine; a cancellation goes to the Future that it waits for, as in a task."""
        exc = instance if instance is not None else kind() if isinstance(kind, type) else kind
        news, value = self._take_news()
        is_cancel = isinstance(exc, asyncio.CancelledError)
        if news == YIELDED and is_cancel and asyncio.isfuture(value) and value.cancel(*exc.args):
            return value
        try:
            if news == ENDED:
                # A coroutine that cancelled its task and then returned ends as cancelled.
                cancelled = self._parked is not None and self._parked.cancelled()
                raise exc if cancelled and isinstance(value, StopIteration) else value
            self._abandon()
            return self._yielded(self._coroutine.throw(exc))
        except BaseException:
            self._forget()
            raise
        finally:
            exc = kind = instance = value = None  # their tracebacks have this frame

    def close(self) -> None:
        self._forget()
        self._coroutine.close()

    def _take_news(self) -> tuple[int, Any]:
        news, value = self._news, self._value
        self._news, self._value = NO_NEWS, None
        return news, value

    def _yielded(self, got: Any) -> Any:
        """Return what the task has to wait for: what was yielded, or one Future in place of messages."""
        if not self._waits(got):
            return got
        if self._task is None:
            self._task = asyncio.current_task(self._loop)
        self._parked = parked = self._loop.create_future()
        parked._asyncio_future_blocking = True  # as if it had been awaited
        return parked

    def _abandon(self) -> None:
        if self._waiter is not None:
            self._waiter.abandon()
            self._waiter = None

    def _forget(self) -> None:
        """The coroutine has ended: drop the references that form circles."""
        self._abandon()
        self._parked = self._task = self._resume = self._context = None
