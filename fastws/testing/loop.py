"""An event loop without sockets, whose turns and whose time are moved by hand."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from fastws.testing.network import Network
from fastws.testing.watch import waits_for

__all__ = ["Call", "ManualLoop"]

T = TypeVar("T")

#: Turns without an end after which the loop is one that feeds itself.
MAX_TURNS = 100_000


class Call:
    """A callback that waits for its turn or its time; what ``call_soon`` and ``call_at`` return."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_loop", "_when")

    def __init__(
        self,
        loop: ManualLoop,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        when: float = 0.0,
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._args = args
        self._context = contextvars.copy_context() if context is None else context
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        """Call, unless cancelled; an exception goes to the loop's list of errors."""
        if self._cancelled:
            return
        try:
            self._context.run(self._callback, *self._args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            self._loop.call_exception_handler({"message": f"error in {self._callback!r}", "exception": exc})


if TYPE_CHECKING:
    # For type checkers a subclass of AbstractEventLoop that leaves out half of its methods is abstract.
    Loop = asyncio.BaseEventLoop
else:
    Loop = asyncio.AbstractEventLoop


class ManualLoop(Loop):
    """Callbacks, timers, futures and tasks, one turn at a time: nothing here waits or sleeps.

    ``turn()`` runs what is ready now, ``settle()`` all that follows from it, ``advance(seconds)`` moves the
    clock from timer to timer, and ``run(coroutine)`` does all of this until a coroutine has ended. Its
    connections are those of ``network``. As a context manager it is the running loop of this thread, and the
    end of the block raises ``AssertionError`` for exceptions in callbacks that are still in ``errors``. Use
    it in one thread only.

    Args:
        start: The time at the beginning, in seconds. Default 1000.
    """

    #: Its transports read as uvloop's do.
    reads_into_buffer = True

    def __init__(self, start: float = 1000.0) -> None:
        self._now = start
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []
        self._counter = 0
        self._signals: dict[int, Call] = {}
        self._closed = False
        #: What was given to ``call_exception_handler``; a test that expects one clears the list.
        self.errors: list[dict[str, Any]] = []
        self.network = Network(self)

    # -- by hand --------------------------------------------------------------------------------

    def turn(self) -> None:
        """Run one turn: the timers that are due, and what was ready when it began."""
        while (due := self._next_timer()) is not None and due <= self._now:
            self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            self._ready.popleft().run()

    def settle(self) -> None:
        """Run turns until nothing is ready; the clock stands still.

        Raises:
            RuntimeError: Callbacks make callbacks ready without an end.
        """
        for _ in range(MAX_TURNS):
            due = self._next_timer()
            if not self._ready and (due is None or due > self._now):
                return
            self.turn()
        raise RuntimeError("the loop does not come to rest")

    def advance(self, seconds: float) -> None:
        """Move the clock ``seconds`` on; stop at each timer before that, and run all that follows from it."""
        end = self._now + seconds
        self.settle()
        while (due := self._next_timer()) is not None and due <= end:
            self._now = max(self._now, due)
            self.settle()
        self._now = end

    def sleep_machine(self, seconds: float) -> None:
        """Move the clock ``seconds`` on and run nothing, as if the whole machine had been asleep."""
        self._now += seconds

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; move the clock whenever nothing else is left to do.

        Returns:
            What the coroutine returns; what it raises is raised.

        Raises:
            RuntimeError: The coroutine waits for something that cannot happen; the message says for what.
        """
        previous = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            task: asyncio.Task[T] = self.create_task(coroutine)
            for _ in range(MAX_TURNS):
                if task.done():
                    return task.result()
                if not self._ready:
                    due = self._next_timer()
                    if due is None:
                        where = waits_for(task)
                        task.cancel()
                        self.settle()
                        raise RuntimeError(f"the coroutine waits for something that cannot happen {where}")
                    self._now = max(self._now, due)
                self.turn()
            raise RuntimeError(f"the coroutine does not come to its end: it waits {waits_for(task)}")
        finally:
            asyncio._set_running_loop(previous)

    def raise_signal(self, number: int) -> None:
        """Deliver signal ``number`` to its handler. Raises ``KeyError`` where none was added."""
        call = self._signals[number]
        self._ready.append(call)

    def __enter__(self) -> ManualLoop:
        asyncio._set_running_loop(self)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            for task in asyncio.all_tasks(self):
                task.cancel()
            self.settle()
        finally:
            self._closed = True
            asyncio._set_running_loop(None)
        if kind is None and self.errors:
            raise AssertionError(f"errors in callbacks: {self.errors}") from self.errors[0].get("exception")

    # -- what asyncio asks of a loop ------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        call = Call(self, callback, args, context)
        self._ready.append(call)
        return call

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Call:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Call:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Call:
        call = Call(self, callback, args, context, when)
        self._counter += 1
        heapq.heappush(self._timers, (when, self._counter, call))
        return call

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: object = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        self._signals[sig] = Call(self, callback, args, None)

    def remove_signal_handler(self, sig: int) -> bool:
        return self._signals.pop(sig, None) is not None

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        return await self.network.create_server(*args, **kwargs)

    async def create_unix_server(self, *args: Any, **kwargs: Any) -> Any:
        return await self.network.create_unix_server(*args, **kwargs)

    async def getaddrinfo(self, host: Any, port: Any, **kwargs: Any) -> Any:
        return await self.network.getaddrinfo(host, port, **kwargs)

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        return await self.network.create_connection(*args, **kwargs)

    async def create_unix_connection(self, *args: Any, **kwargs: Any) -> Any:
        return await self.network.create_unix_connection(*args, **kwargs)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return self._closed

    # -- what a test asks -----------------------------------------------------------------------

    @property
    def timers(self) -> list[float]:
        """The times at which the timers that are set are due, in order."""
        return sorted(when for when, _, call in self._timers if not call.cancelled())

    @property
    def is_idle(self) -> bool:
        """True when nothing is ready; timers may be set."""
        return not any(not call.cancelled() for call in self._ready)

    def _next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None
