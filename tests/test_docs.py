"""The documents say what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_states_of_the_architecture_page_are_those_of_the_code() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "states.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["rewritten"](page), "run: python docs/states.py"


def test_every_module_that_the_architecture_page_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if re.match(r"\| \d \|", line)]
    for name in re.findall(r"`([\w./]+)`", " ".join(rows)):
        candidates = [ROOT / "fastws" / name, ROOT / "fastws" / f"{name}.py"]
        assert any(path.exists() for path in candidates), name
