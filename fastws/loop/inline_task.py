# cython: annotation_typing=False
"""A handler's coroutine, run by its task, and past its task while all that it waits for are messages.

A task takes a Future and a call of the loop's for each time that it waits. A handler waits for the next
message most of the time: then its task goes on waiting for one Future that nobody completes, and the
coroutine is gone on with in its place, in the task's context and as the current task. As soon as it waits
for anything else, ends or raises, the task takes over and sees no difference. Cancelling goes by the task.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # for those who run tasks: "Extending" in its manual
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import Any

from fastws.loop.wakeups import Waiter

__all__ = ["InlineTask", "create_task"]

#: What the task has to learn of the coroutine when it is woken: nothing, what it yielded, or how it ended.
NOTHING, YIELDED, ENDED = range(3)


def create_task(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run ``coroutine``, which waits for messages most of the time, in a task of the running loop."""
    loop = asyncio.get_running_loop()
    try:
        makes_its_own = loop.get_task_factory() is not None
    except NotImplementedError:
        makes_its_own = True
    if makes_its_own:  # which may be anything, and perhaps cannot be given a context
        return loop.create_task(coroutine)
    context = copy_context()
    try:
        return loop.create_task(InlineTask(coroutine, loop, context), context=context)
    except TypeError:  # a loop older than that argument
        return loop.create_task(coroutine)


class InlineTask:
    """What a task of ``loop`` runs in ``context`` in place of ``coroutine``."""

    __slots__ = (
        "_context",
        "_coroutine",
        "_loop",
        "_news",
        "_parked",
        "_resume",
        "_task",
        "_waiter",
        "_what",
    )

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
    ) -> None:
        self._coroutine = coroutine
        self._context: Any = context
        self._loop = loop
        #: Known once it has come here for the first time.
        self._task: Any = None
        #: What the task waits for meanwhile.
        self._parked: asyncio.Future[None] | None = None
        #: What the coroutine waits for, when that is a message.
        self._waiter: Waiter | None = None
        self._news = NOTHING
        self._what: Any = None
        self._resume: Any = self.resume  # bound once

    # -- past the task --------------------------------------------------------------------------

    def resume(self, waiter: Waiter) -> None:
        """Go on with the coroutine in place of its task."""
        parked = self._parked
        if waiter is not self._waiter or parked is None or parked.done():
            return  # cancelled: the task is about to tell the coroutine
        self._waiter = None
        try:
            _enter_task(self._loop, self._task)
        except RuntimeError:  # within another task, by who runs a loop inside of one
            parked.set_result(None)
            return
        try:
            got = self._coroutine.send(None)
        except BaseException as exc:  # StopIteration, when it has returned
            self._news, self._what = ENDED, exc
        else:
            if self._waits(got):
                return
            self._news, self._what = YIELDED, got
        finally:
            _leave_task(self._loop, self._task)
        if not parked.done():  # else it has cancelled itself, and its task is about to be told so
            parked.set_result(None)

    def _waits(self, got: Any) -> bool:
        """Wait for what the coroutine has yielded, where that is a message; False for all else."""
        if type(got) is not Waiter:
            return False
        waiter = got  # compiled, its class is known from here on
        if waiter.get_loop() is not self._loop:
            return False  # of another thread, most likely: its task says what is wrong
        self._waiter = waiter
        waiter.tell(self._resume, self._context)
        return True

    # -- what the task asks ---------------------------------------------------------------------

    def __await__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        """As the coroutine has it: its name, its frame, what it waits for, for whoever looks at the task."""
        if name.startswith("cr_") or name in ("__name__", "__qualname__"):
            return getattr(self._coroutine, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __next__(self) -> Any:
        news, what = self._take_news()
        if news == YIELDED:
            return what
        try:
            if news == ENDED:
                raise what
            return self._yielded(self._coroutine.send(None))
        except BaseException:
            self._forget()
            raise
        finally:
            what = None  # its traceback has this frame

    def send(self, value: object) -> Any:
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Throw into the coroutine; who is cancelled with what it waits for cancels that, as tasks do."""
        exc = value if value is not None else kind() if isinstance(kind, type) else kind
        news, what = self._take_news()
        is_cancel = isinstance(exc, asyncio.CancelledError)
        if news == YIELDED and is_cancel and asyncio.isfuture(what) and what.cancel(*exc.args):
            return what
        try:
            if news == ENDED:
                # One that has cancelled itself before it returned ends as cancelled.
                cancelled = self._parked is not None and self._parked.cancelled()
                raise exc if cancelled and isinstance(what, StopIteration) else what
            self._abandon()
            return self._yielded(self._coroutine.throw(exc))
        except BaseException:
            self._forget()
            raise
        finally:
            exc = kind = value = what = None  # their tracebacks have this frame

    def close(self) -> None:
        self._forget()
        self._coroutine.close()

    def _take_news(self) -> tuple[int, Any]:
        news, what = self._news, self._what
        self._news, self._what = NOTHING, None
        return news, what

    def _yielded(self, got: Any) -> Any:
        """Return what the task is to wait for."""
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
        """The coroutine has ended: hold on to nothing that holds on to this."""
        self._abandon()
        self._parked = self._task = self._resume = self._context = None
