"""``module:attr``: the handler or the routes that a person wrote."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import sysconfig
import traceback
from types import ModuleType
from typing import Any

import click

from fastws.cli.errors import CannotStart

__all__ = ["load"]


def load(target: str, *, factory: bool, app_dir: str) -> Any:
    """Import ``target`` with ``app_dir`` first on the path; with ``factory`` call what it names.

    Raises `click.UsageError` for a target that is not written ``module:attr``, and `CannotStart`
    with one line for everything that a person can have got wrong in the module itself.
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
    return call(value, target) if factory else value


def import_module(name: str, app_dir: str) -> ModuleType:
    folder = os.path.abspath(app_dir)
    if not os.path.isdir(folder):
        raise CannotStart(f"--app-dir {app_dir}: no such directory")
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only when it is this module (or a package above it) that is missing, and not one it imports.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CannotStart(f"there is no module {error.name!r} in {folder} or on the path") from error
        raise CannotStart(f"cannot import {name}: {located(error)}") from error
    except Exception as error:
        raise CannotStart(f"cannot import {name}: {located(error)}") from error


def call(factory: Any, target: str) -> Any:
    if not callable(factory):
        raise CannotStart(f"--factory: {target} is not callable")
    try:
        value = factory()
    except Exception as error:
        raise CannotStart(f"--factory: {target}() failed: {located(error)}") from error
    if inspect.iscoroutine(value):
        value.close()
        raise CannotStart(f"--factory: {target} is async; a factory is a plain function")
    return value


def located(error: Exception) -> str:
    """The error with the line of the person's own code that it came from."""
    text = "".join(traceback.format_exception_only(type(error), error)[-1:]).strip()
    if isinstance(error, SyntaxError):
        return f"{text} ({error.filename}, line {error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_theirs(frame.filename)]
    # What a library or Python itself raised is told at the line that called it.
    frames = [frame for frame in frames if not is_library(frame.filename)] or frames
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def is_library(filename: str) -> bool:
    paths = sysconfig.get_paths()
    return filename.startswith(tuple(paths[name] + os.sep for name in ("stdlib", "purelib", "platlib")))


def is_theirs(filename: str) -> bool:
    """Not ours, and not the import system's."""
    return filename != __file__ and not filename.startswith("<") and filename != importlib.__file__
