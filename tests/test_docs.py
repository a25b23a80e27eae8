"""The documents say what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[1]


def test_the_states_of_the_architecture_page_are_those_of_the_code() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "states.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["rewritten"](page), "run: python docs/states.py"


def test_the_layers_of_the_architecture_page_are_those_that_a_test_holds_imports_to() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[\w.]+` ?)+)\|", page, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`([\w.]+)`", row)] == LAYERS
