"""Limits on what a test waits for: a wait that takes too long fails the test and says where it was."""

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

#: How often a task is checked in the time that one wait may take.
CHECKS_PER_WAIT = 5

#: Turns of the loop after which ``until`` sleeps between two checks.
TURNS_BEFORE_SLEEP = 200
#: Seconds of that sleep.
SLEEP_SECONDS = 0.001

_NOT_THE_TESTS = (str(Path(__file__).parents[1]), str(Path(asyncio.__file__).parent))


class WaitTimeout(AssertionError):
    """A test has waited too long; the message has the limit in seconds, and the line that waited."""


async def until(condition: Callable[[], object], what: str = "", *, timeout: float = 5.0) -> None:
    """Let the loop run until ``condition()`` is true.

    Args:
        condition: A function without arguments, called in each turn of the loop. It must not block.
        what: What the test waits for, for the message. Default: the source of ``condition``.
        timeout: Seconds of real time, whatever a :class:`Clock` says. Default 5.

    Raises:
        WaitTimeout: ``condition()`` was still false after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    turns = 0
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimeout(f"waited {timeout:g} s for {what or _source(condition)}")
        turns += 1
        if turns > TURNS_BEFORE_SLEEP:
            time.sleep(SLEEP_SECONDS)  # not asyncio's: a Clock would hold it
        await asyncio.sleep(0)


def _source(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)


class Watch:
    """Ends a wait of the current task that takes too long, between :meth:`start` and :meth:`stop`.

    It cancels the task, and :meth:`check` turns the ``CancelledError`` into :class:`WaitTimeout`. A thread
    keeps the time, because the loop's time may stand still. In a fixture the task that called :meth:`start`
    ends before the test begins: then the watch passes to the task that the loop runs, which is the test's,
    and the pytest plugin turns the ``CancelledError``.

    Args:
        seconds: How long one wait may take; it ends up to a fifth later. None: no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[Any] | None = None
        self._seen: tuple[object, ...] = ()
        self._checks = 0
        #: The loop has been asked to check. It may not run now, and shall not check twice in one turn then.
        self._is_asked = False
        self._found: str | None = None

    def start(self) -> None:
        self._task = asyncio.current_task()
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._keep_time, args=(loop, self._seconds / CHECKS_PER_WAIT), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Check no more. A second call does nothing."""
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
            if self._is_asked:
                continue
            self._is_asked = True
            try:
                loop.call_soon_threadsafe(self._check_task)
            except RuntimeError:  # the loop is closed
                return

    def _check_task(self) -> None:
        self._is_asked = False
        assert self._task is not None
        if self._task.done():
            self._task = _main_task() or self._task
            self._seen = ()
        task = self._task
        if self._stopped.is_set() or task.done() or task.cancelling():
            return
        seen = (_chain(task)[-1], getattr(task, "_fut_waiter", None))
        if len(self._seen) == 2 and seen[0] is self._seen[0] and seen[1] is self._seen[1]:
            self._checks += 1
        else:
            self._seen, self._checks = seen, 0
        if self._checks >= CHECKS_PER_WAIT:
            self._found = f"waited {self._seconds:g} s {waits_for(task)}"
            task.cancel(WaitTimeout(self._found))


def _main_task() -> asyncio.Task[Any] | None:
    """Return the task that the running loop runs until it is complete."""
    for task in asyncio.all_tasks():
        for callback in getattr(task, "_callbacks", None) or ():
            if "run_until_complete" in getattr(callback[0], "__qualname__", ""):
                return task
    return None


def waits_for(task: asyncio.Task[Any]) -> str:
    """Return where a task waits: the line of the test, and the functions that this line has called."""
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
