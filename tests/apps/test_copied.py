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


def copied(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the application as ``fastws serve NAME:application --factory`` finds it there."""
    (folder / "site").mkdir()
    (folder / "site" / f"{name}.html").write_text("my own page")
    target = folder / f"my_{name}.py"
    shutil.copy(FOLDER / f"{name}.py", target)
    monkeypatch.chdir(folder)
    spec = importlib.util.spec_from_file_location(target.stem, target)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.application()


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


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_knows_public_names_alone(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert text.count("\n") < 150
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {getattr(node, "module", None) or alias.name for node in imported for alias in node.names}
    assert not {each for each in names if each.startswith("fastws.")}
