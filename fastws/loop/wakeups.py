# cython: annotation_typing=False
"""What a coroutine awaits while there is no message for it: as much of a Future as a Task needs.

The loop calls the callbacks of a Future, with one handle for each. A coroutine that waits for a message is
resumed by the poll that has read the message: after that poll has handed over all its reads, and before it
writes, so that what the coroutine sends leaves with the other answers.
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
    """One per event loop: calls back those whose message has come."""

    __slots__ = ("_due", "done", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        #: A Future that is done, for the callbacks of tasks: they ask an asyncio Future by C, not by name.
        self.done: asyncio.Future[None] = loop.create_future()
        self.done.set_result(None)
        self._due: list[tuple[Callback, Any, Context]] | None = None

    def begin(self) -> None:
        """Collect callbacks until the caller calls :meth:`end`.

        Only for a callback of the loop, where no task runs: asyncio forbids to resume a task within another.
        """
        self._due = []

    def end(self) -> BaseException | None:
        """Call back all that were woken; return what has to end the loop (``SystemExit``), if raised."""
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
        """Call ``callback(argument)`` in ``context``: at the end of this poll, or else by ``call_soon``."""
        if self._due is not None:
            self._due.append((callback, argument, context))
        else:
            self.loop.call_soon(callback, argument, context=context)


class Waiter:
    """Awaited once, by one task, and woken once. It has those methods of a Future that tasks call."""

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
        #: asyncio's mark for "yielded by ``await``": a task clears it when it begins to wait.
        self._asyncio_future_blocking = False

    def wake(self) -> None:
        """Let the task go on; do nothing when it was cancelled."""
        if self._state == PENDING:
            self._state = DONE
            self._call_back(self._argument)

    def done(self) -> bool:
        return self._state != PENDING

    def on_wake(self, callback: Callback, context: Context) -> None:
        """Have ``callback(waiter)`` called in ``context`` when it is woken: for a caller that is no task."""
        self._callback = callback
        self._argument = self
        self._context = context

    def _call_back(self, argument: Any) -> None:
        callback, context = self._callback, self._context
        if callback is not None and context is not None:
            self._callback = self._argument = self._context = None
            self._wakeups.call_back(callback, argument, context)

    # -- what a task calls ----------------------------------------------------------------------

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
        """Call back in ``context`` when it is done. Only the one task that waits calls this.

        The callback's argument has the same ``result()`` as the waiter: it is a done Future, or the waiter
        itself when that was cancelled.
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
        """Wait no more, and call nobody back."""
        self._state = CANCELLED
        self._callback = self._argument = self._context = None

    def result(self) -> None:
        if self._state == CANCELLED:
            raise asyncio.CancelledError() if self._message is None else asyncio.CancelledError(self._message)
