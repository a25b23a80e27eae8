"""What a coroutine of the application has not answered yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.protocol.http.messages import Response, error_response

__all__ = ["PendingAnswer"]

log = logging.getLogger("fastws.error")


class PendingAnswer:
    """Awaits in a task what an endpoint or an ``authorize`` answers to one request.

    ``then`` is called with the answer, or with a 500 where the coroutine raised. ``abort`` is called when
    somebody else has cancelled the task: nobody will ever answer. After :meth:`give_up` neither is called.
    """

    __slots__ = ("_abort", "_task", "_then")

    def __init__(
        self,
        answer: Awaitable[Any],
        name: str,
        then: Callable[[object], None],
        abort: Callable[[], None],
    ) -> None:
        """``name`` is who answers, for the log."""
        self._then: Callable[[object], None] | None = then
        self._abort: Callable[[], None] | None = abort
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(
            self._run(answer, name)
        )

    def give_up(self) -> None:
        """Cancel the coroutine; its answer is not wanted any more. Does nothing after the answer."""
        task = self._task
        self._release()
        if task is not None:
            task.cancel()

    def _release(self) -> None:
        """Refer to nobody any more: the traceback of a cancelled task refers to this object."""
        self._then = self._abort = self._task = None

    async def _run(self, awaitable: Awaitable[Any], name: str) -> None:
        try:
            answer = await awaitable
        except asyncio.CancelledError:
            if self._abort is not None:
                self._abort()
            self._release()
            raise
        except Exception:
            log.exception("%s failed", name)
            answer = error_response(500)
        then = self._then
        self._release()
        if then is not None:
            then(answer)
        elif isinstance(answer, Response) and answer.stream is not None:
            answer.stream.close()
