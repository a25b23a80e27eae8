"""A loop beside a process that has none: the supervisor runs no code of an application, and no loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

__all__ = ["ObservingThread"]

log = logging.getLogger("fastws.error")

#: Seconds that the thread has to end.
END_SECONDS = 2.0


class ObservingThread:
    """A thread with a loop of its own, from :meth:`start` to :meth:`stop`.

    Args:
        begin: called on that loop; what it pushes on the stack ends with the thread.
    """

    def __init__(self, begin: Callable[[AsyncExitStack], Awaitable[None]]) -> None:
        self._begin = begin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Future[None] | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastws-observe", daemon=True)

    def start(self) -> None:
        """Begin, and wait until what is served can be reached."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """End what was begun, and wait for that."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set_result, None)
            self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            log.exception("metrics and control ended; the workers go on")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        async with AsyncExitStack() as stack:
            await self._begin(stack)
            self._started.set()
            await self._stop
