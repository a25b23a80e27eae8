"""What a person's ``module:attr`` is: a handler, routes, or an ASGI 3 application."""

from __future__ import annotations

import inspect
from typing import Any

from fastws.asgi.application import ASGI
from fastws.cli.errors import CannotStart
from fastws.connection.handlers import Handler
from fastws.web.routes import Route
from fastws.web.static_files import Static

__all__ = ["INTERFACES", "as_app", "is_asgi3"]

INTERFACES = ("auto", "fastws", "asgi3")


def as_app(given: Any, interface: str, name: str, **options: Any) -> Any:
    """Return what :func:`fastws.serve` takes; ``options`` are those of :class:`fastws.ASGI`.

    Raises `CannotStart` when ``asgi3`` is asked for and cannot be, or nobody can tell what it is.
    """
    if interface == "fastws" or (interface == "auto" and not is_asgi3(given, name)):
        return given
    try:
        return ASGI(given, **options)
    except (TypeError, ValueError) as error:
        raise CannotStart(f"{name} cannot be served: {error}") from error


def is_asgi3(given: Any, name: str) -> bool:
    """True for a callable of three arguments (scope, receive, send); a handler has one, the WebSocket."""
    if isinstance(given, (Handler, Route, Static, list, tuple, type)) or not callable(given):
        return False
    three, one = takes(given, 3), takes(given, 1)
    if three and one:
        raise CannotStart(
            f"{name} takes one argument, as a handler, and three, as an ASGI application: "
            "say which by --interface fastws or --interface asgi3"
        )
    return three


def takes(function: Any, count: int) -> bool:
    """Whether ``function`` can be called with ``count`` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True
