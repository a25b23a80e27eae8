"""``module:attr``: found, or refused with the one line that helps."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from fastws.cli.app_loader import AsyncFactory, load_app
from fastws.cli.errors import CannotStart

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into the application's folder; its name is returned, and forgotten at the end."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    names: list[str] = []

    def write(source: str) -> str:
        name = f"app_{tmp_path.name.replace('-', '_')}_{len(names)}"
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_dotted_attribute_is_followed(write: Write, tmp_path: Path) -> None:
    name = write("class Site:\n    class inner:\n        routes = [1]\n")
    assert load_app(f"{name}:Site.inner.routes", factory=False, app_dir=str(tmp_path)) == [1]


def test_a_factory_is_called(write: Write, tmp_path: Path) -> None:
    name = write("def make():\n    return 'made'\n")
    assert load_app(f"{name}:make", factory=True, app_dir=str(tmp_path)) == "made"


@pytest.mark.parametrize("target", ["app", "app:", ":attr", "app:a-b", "app.py:attr:x", "a/b:c", "app: x"])
def test_what_is_not_module_and_attribute_is_a_usage_error(target: str) -> None:
    with pytest.raises(click.UsageError, match="is not module:attr"):
        load_app(target, factory=False, app_dir=".")


def test_a_missing_module_is_named_with_the_folder(tmp_path: Path, write: Write) -> None:
    with pytest.raises(CannotStart, match=f"there is no module 'absent_pkg' in {tmp_path} or on the path"):
        load_app("absent_pkg.sub:x", factory=False, app_dir=str(tmp_path))


def test_a_missing_attribute_is_named_with_its_owner(write: Write, tmp_path: Path) -> None:
    name = write("class Site: pass\n")
    with pytest.raises(CannotStart, match=rf"^{name}\.Site has no attribute 'routes'$"):
        load_app(f"{name}:Site.routes.x", factory=False, app_dir=str(tmp_path))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="--app-dir .*/gone: no such directory"):
        load_app("a:b", factory=False, app_dir=str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("\nimport absent_dependency\n", r"No module named 'absent_dependency' \(.*\.py, line 2\)"),
        ("def f():\n    1 / 0\nf()\n", r"ZeroDivisionError: division by zero \(.*\.py, line 2\)"),
        ("x = (\n", r"SyntaxError: '\(' was never closed \(.*\.py, line 1\)"),
        ("import json\n\njson.loads('{')\n", r"JSONDecodeError: .* \(.*\.py, line 3\)"),
        ("import sys\nsys.exit('used as a program')\n", r"SystemExit: used as a program \(.*\.py, line 2\)"),
        ("class Panic(BaseException): pass\nraise Panic('no')\n", r"Panic: no \(.*\.py, line 2\)"),
        ("import fastws\n\nfastws.Hub('h').topic('', history=-1)\n", r"ValueError: .*\.py, line 3\)"),
        ("from json import nothing\n", r"ImportError: cannot import name 'nothing' .*\.py, line 1\)"),
    ],
)
def test_an_error_inside_the_module_is_shown_with_its_line(
    source: str, why: str, write: Write, tmp_path: Path
) -> None:
    name = write(source)
    with pytest.raises(CannotStart, match=f"cannot import {name}: .*{why}"):
        load_app(f"{name}:x", factory=False, app_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("make = 5\n", "is not callable"),
        ("def make():\n    raise KeyError('gone')\n", r"make\(\) failed: KeyError: 'gone' \(.*, line 2\)"),
        ("def make(needed): pass\n", r"failed: TypeError: .*missing 1 required positional argument"),
        ("class Panic(BaseException): pass\ndef make(): raise Panic('no')\n", r"failed: .*Panic: no \("),
    ],
)
def test_a_factory_that_fails_says_why(source: str, why: str, write: Write, tmp_path: Path) -> None:
    name = write(source)
    with pytest.raises(CannotStart, match=why):
        load_app(f"{name}:make", factory=True, app_dir=str(tmp_path))


async def awaited(source: str, write: Write, tmp_path: Path) -> tuple[str, Any]:
    name = write(source)
    factory = load_app(f"{name}:make", factory=True, app_dir=str(tmp_path))
    assert isinstance(factory, AsyncFactory)
    return name, await factory()


@pytest.mark.parametrize(
    "source",
    [
        "async def make():\n    return 'made'\n",
        "async def later():\n    return 'made'\ndef make():\n    return later()\n",
        "class Make:\n    async def __call__(self):\n        return 'made'\nmake = Make()\n",
        "import functools\nasync def f(what): return what\nmake = functools.partial(f, 'made')\n",
    ],
    ids=["async def", "def", "object", "partial"],
)
async def test_an_async_factory_is_awaited(source: str, write: Write, tmp_path: Path) -> None:
    assert (await awaited(source, write, tmp_path))[1] == "made"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (
            "async def make():\n    raise KeyError('gone')\n",
            r"make\(\) failed: KeyError: 'gone' \(.*, line 2\)",
        ),
        (
            "async def make(needed): pass\n",
            r"failed: TypeError: .*missing 1 required positional argument: 'needed'$",
        ),
        ("async def other(): pass\nasync def make(): return other()\n", "is to be awaited twice"),
        (
            "import asyncio\nasync def make():\n    raise asyncio.CancelledError\n",
            r"failed: .*CancelledError \(.*, line 3\)",
        ),
        (
            "class Panic(BaseException): pass\nasync def make(): raise Panic('no')\n",
            r"failed: .*Panic: no \(",
        ),
    ],
)
async def test_an_async_factory_that_fails_says_why(
    source: str, why: str, write: Write, tmp_path: Path
) -> None:
    with pytest.raises(CannotStart, match=why):
        await awaited(source, write, tmp_path)


async def test_an_async_factory_may_be_cancelled(write: Write, tmp_path: Path) -> None:
    source = "import asyncio\nasync def make():\n    await asyncio.sleep(3600)\n"
    task = asyncio.ensure_future(awaited(source, write, tmp_path))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_what_is_not_awaited_in_the_end_is_no_warning(write: Write, tmp_path: Path) -> None:
    name = write("async def later(): pass\ndef make():\n    return later()\n")
    factory = load_app(f"{name}:make", factory=True, app_dir=str(tmp_path))
    factory.close()
    del factory
    gc.collect()
