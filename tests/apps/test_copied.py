"""The applications of the gallery copied out of the package: each is a program of one's own, and short."""

from __future__ import annotations

import ast
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws import apps
from fastws.testing import pair

FOLDER = Path(apps.__file__).parent
NAMES = ["bullets", "quotes", "rooms"]
#: Those that are one handler, and how their module calls it.
HANDLERS = {"broadcast": "Broadcast", "chat": "Chat", "echo": "Echo"}


def copied(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, factory: str = "application") -> Any:
    """Return the application as ``fastws serve my_NAME:FACTORY --factory`` finds it there."""
    (folder / "site").mkdir()
    (folder / "site" / f"{name}.html").write_text("my own page")
    target = folder / f"my_{name}.py"
    shutil.copy(FOLDER / f"{name}.py", target)
    monkeypatch.chdir(folder)
    spec = importlib.util.spec_from_file_location(target.stem, target)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, factory)()


@pytest.mark.parametrize("name", NAMES)
async def test_a_copy_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = copied(name, tmp_path, monkeypatch)
    async with pair(app, f"/feeds/{name}") as ws:
        if name == "rooms":
            await ws.send('{"auth":"secret-of-sixteen ann"}')
        assert "hello" in await ws.recv_json()
    routes = app.routes if isinstance(app, fastws.Application) else app
    *_, page = [
        each.http for each in routes if getattr(each, "path", "") in (f"/{name}", f"/{name}/{{room}}")
    ]
    assert page(fastws.Request()).body == b"my own page"


@pytest.mark.parametrize("name", HANDLERS)
async def test_a_copied_handler_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(copied(name, tmp_path, monkeypatch, HANDLERS[name]), "/") as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def test_a_copied_editor_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the built scripts its page says how to make them."""
    routes = copied("editor", tmp_path, monkeypatch)
    (page,) = [each.http for each in routes if getattr(each, "path", "") == "/editor/{document}"]
    assert page(fastws.Request()).body == b"my own page"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_is_short_and_knows_public_names_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 150
    tree = ast.parse(text)
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {getattr(node, "module", None) or alias.name for node in imported for alias in node.names}
    # The built-in application is made of the others; ``fastws.yjs`` is for everybody.
    allowed = ("fastws.apps.",) if path.stem == "builtin" else ("fastws.yjs",)
    assert not {each for each in names if each.startswith("fastws.") and not each.startswith(allowed)}
    # Neither by an attribute: ``fastws.logs.escape``.
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "fastws"
    }
    assert used <= {*fastws.__all__, "yjs"}
