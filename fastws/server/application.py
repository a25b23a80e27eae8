"""Routes with what lives as long as their server: hooks of its start and end, and background tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from fastws.config import check_arguments
from fastws.connection.handlers import HandlerLike, is_async
from fastws.web.routes import Route
from fastws.web.static_files import Static

__all__ = ["Application", "Background"]

#: Called with the :class:`fastws.Server`: ``def`` or ``async def``.
Hook = Callable[[Any], object]
#: Called with the :class:`fastws.Server`: ``async def``.
Task = Callable[[Any], Awaitable[object]]

AnyHook = TypeVar("AnyHook", bound=Hook)
AnyTask = TypeVar("AnyTask", bound=Task)

FAILURES = ("stop", "continue")


@dataclass(frozen=True, slots=True)
class Background:
    """A background task; ``once``: only where the server leads."""

    task: Task
    once: bool


class Application:
    """Routes with hooks and background tasks that live as long as their server.

    Taken wherever a list of routes is: by :func:`serve`, :func:`run`, :func:`serve_until_signal` and
    ``fastws serve``. Several servers may serve one application: each calls the hooks for itself, with itself
    as the only argument.

    The start, before the server listens: the ``on_startup`` hooks in order, then the lifespans of ASGI
    applications among the routes, then all background tasks begin. The end: background tasks are cancelled
    and WebSockets closed, ASGI applications shut down, then the ``on_shutdown`` hooks run in reverse order,
    each of them also where another has failed. They run if all ``on_startup`` hooks had ended well. Add
    hooks and tasks before the server starts; ``on_shutdown`` until it ends.

    Args:
        routes: what :func:`serve` takes.
        on_startup: ``def`` or ``async def`` functions. One that raises is a :class:`StartupFailed`: ``fastws
            serve`` exits with 3.
        on_shutdown: ``def`` or ``async def`` functions. One that raises is logged. An ``async`` one is
            cancelled when the time of the shutdown is over (at least a second).
        background: ``async def`` functions, as :meth:`background` with ``once``.
        lifespan_failure: what follows when a background task raises, which is logged at once. ``"stop"``
            (default): ``fastws serve``, :func:`run` and :meth:`Server.serve_forever` shut down and end the
            process with 3. ``"continue"``: they go on without that task. As for :class:`fastws.ASGI`.

    Raises:
        TypeError: a hook cannot be called with one argument, or a task is no ``async def``.
        ValueError: ``lifespan_failure`` is none of those named.
    """

    def __init__(
        self,
        routes: HandlerLike | Route | Static | Sequence[Route | Static],
        *,
        on_startup: Iterable[Hook] = (),
        on_shutdown: Iterable[Hook] = (),
        background: Iterable[Task] = (),
        lifespan_failure: str = "stop",
    ) -> None:
        if isinstance(routes, Application):
            raise TypeError("an Application is made of routes, not of another Application")
        if lifespan_failure not in FAILURES:
            raise ValueError(f"lifespan_failure is one of {', '.join(FAILURES)}, not {lifespan_failure!r}")
        self.routes = routes
        self.lifespan_failure = lifespan_failure
        self.startup_hooks: list[Hook] = []
        self.shutdown_hooks: list[Hook] = []
        self.background_tasks: list[Background] = []
        for hook in on_startup:
            self.on_startup(hook)
        for hook in on_shutdown:
            self.on_shutdown(hook)
        for task in background:
            self.background(task)

    def on_startup(self, hook: AnyHook) -> AnyHook:
        """Call ``hook(server)`` before the server listens; also as a decorator.

        Raises:
            TypeError: it cannot be called with one argument.
        """
        self.startup_hooks.append(_checked(hook, "on_startup"))
        return hook

    def on_shutdown(self, hook: AnyHook) -> AnyHook:
        """Call ``hook(server)`` when the last client has gone; also as a decorator.

        Raises:
            TypeError: it cannot be called with one argument.
        """
        self.shutdown_hooks.append(_checked(hook, "on_shutdown"))
        return hook

    @overload
    def background(self, task: AnyTask, *, once: bool = True) -> AnyTask: ...
    @overload
    def background(self, *, once: bool = True) -> Callable[[AnyTask], AnyTask]: ...
    def background(self, task: Any = None, *, once: bool = True) -> Any:
        """Run ``await task(server)`` beside the server; also as a decorator, with or without ``(once=...)``.

        A task that returns is not started again. One that raises is logged, and ends the server where
        ``lifespan_failure`` is ``"stop"``.

        Args:
            task: an ``async def`` function.
            once: True (default): it runs only while the server leads (:meth:`fastws.Server.lead`): of several
                workers on one of them. Where that one ends, another begins it anew. False: it runs in each.

        Raises:
            TypeError: it is no ``async def``, or cannot be called with one argument.
        """
        if task is None:
            return lambda given: self.background(given, once=once)
        if not is_async(task):
            raise TypeError(f"a background task is an `async def` function, not {task!r}")
        self.background_tasks.append(Background(_checked(task, "background"), once))
        return task


def _checked(hook: Any, what: str) -> Any:
    if not callable(hook):
        raise TypeError(f"{what} takes a function, not {hook!r}")
    check_arguments(hook, f"the {what} function {getattr(hook, '__name__', hook)}", ("server",))
    return hook
