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

from fastws.waiter import Waiter

__all__ = ["Driver", "create_task"]

#: What the task has to learn of the coroutine when it is woken: nothing, what it yielded, that it ended.
NOTHING, YIELDED, RETURNED, RAISED = range(4)


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
    return loop.create_task(Driver(coroutine, loop, context), context=context)


class Driver:
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
        self._context = context
        self._loop = loop
        #: Known once it has come here for the first time.
        self._task: Any = None
        #: What the task waits for meanwhile.
        self._parked: asyncio.Future[None] | None = None
        #: What the coroutine waits for, when that is a message.
        self._waiter: Waiter | None = None
        self._news = NOTHING
        self._what: Any = None
        self._resume = self.resume  # bound once

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
        except StopIteration as stop:
            self._news, self._what = RETURNED, stop.value
        except BaseException as exc:
            self._news, self._what = RAISED, exc
        else:
            if type(got) is Waiter:
                self._wait(got)
                return
            self._news, self._what = YIELDED, got
        finally:
            _leave_task(self._loop, self._task)
        parked.set_result(None)

    def _wait(self, waiter: Waiter) -> None:
        self._waiter = waiter
        waiter.tell(self._resume, self._context)

    # -- what the task asks ---------------------------------------------------------------------

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        """As the coroutine has it: its name, its frame, what it waits for, for whoever looks at the task."""
        if name.startswith("cr_") or name in ("__name__", "__qualname__"):
            return getattr(self._coroutine, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __next__(self) -> Any:
        news, what = self._take_news()
        if news == RETURNED:
            raise StopIteration(what)
        if news == RAISED:
            raise what
        return what if news == YIELDED else self._yielded(self._coroutine.send(None))

    def send(self, value: object) -> Any:
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        """Throw into the coroutine; who is cancelled with what it waits for cancels that, as tasks do."""
        exc = value if value is not None else kind() if isinstance(kind, type) else kind
        news, what = self._take_news()
        if news == RETURNED:
            raise StopIteration(what)
        if news == RAISED:
            raise what
        if news == YIELDED and isinstance(exc, asyncio.CancelledError) and asyncio.isfuture(what):
            what.cancel(*exc.args)
            return what
        self._abandon()
        return self._yielded(self._coroutine.throw(exc))

    def close(self) -> None:
        self._abandon()
        self._coroutine.close()

    def _take_news(self) -> tuple[int, Any]:
        news, what = self._news, self._what
        self._news, self._what = NOTHING, None
        return news, what

    def _yielded(self, got: Any) -> Any:
        """Return what the task is to wait for."""
        if type(got) is not Waiter:
            return got
        self._wait(got)
        if self._task is None:
            self._task = asyncio.current_task(self._loop)
        self._parked = parked = self._loop.create_future()
        parked._asyncio_future_blocking = True  # as if it had been awaited
        return parked

    def _abandon(self) -> None:
        if self._waiter is not None:
            self._waiter.abandon()
            self._waiter = None
