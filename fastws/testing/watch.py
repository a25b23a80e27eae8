"""No wait without an end: what a test waits for in vain fails it, and is named."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

__all__ = ["WaitTimeout", "Watch", "until", "waits_for"]

#: Looks at a task in the time that a wait may take.
LOOKS = 5

#: Turns after which ``until`` stops for a moment between two looks.
EAGER_TURNS = 200

_NOT_THE_TESTS = (str(Path(__file__).parents[1]), str(Path(asyncio.__file__).parent))


class WaitTimeout(AssertionError):
    """A test has waited for something that did not happen; the text says for what."""


async def until(condition: Callable[[], object], what: str = "", *, timeout: float = 5.0) -> None:
    """Return once ``condition()`` is true, letting the loop run; in real time, whatever a clock says.

    Raises :class:`WaitTimeout`, which names ``what``, after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    turns = 0
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimeout(f"waited {timeout:g} s for {what or _source(condition)}")
        turns += 1
        if turns > EAGER_TURNS:
            time.sleep(0.001)  # not asyncio's: a Clock would hold it
        await asyncio.sleep(0)


def _source(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)


class Watch:
    """Ends a wait of the current task that takes more than ``seconds`` (None: never), up to a fifth more.

    Between :meth:`start` and :meth:`stop`. The task is cancelled, and :meth:`check` turns that
    into :class:`WaitTimeout`. A thread keeps the time, for that of the loop may stand still.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[Any] | None = None
        self._seen: tuple[object, ...] = ()
        self._looks = 0
        self._found: str | None = None

    def start(self) -> None:
        self._task = asyncio.current_task()
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._keep_time, args=(loop, self._seconds / LOOKS), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Look no more. Twice does no harm."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def check(self, exc: BaseException | None) -> None:
        """Raise :class:`WaitTimeout` if ``exc``, which ended the block, is this watch's doing."""
        if self._found is None:
            return
        assert self._task is not None
        self._task.uncancel()
        if isinstance(exc, asyncio.CancelledError):
            raise WaitTimeout(self._found) from None

    def _keep_time(self, loop: asyncio.AbstractEventLoop, interval: float) -> None:
        while not self._stopped.wait(interval):
            try:
                loop.call_soon_threadsafe(self._look)
            except RuntimeError:  # the loop is closed
                return

    def _look(self) -> None:
        task = self._task
        assert task is not None
        if self._stopped.is_set() or task.done() or task.cancelling():
            return
        seen = (_chain(task)[-1], getattr(task, "_fut_waiter", None))
        if len(self._seen) == 2 and seen[0] is self._seen[0] and seen[1] is self._seen[1]:
            self._looks += 1
        else:
            self._seen, self._looks = seen, 0
        if self._looks >= LOOKS:
            self._found = f"waited {self._seconds:g} s {waits_for(task)}"
            task.cancel()


def waits_for(task: asyncio.Task[Any]) -> str:
    """Say where a task that waits does so: the line of the test, and what that line has called."""
    names: list[str] = []
    place = ""
    for each in _chain(task):
        name = getattr(each, "__qualname__", None)
        frame = _frame(each)
        if frame is not None and not frame.f_code.co_filename.startswith(_NOT_THE_TESTS):
            names.clear()
            path, number = frame.f_code.co_filename, frame.f_lineno
            line = linecache.getline(path, number).strip()
            place = f"at {Path(path).name}:{number}" + (f", `{line}`" if line else "")
        elif name is not None:
            names.append(name)
    inside = f" in {' > '.join(names)}" if names else ""
    return f"{place}{inside}".strip() or f"in {task.get_name()}"


def _chain(task: asyncio.Task[Any]) -> list[Any]:
    """A task's coroutine, what that waits for, and so on."""
    chain: list[Any] = [task.get_coro()]
    while True:
        each = chain[-1]
        following = getattr(each, "cr_await", None) or getattr(each, "gi_yieldfrom", None)
        if following is None:
            return chain
        chain.append(following)


def _frame(each: Any) -> FrameType | None:
    frame = getattr(each, "cr_frame", None) or getattr(each, "gi_frame", None)
    return frame if isinstance(frame, FrameType) else None
