"""The lifespan of an ASGI application: a task that receives the startup and the shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fastws.asgi.scope import Application, Event
from fastws.errors import StartupFailed

__all__ = ["Lifespan"]

log = logging.getLogger("fastws.error")


class Lifespan:
    """One startup and one shutdown of an application.

    Args:
        app: The application.
        mode: ``auto``: an application that raises before it has answered has no lifespan, and is served
            without. ``on``: that is a failure. ``off``: the application is not asked.
        state: What the application fills for its requests.
    """

    def __init__(self, app: Application, mode: str, state: dict[str, Any]) -> None:
        self._app = app
        self._mode = mode
        self._state = state
        self._task: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        #: The event that the application has to answer, and the future that waits for the answer.
        self._awaited: tuple[str, asyncio.Future[Event]] | None = None
        self._is_stopping = False
        #: Called when the application fails between its startup and its shutdown.
        self._failed: Callable[[], None] | None = None
        #: What the application said of a failure that nobody had asked for.
        self._said = ""

    async def startup(self, failed: Callable[[], None] | None = None) -> None:
        """Start the application. Raises ``StartupFailed`` with the application's message.

        Args:
            failed: Called, after the failure is logged, when the application's task raises while it is
                served: a task group of its lifespan has lost a task, for example. Default: nothing.
        """
        if self._mode == "off":
            return
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            answer = await self._tell("lifespan.startup")
        except BaseException:
            self._task.cancel()
            raise
        if answer is None:
            failure = self._failure()
            self._task = None
            if self._mode == "on":
                raise StartupFailed(f"the application has no lifespan: {failure}")
            log.debug("the application has no lifespan: %s", failure)
        elif answer["type"] == "lifespan.startup.failed":
            await asyncio.wait([self._task], timeout=1)
            self._task.cancel()
            self._task = None
            raise StartupFailed(_said(answer))
        else:
            self._failed = failed
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The application's task has ended: log why, unless the shutdown has begun or it just returned."""
        exc = None if task.cancelled() else task.exception()
        if (
            self._task is None
            or self._is_stopping
            or (exc is None and not task.cancelled() and not self._said)
        ):
            return
        log.error(
            "the lifespan of the ASGI application failed while it was served%s", self._said, exc_info=exc
        )
        if self._failed is not None:
            self._failed()

    async def shutdown(self, timeout: float | None) -> None:
        """End the application; its task is cancelled after ``timeout`` seconds (None: never)."""
        task = self._task
        self._is_stopping = True
        if task is None or task.done():
            return
        try:
            answer = await asyncio.wait_for(self._tell("lifespan.shutdown"), timeout)
            if answer is None:
                log.error("the application failed in its shutdown: %s", self._failure())
            elif answer["type"] == "lifespan.shutdown.failed":
                log.error(
                    "the application failed in its shutdown: %s", _last_line(answer) or "it says no more"
                )
            else:
                await asyncio.wait([task], timeout=timeout)
        except TimeoutError:
            log.error("the application has not shut down in %g s: cancelled", timeout)
        finally:
            self._task = None
            if task.cancel():
                await asyncio.wait([task], timeout=1)

    async def _tell(self, kind: str) -> Event | None:
        """Send the application an event and return its answer; None when its task ended without one."""
        task = self._task
        assert task is not None
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._awaited = (kind, answer)
        self._events.put_nowait({"type": kind})
        try:
            either: list[asyncio.Future[Any]] = [task, answer]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            self._awaited = None

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        await self._app(scope, self._receive, self._send)

    async def _receive(self) -> Event:
        return await self._events.get()

    async def _send(self, event: Event) -> None:
        kind = event["type"]
        event_sent, answer = self._awaited or ("", None)
        if answer is None and kind == "lifespan.shutdown.failed" and not self._is_stopping:
            # Starlette says so, with a traceback, before it raises.
            self._said = f": {_last_line(event)}"
            return
        if answer is None or answer.done() or kind not in (f"{event_sent}.complete", f"{event_sent}.failed"):
            raise RuntimeError(f"the application sent {kind!r} in its lifespan, which is not due now")
        answer.set_result(event)

    def _failure(self) -> str:
        """Why the task has ended, in one line."""
        assert self._task is not None
        if self._task.cancelled():
            return "cancelled"
        exc = self._task.exception()
        return "it returned" if exc is None else f"{type(exc).__name__}: {exc}"


def _said(answer: Event) -> str:
    last = _last_line(answer)
    return f"the application failed to start: {last}" if last else "the application failed to start"


def _last_line(answer: Event) -> str:
    """The last line of what the application says went wrong: often a whole traceback, or one of a group."""
    lines = [line.strip("+-| \t") for line in str(answer.get("message", "")).splitlines()]
    return next((line for line in reversed(lines) if line), "")
