"""``MODULE:ATTR`` of the command line: import it, and find out what it is.

It is a handler, routes, or an ASGI 3 application.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import click

from fastws.asgi.application import ASGI
from fastws.cli.errors import CannotStart
from fastws.connection.handlers import Handler, is_async
from fastws.loop.fatal import is_cancelled
from fastws.pubsub.overrides import TableRefused
from fastws.server.application import Application
from fastws.server.factory import made
from fastws.web.routes import Route
from fastws.web.static_files import Static

__all__ = ["AsyncFactory", "as_app", "is_asgi3", "load_app"]


#: The folder of fastws.
PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


def load_app(target: str, *, factory: bool, app_dir: str) -> Any:
    """Import ``target`` and return what it names.

    Args:
        target: Written ``module:attr``.
        factory: Call what it names and return the result; an `AsyncFactory` for one that is to be awaited.
        app_dir: Put this directory first on ``sys.path``.

    Raises:
        click.UsageError: ``target`` is not written so.
        CannotStart: There is no such module or attribute, or its code raised an exception.
    """
    module_name, colon, attribute = target.partition(":")
    parts = attribute.split(".")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), *parts]):
        raise click.UsageError(f"{target!r} is not module:attr, for example chat.app:handler")
    value: Any = import_module(module_name, app_dir)
    for index, part in enumerate(parts):
        try:
            value = getattr(value, part)
        except AttributeError:
            owner = ".".join([module_name, *parts[:index]])
            raise CannotStart(f"{owner} has no attribute {part!r}") from None
    return call_factory(value, target) if factory else value


def import_module(name: str, app_dir: str) -> ModuleType:
    folder = os.path.abspath(app_dir)
    if not os.path.isdir(folder):
        raise CannotStart(f"--app-dir {app_dir}: no such directory")
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # This module, or a package above it, is missing; else it is one that this module imports.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CannotStart(f"there is no module {error.name!r} in {folder} or on the path") from error
        raise CannotStart(f"cannot import {name}: {located(error)}") from error
    except KeyboardInterrupt:
        raise
    except TableRefused as error:
        raise CannotStart(str(error)) from error
    except BaseException as error:  # SystemExit too: of a program that does not look at its __name__
        raise CannotStart(f"cannot import {name}: {located(error)}") from error


def call_factory(factory: Any, target: str) -> Any:
    if not callable(factory):
        raise CannotStart(f"--factory: {target} is not callable")
    if is_async(factory) or is_async(inspect.unwrap(factory)):
        return AsyncFactory(factory, target)
    with failures_told(target):
        value = factory()
    return AsyncFactory(lambda: value, target, value) if inspect.isawaitable(value) else value


class AsyncFactory:
    """A factory to call, and to await, on the loop of the server.

    Args:
        factory: What ``target`` names.
        target: Written ``module:attr``.
        awaitable: What a plain function has returned already.
    """

    def __init__(self, factory: Callable[[], Any], target: str, awaitable: object = None) -> None:
        self._factory = factory
        self._target = target
        self._awaitable = awaitable
        #: Makes what is served of what the factory returns.
        self.finish: Callable[[Any], Any] = lambda value: value

    async def __call__(self) -> Any:
        """Return what is served. Raises `CannotStart`."""
        with failures_told(self._target):
            value = await made(self._factory, factory=True)
        if inspect.iscoroutine(value):
            value.close()
            raise CannotStart(f"--factory: what {self._target}() returns is to be awaited twice")
        return self.finish(value)

    def close(self) -> None:
        """Forget what was never awaited."""
        if inspect.iscoroutine(self._awaitable):
            self._awaitable.close()


@contextlib.contextmanager
def failures_told(target: str) -> Iterator[None]:
    """Raise `CannotStart`, with the line, for what a factory raises."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except TableRefused as error:
        raise CannotStart(str(error)) from error
    except BaseException as error:
        if is_cancelled(error):
            raise
        raise CannotStart(f"--factory: {target}() failed: {located(error)}") from error


def located(error: BaseException) -> str:
    """The error in one line, with the line of the user's own code that caused it."""
    text = "".join(traceback.format_exception_only(type(error), error)[-1:]).strip()
    if isinstance(error, SyntaxError):
        return f"{text} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_of_the_user(frame.filename)]
    # Where a library or Python itself raised it, show the line of the user's code that called it.
    frames = [frame for frame in frames if not is_library(frame.filename)] or frames
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def is_library(filename: str) -> bool:
    paths = sysconfig.get_paths()
    return filename.startswith(tuple(paths[name] + os.sep for name in ("stdlib", "purelib", "platlib")))


def is_of_the_user(filename: str) -> bool:
    """True for a file that is neither ours nor the import system's."""
    # Compiled modules name themselves from the top: fastws/pubsub/registry.py.
    return not filename.startswith((PACKAGE, "<", "fastws/")) and filename != importlib.__file__


def as_app(value: Any, interface: str, target: str, **options: Any) -> Any:
    """Return what :func:`fastws.serve` takes: ``value``, or a :class:`fastws.ASGI` for an ASGI application.

    Args:
        value: What `load_app` returned for ``target``.
        interface: ``fastws``, ``asgi3``, or ``auto``, which looks at the arguments that ``value`` takes.
        options: Those of :class:`fastws.ASGI`.

    Raises:
        CannotStart: ``value`` cannot be served as an ASGI application, or ``auto`` cannot decide.
    """
    if interface == "fastws" or (interface == "auto" and not is_asgi3(value, target)):
        return value
    try:
        return ASGI(value, **options)
    except (TypeError, ValueError) as error:
        raise CannotStart(f"{target} cannot be served: {error}") from error


def is_asgi3(value: Any, target: str) -> bool:
    """True for a callable that takes three arguments (scope, receive, send). A handler takes one.

    Raises `CannotStart` for one that takes one argument and three.
    """
    if isinstance(value, (Application, Handler, Route, Static, list, tuple, type)) or not callable(value):
        return False
    three, one = takes(value, 3), takes(value, 1)
    if three and one:
        raise CannotStart(
            f"{target} takes one argument, as a handler, and three, as an ASGI application: "
            "write --interface fastws or --interface asgi3"
        )
    return three


def takes(function: Any, count: int) -> bool:
    """Whether ``function`` can be called with ``count`` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return True
