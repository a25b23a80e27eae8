"""Which fastws runs: in a child process, and where sources hide a built one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from fastws import _version
from fastws._version import child_command

ROOT = Path(__file__).parents[1]
SHADOWED = "is not compiled, and hides the compiled fastws in"


def checkout(folder: Path, *, compiled: bool) -> Path:
    """A source tree that holds as much of fastws as its import needs."""
    package = folder / "fastws"
    package.mkdir(parents=True)
    (folder / "setup.py").touch()
    for name in ("__init__.py", "_version.py"):
        shutil.copy(ROOT / "fastws" / name, package)
    for name in ("hot.pxd", "hot.py"):
        (package / name).touch()
    (package / "__main__.py").write_text("import sys, fastws; print(fastws.__file__, *sys.argv[1:])")
    if compiled:
        (package / f"hot{EXTENSION_SUFFIXES[0]}").touch()
    return folder


def run(*command: str, cwd: Path, path: Path, **env: str) -> tuple[str, str]:
    """Run a command that must succeed. Return what it wrote to stdout and stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTWS_")}
    kept["PYTHONPATH"] = str(path)
    done = subprocess.run(command, cwd=cwd, env={**kept, **env}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_sources_that_hide_a_built_fastws_are_told_once(tmp_path: Path) -> None:
    sources, built = checkout(tmp_path / "a", compiled=False), checkout(tmp_path / "b", compiled=True)
    script = sources / "script.py"
    script.write_text("import fastws, fastws._version")
    for command in (["-m", "fastws"], ["script.py"], ["-c", "import fastws"]):
        _, err = run(sys.executable, *command, cwd=sources, path=built)
        assert err.count(SHADOWED) == 1, command
        assert f"{sources / 'fastws'} {SHADOWED} {built / 'fastws'}" in err


def test_what_runs_as_it_should_is_not_warned_about(tmp_path: Path) -> None:
    sources, built = checkout(tmp_path / "a", compiled=False), checkout(tmp_path / "b", compiled=True)
    # The built one is not hidden; the sources were asked for; they are built as well.
    assert run(sys.executable, "-P", "-m", "fastws", cwd=sources, path=built)[1] == ""
    assert run(sys.executable, "-m", "fastws", cwd=sources, path=built, FASTWS_COMPILED="0")[1] == ""
    assert run(sys.executable, "-m", "fastws", cwd=built, path=built)[1] == ""


@pytest.mark.parametrize("parent", ["built", "sources"])
def test_a_child_imports_the_fastws_of_its_parent(parent: str, tmp_path: Path) -> None:
    """Also where the working directory holds another one, and where the parent has come into it later."""
    sources, built = checkout(tmp_path / "a", compiled=False), checkout(tmp_path / "b", compiled=True)
    ours, other = (built, sources) if parent == "built" else (sources, built)
    code = (
        "import os, subprocess, fastws; from fastws._version import child_command\n"
        f"os.chdir({str(other)!r})\n"
        "subprocess.run(child_command('fastws', 'one', '--two'), check=True)"
    )
    out, err = run(sys.executable, "-P", "-W", "ignore", "-c", code, cwd=other, path=ours)
    assert out == f"{ours / 'fastws' / '__init__.py'} one --two\n"
    assert err == ""
    # The parent's own folder came from its working directory.
    out, err = run(sys.executable, "-W", "ignore", "-c", code, cwd=ours, path=other)
    assert (out, err) == (f"{ours / 'fastws' / '__init__.py'} one --two\n", "")


def test_the_command_names_this_interpreter() -> None:
    assert child_command("fastws.loadgen")[:2] == [sys.executable, "-P"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiled source tree, taken for that of this process."""
    folder = checkout(tmp_path / "tree", compiled=True)
    monkeypatch.setattr(_version, "_ROOT", str(folder))
    monkeypatch.setattr(_version, "_PACKAGE", str(folder / "fastws"))
    monkeypatch.delenv("FASTWS_COMPILED", raising=False)
    return folder


def test_a_source_that_was_edited_after_it_was_compiled(tree: Path) -> None:
    _version.warn_about_build()
    assert (_version.hot_path(), _version.hot_path_state()) == (["fastws.hot"], "compiled")
    os.utime(tree / "fastws" / "hot.pxd", (2**33, 2**33))
    with pytest.warns(RuntimeWarning, match="edited after they were compiled.*: fastws.hot. Build again"):
        _version.warn_about_build()


def test_a_tree_that_is_not_compiled(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = checkout(tree.parent / "other", compiled=True)
    (tree / "fastws" / f"hot{EXTENSION_SUFFIXES[0]}").unlink()
    assert _version.hot_path_state() == "interpreted"
    monkeypatch.setattr(sys, "path", [str(tree), str(other)])
    with pytest.warns(RuntimeWarning, match=SHADOWED):
        _version.warn_about_build()
    with pytest.raises(ImportError, match="not compiled: fastws.hot"):
        _version.choose_build("1")
    (tree / "setup.py").unlink()  # an installation
    _version.warn_about_build()


def test_a_tree_that_is_compiled_in_part(tree: Path) -> None:
    for name in ("cold.pxd", "cold.py"):
        (tree / "fastws" / name).touch()
    assert _version.hot_path_state() == "partly compiled (1 of 2 modules)"


def test_which_build_is_taken(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    _version.choose_build("1")
    _version.choose_build("0")
    finder: Any = sys.meta_path[0]
    found = finder.find_spec("fastws.hot", [str(tree / "fastws")])
    assert found.origin == str(tree / "fastws" / "hot.py")
    assert finder.find_spec("fastws.other", [str(tree / "fastws")]) is None
    with pytest.raises(ImportError, match="must be 0 or 1, not 'yes'"):
        _version.choose_build("yes")
