"""Everything that a user may hold says what it is, where it is defined."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import fastws
import fastws.testing
import fastws.yjs
from tests.rows import all_rows

ROOT = Path(fastws.__file__).parents[1]
NAMES = [(module, name) for module in (fastws, fastws.testing, fastws.yjs) for name in sorted(module.__all__)]
CLASSES = [(module, name) for module, name in NAMES if isinstance(getattr(module, name), type)]


def members(cls: type) -> Iterator[tuple[str, type, Any]]:
    """Public names of a class, and the class of ours that has each."""
    for name in dir(cls):
        if name.startswith("_"):
            continue
        owners = [each for each in cls.__mro__ if name in vars(each)]
        # What asyncio and the standard library describe needs no second description.
        if all(each.__module__.startswith("fastws.") for each in owners):
            yield name, owners[0], vars(owners[0])[name]


def commented(owner: type) -> set[str]:
    """Attributes with a ``#:`` comment above them, and those in double back-quotes in the docstring."""
    found = set()
    for each in owner.__mro__:
        found |= set(re.findall(r"``(\w+)", each.__doc__ or ""))
        if each.__module__.startswith("fastws."):
            # Beside a compiled module lies its source.
            source = (ROOT / f"{each.__module__.replace('.', '/')}.py").read_text(encoding="utf-8")
            found |= set(re.findall(r"^ +#:.*\n(?: +#.*\n)* +(?:self\.)?(\w+)(?::| =)", source, re.MULTILINE))
    return found


def test_every_name() -> None:
    with all_rows() as row:
        for module, name in NAMES:
            value = getattr(module, name)
            # A union is a name for classes that have their own.
            if inspect.ismodule(value) or isinstance(value, (str, UnionType)):
                continue
            with row(f"{module.__name__}.{name}"):
                assert value.__module__.startswith("fastws.")
                assert value.__doc__
                assert not value.__doc__.startswith(f"{name}("), "made by dataclass, not by a person"


def test_every_method_and_attribute() -> None:
    with all_rows() as row:
        for module, name in CLASSES:
            with row(f"{module.__name__}.{name}"):
                assert silent_members(getattr(module, name)) == []


def silent_members(cls: type) -> list[str]:
    """Public names of a class that say nothing of themselves."""
    silent = []
    for member, owner, value in members(cls):
        described = isinstance(value, (property, classmethod, staticmethod))
        # A property of a compiled class is a getset descriptor.
        described = described or inspect.isroutine(value) or inspect.isgetsetdescriptor(value)
        said = described and bool(inspect.getdoc(value))
        if not said and member not in commented(owner):
            silent.append(member)
    return silent


def test_what_the_comments_are_is_seen() -> None:
    assert {"max_message_size", "send_queue"} <= commented(fastws.Limits)
    assert "latency" in commented(fastws.WebSocket)
    assert "nothing" not in commented(fastws.Limits)
