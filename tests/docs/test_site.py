"""The site builds without a warning, its tables are those of the code, and every name has its place."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastws
from tests.docs.pages import ROOT, name_of

TABLES = runpy.run_path(str(ROOT / "docs" / "tables.py"))


@pytest.mark.parametrize("page", TABLES["PAGES"], ids=name_of)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == TABLES["rewritten"](page), "run: python docs/tables.py"


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("reference.md", "errors.md")
    )
    documented = set(pages.replace("()", "").split())
    assert set(fastws.__all__) - {"__version__"} <= documented


@pytest.mark.system  # half a minute where others work too; CI builds the site in a step of its own
@pytest.mark.timeout(120)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if any(find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")):
        pytest.skip("Sphinx is not installed (pip install '.[docs]')")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "docs", str(tmp_path)],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("FASTWS_")},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert "Offer" in (tmp_path / "reference.html").read_text(encoding="utf-8"), "the docstrings are missing"
