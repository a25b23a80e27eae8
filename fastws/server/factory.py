"""A function that makes what is to be served, ``def`` or ``async def``."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastws.config import check_arguments
from fastws.connection.handlers import is_async
from fastws.server.site import App

__all__ = ["Factory", "called_early", "check_factory", "made"]

#: Called without arguments; what an ``async def`` returns is awaited on the loop of the server.
Factory = Callable[[], App | Awaitable[App]]


def check_factory(app: object) -> None:
    """Raise ``TypeError`` for what is no function without arguments."""
    if not callable(app):
        raise TypeError(f"factory=True takes a function that returns what is served, not {app!r}")
    check_arguments(app, f"the factory {getattr(app, '__name__', app)}", ())


def called_early(factory: Factory) -> Factory:
    """Call a plain ``def`` now, where there is no loop yet; return a factory of what it has returned."""
    if is_async(factory):
        return factory
    value = factory()
    return lambda: value


async def made(app: Any, *, factory: bool) -> Any:
    """Return ``app``; where it is a factory, what that returns. What the factory raises is raised here."""
    if factory:
        app = app()
        if inspect.isawaitable(app):
            app = await app
    return app
