"""What is shipped: every package, the pages, the C modules; and a version that is the same everywhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from fastws._version import __version__, hot_path, is_compiled
from tests.rows import all_rows

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
# A module may have further files (see setup.py); its own one has its PyInit.
WRITTEN_IN_C = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("fastws/**/*.c")
    if f"PyInit_{path.stem}(" in path.read_text(encoding="utf-8")
)


def test_every_package_is_listed() -> None:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("fastws/**/__init__.py")}
    assert sorted(SETUPTOOLS["packages"]) == sorted(found | {"fastws.static"})


def test_the_types_of_the_hot_path_are_shipped() -> None:
    """They tell an installation which modules are compiled, and others may compile against them."""
    data = SETUPTOOLS["package-data"]["fastws"]
    assert "**/*.pxd" in data
    types = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "fastws").rglob("*.pxd"))
    assert {f"fastws/{name}" for name in data if name.endswith(".h")} == set(
        re.findall(r'^cdef extern from "(.+)":$', types, re.MULTILINE)
    )
    assert {"fastws.connection.connection", "fastws.protocol.http.messages"} <= set(hot_path())


def test_no_generated_c_is_in_the_tree() -> None:
    generated = {ROOT / f"{name.replace('.', '/')}.c" for name in hot_path()}
    assert not [path for path in generated if path.exists()]


def test_what_can_be_compiled_is_compiled() -> None:
    """In CI it must be; elsewhere the sources in Python are enough."""
    if os.environ.get("TESTS_REQUIRE_C") != "1":
        pytest.skip("a build without a C compiler is complete too")
    with all_rows() as row:
        for module in (*hot_path(), *WRITTEN_IN_C):
            with row(module):
                assert importlib.util.find_spec(module) is not None
                assert is_compiled(module)


def test_the_changelog_knows_the_version() -> None:
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text()


def test_nobody_is_told_to_install_the_project_that_has_our_name() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode != 0:
        pytest.skip("not a git checkout")
    for name in files.stdout.split():
        path = ROOT / name
        if (
            path.suffix in (".md", ".html", ".py", ".toml", ".yml")
            and path.is_file()
            and path != Path(__file__)
        ):
            assert "pip install fastws" not in path.read_text(encoding="utf-8"), name


def test_what_is_compiled_with_less_effort_is_compiled() -> None:
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    cold = re.findall(r'^ +"(\w+/[\w/]+)\.py",$', setup, re.MULTILINE)
    assert len(cold) > 10
    assert [name for name in cold if not (ROOT / "fastws" / f"{name}.pxd").is_file()] == []
    # What every message goes through has Python's own level.
    assert not {"connection/core", "connection/outbox", "connection/connection", "pubsub/fanout"} & set(cold)


def test_what_is_fetched_for_the_editor_is_named_exactly() -> None:
    """Versions and checksums are in the repository, and neither the code nor where it comes from."""
    folder = ROOT / "static-build"
    named = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    locked = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in {**named["dependencies"], **named["devDependencies"]}.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    packages = {name: each for name, each in locked.items() if name}
    assert all("integrity" in each and "resolved" not in each for each in packages.values())
    assert SETUPTOOLS["package-data"]["fastws.static"] == ["**/*"], "static/vendor too, where it was built"
