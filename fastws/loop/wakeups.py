# cython: annotation_typing=False
"""What a coroutine awaits while there is no message for it: as much of a Future as a Task needs.

A Future's callbacks are called by the loop, one handle each; who waits for a message is woken within the
poll that read it, behind all that it read, so that what it sends leaves with the other answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

__all__ = ["Waiter", "Wakeups"]

PENDING, DONE, CANCELLED = range(3)

Callback = Callable[[Any], object]


class Wakeups:
    """One per event loop: calls back those that a message has come for."""

    __slots__ = ("_due", "done", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        #: A Future that is done. A task asks a Future of asyncio's own without calls by name.
        self.done: asyncio.Future[None] = loop.create_future()
        self.done.set_result(None)
        self._due: list[tuple[Callback, Any, Context]] | None = None

    def begin(self) -> None:
        """Collect from now on; the caller, which the loop has called, ends it by :meth:`end`.

        Nobody's task may be running: a task cannot be gone on with within another.
        """
        self._due = []

    def end(self) -> BaseException | None:
        """Go on with all that were woken; return what ends the loop (``SystemExit``), if one raised it."""
        due, self._due = self._due, None
        fatal: BaseException | None = None
        for callback, argument, context in due or ():
            try:
                try:
                    context.run(callback, argument)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as exc:  # as the loop does
                    what = {"message": f"Exception in callback {callback!r}", "exception": exc}
                    self.loop.call_exception_handler(what)
            except BaseException as exc:
                fatal = exc
        return fatal

    def call_back(self, callback: Callback, argument: Any, context: Context) -> None:
        """Call ``callback(argument)`` at the end of this poll, or soon."""
        if self._due is not None:
            self._due.append((callback, argument, context))
        else:
            self.loop.call_soon(callback, argument, context=context)


class Waiter:
    """Awaited once, by one task, and woken once. It has a Future's methods as far as tasks call them."""

    __slots__ = (
        "_argument",
        "_asyncio_future_blocking",
        "_callback",
        "_context",
        "_message",
        "_state",
        "_wakeups",
    )

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self._state = PENDING
        self._callback: Callback | None = None
        self._argument: Any = None
        self._context: Context | None = None
        self._message: Any = None
        #: asyncio's word for "yielded by ``await``": a task clears it when it begins to wait.
        self._asyncio_future_blocking = False

    def wake(self) -> None:
        """Let the task go on. Without effect when it was cancelled."""
        if self._state == PENDING:
            self._state = DONE
            self._call_back(self._argument)

    def done(self) -> bool:
        return self._state != PENDING

    def tell(self, callback: Callback, context: Context) -> None:
        """Have ``callback(waiter)`` called in ``context`` when it is woken; for who is no task."""
        self._callback = callback
        self._argument = self
        self._context = context

    def _call_back(self, argument: Any) -> None:
        callback, context = self._callback, self._context
        if callback is not None and context is not None:
            self._callback = self._argument = self._context = None
            self._wakeups.call_back(callback, argument, context)

    # -- what a task asks -----------------------------------------------------------------------

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Waiter:
        if self._state == PENDING:
            self._asyncio_future_blocking = True
            return self
        raise StopIteration

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._wakeups.loop

    def add_done_callback(self, callback: Callback, *, context: Context) -> None:
        """Call back in ``context`` when it is done; the task that waits is the only one.

        It is given what has the same ``result()``: the waiter when it was cancelled.
        """
        self._callback = callback
        self._argument = self._wakeups.done
        self._context = context

    def cancel(self, msg: Any = None) -> bool:
        if self._state != PENDING:
            return False
        self._state = CANCELLED
        self._message = msg
        self._call_back(self)
        return True

    def abandon(self) -> None:
        """Wait no more; nobody is called back."""
        self._state = CANCELLED
        self._callback = self._argument = self._context = None

    def result(self) -> None:
        if self._state == CANCELLED:
            raise asyncio.CancelledError() if self._message is None else asyncio.CancelledError(self._message)
