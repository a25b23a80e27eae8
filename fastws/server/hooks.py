"""What starts and ends with one server: ASGI lifespans, hooks and background tasks."""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fastws.errors import StartupFailed
from fastws.loop.fatal import end_loop, is_cancelled, is_collected
from fastws.server.application import Application, Background

if TYPE_CHECKING:
    from fastws.web.routes import Endpoint

__all__ = ["CANCEL_SECONDS", "Hooks", "end_tasks"]

log = logging.getLogger("fastws.error")

#: Seconds that cancelled handlers and tasks have to end, whatever time is left.
CANCEL_SECONDS = 1.0


class Hooks:
    """Runs them for one server.

    Args:
        server: what hooks and tasks are called with.
        app: what the server serves.
        endpoints: those of its router.
        leads: whether ``once`` tasks begin with the others.
    """

    def __init__(self, server: Any, app: Any, endpoints: Iterable[Endpoint], *, leads: bool) -> None:
        self._server = server
        self._app: Application = app if isinstance(app, Application) else Application([])
        self._endpoints = list(endpoints)
        #: ASGI applications whose lifespan has begun.
        self._started: list[Any] = []
        self._loop = asyncio.get_running_loop()
        #: Done when the server cannot go on: see ``lifespan_failure``.
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self.leads = leads
        self._is_running = False
        self._owes_shutdown = False
        self._tasks: dict[Background, asyncio.Task[None]] = {}

    async def startup(self) -> None:
        """Run all that comes before the server listens. Raises ``StartupFailed``."""
        for hook in self._app.startup_hooks:
            await self._start(hook)
        self._owes_shutdown = True
        for endpoint in self._endpoints:
            if endpoint.application is not None:
                await endpoint.application.startup(self._fail)
                self._started.append(endpoint.application)
        self._is_running = True
        for each in self._app.background_tasks:
            if self.leads or not each.once:
                self._begin(each)

    async def _start(self, hook: Any) -> None:
        try:
            result = hook(self._server)
            if inspect.isawaitable(result):
                await result
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if is_cancelled(error):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = "".join(traceback.format_exception_only(error)[-1:]).strip()
            raise StartupFailed(
                f"on_startup {_name(hook)} failed: {text} ({where.filename}, line {where.lineno})"
            ) from error

    def _fail(self) -> None:
        if not self.failed.done():
            self.failed.set_result(None)

    # -- background tasks -----------------------------------------------------------------------

    def lead(self, leads: bool) -> None:  # noqa: FBT001 - as Server.lead
        """Begin ``once`` tasks, or cancel them."""
        if leads == self.leads:
            return
        self.leads = leads
        for each in self._app.background_tasks:
            if each.once and self._is_running:
                if leads:
                    self._begin(each)
                elif each in self._tasks:
                    _cancel(self._tasks[each])

    async def resign(self) -> None:
        """Cancel ``once`` tasks, and wait until they have ended."""
        self.lead(False)  # noqa: FBT003
        if running := [task for each, task in self._tasks.items() if each.once]:
            await asyncio.wait(running)

    def _begin(self, each: Background) -> None:
        """Begin a task, unless its last run has not ended yet: the end of that begins the next."""
        if each not in self._tasks:
            task = self._tasks[each] = self._loop.create_task(self._run(each))
            task.add_done_callback(lambda task: self._ended(each, task))

    async def _run(self, each: Background) -> None:
        try:
            await each.task(self._server)
        except (KeyboardInterrupt, SystemExit) as exc:
            end_loop(exc)
        except BaseException as exc:
            if is_cancelled(exc) or is_collected(exc):
                raise
            log.exception("background task %s failed", _name(each.task))
            if self._app.lifespan_failure == "stop":
                self._fail()

    def _ended(self, each: Background, task: asyncio.Task[None]) -> None:
        del self._tasks[each]
        if task.cancelled() and self._is_running and self.leads and each.once:
            self._begin(each)  # it led again before its last run had ended

    # -- the end --------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Cancel the background tasks; :meth:`shutdown` waits for them."""
        self._is_running = False
        for task in self._tasks.values():
            _cancel(task)

    async def shutdown(self, deadline: float | None) -> None:
        """Run all that comes after the last client has gone, each at most to ``deadline`` or for a second."""
        self.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=self._left(deadline))
            for each in self._tasks:
                log.error("background task %s has not ended after it was cancelled", _name(each.task))
        while self._started:
            await self._started.pop().shutdown(self._left(deadline))
        if self._owes_shutdown:
            self._owes_shutdown = False
            for hook in reversed(self._app.shutdown_hooks):
                await self._stop(hook, self._left(deadline))

    async def _stop(self, hook: Any, timeout: float | None) -> None:
        try:
            async with asyncio.timeout(timeout) as limit:
                result = hook(self._server)
                if inspect.isawaitable(result):
                    await result
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if is_cancelled(error):
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                log.error("on_shutdown %s has not ended in %g s: cancelled", _name(hook), timeout)
            else:
                log.exception("on_shutdown %s failed", _name(hook))

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(deadline - self._loop.time(), CANCEL_SECONDS)


def _cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task, but not a second time: it may await something while it cleans up."""
    if not task.cancelling():
        task.cancel()


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or repr(function))


async def end_tasks(tasks: set[asyncio.Task[None]], seconds: float | None) -> None:
    """Wait for handlers whose WebSocket has ended, then cancel them."""
    pending = {task for task in tasks if not task.done()}
    if not pending:
        return
    _, pending = await asyncio.wait(pending, timeout=seconds)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=CANCEL_SECONDS)
