"""What is shipped: every package, the pages, the C modules; and a version that is the same everywhere."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from fastws._version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_every_package_is_listed() -> None:
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("fastws/**/__init__.py")}
    assert sorted(SETUPTOOLS["packages"]) == sorted(found | {"fastws.static"})


def test_every_c_module_is_built_if_it_can_be() -> None:
    listed = {source for module in SETUPTOOLS["ext-modules"] for source in module["sources"]}
    assert listed == {str(path.relative_to(ROOT)) for path in ROOT.glob("fastws/**/*.c")}
    assert all(module["optional"] for module in SETUPTOOLS["ext-modules"])


@pytest.mark.parametrize("module", [module["name"] for module in SETUPTOOLS["ext-modules"]])
def test_the_c_modules_are_built(module: str) -> None:
    """In CI they must be; elsewhere the engine in Python is enough."""
    if importlib.util.find_spec(module) is None and os.environ.get("FASTWS_REQUIRE_C") != "1":
        pytest.skip(f"{module} is not built: there was no C compiler")
    importlib.import_module(module)


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


@pytest.mark.slow
def test_a_wheel_serves_its_pages_from_anywhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "fastws", "static"):
        (source / name).symlink_to(ROOT / name)
    # No isolation: setuptools is there as a dependency of the tests, and nothing is downloaded.
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("fastws_server-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {"fastws/py.typed", "fastws/static/index.html", "fastws/static/chat.html"} <= names
    assert not [name for name in names if name.startswith(("tests/", "bench/")) or name.endswith(".c")]
    code = "import fastws.static_files as s, fastws; print(s.packaged_static(), fastws.__version__)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.stdout.split() == [str(tmp_path / "installed" / "fastws" / "static"), __version__], run.stderr
