"""What a coroutine of the application has not answered yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.logs import request_var
from fastws.loop.fatal import is_collected
from fastws.protocol.http.messages import Request, Response, error_response
from fastws.server.body_streams import close_stream

__all__ = ["PendingAnswer"]

log = logging.getLogger("fastws.error")


class PendingAnswer:
    """Awaits in a task what an endpoint or an ``authorize`` answers to one request.

    ``then`` is called with the answer, or with a 500 where the coroutine raised or was cancelled by anyone
    else. After :meth:`give_up` it is not called. ``KeyboardInterrupt`` and ``SystemExit`` end the loop.
    """

    __slots__ = ("_task", "_then")

    def __init__(
        self,
        answer: Awaitable[Any],
        name: str,
        then: Callable[[object], None],
        request: Request,
    ) -> None:
        """``name`` is who answers, for the log."""
        self._then: Callable[[object], None] | None = then
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(
            self._run(answer, name, request)
        )

    def give_up(self) -> None:
        """Cancel the coroutine; its answer is not wanted any more. Does nothing after the answer."""
        task = self._task
        self._release()
        if task is not None:
            task.cancel()

    def _release(self) -> None:
        """Refer to nobody any more: the traceback of a cancelled task refers to this object."""
        self._then = self._task = None

    async def _run(self, awaitable: Awaitable[Any], name: str, request: Request) -> None:
        request_var.set(request)  # of this task alone, and of those that it begins
        try:
            answer = await awaitable
        except (KeyboardInterrupt, SystemExit):
            self._release()
            raise
        except BaseException as exc:
            # One outside ``Exception`` too, such as a panic of pyo3, and the CancelledError of a task that
            # the coroutine awaited: the client has to be answered all the same.
            if is_collected(exc):
                raise
            if self._then is not None:
                log.exception("%s failed", name)
                self._answer(error_response(500))
            if isinstance(exc, asyncio.CancelledError):
                raise
        else:
            if self._then is not None:
                self._answer(answer)
            elif isinstance(answer, Response):
                await close_stream(answer)

    def _answer(self, answer: object) -> None:
        then = self._then
        self._release()
        if then is not None:
            then(answer)
