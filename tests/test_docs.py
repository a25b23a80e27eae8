"""The documents say what the code does."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

from bench.cells import CELLS
from bench.rivals import VARIANTS
from fastws.connection.counters import COUNTER_NAMES
from tests.test_layers import LAYERS

ROOT = Path(__file__).parents[1]


def test_the_states_of_the_architecture_page_are_those_of_the_code() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "states.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["rewritten"](page), "run: python docs/states.py"


def test_the_protocol_of_feeds_is_that_of_the_code() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "feed_protocol.py"))
    page = script["PAGE"].read_text(encoding="utf-8")
    assert page == script["rewritten"](page), "run: python docs/feed_protocol.py"


def test_the_layers_of_the_architecture_page_are_those_that_a_test_holds_imports_to() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[\w.]+` ?)+)\|", page, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`([\w.]+)`", row)] == LAYERS


def defined(path: Path) -> set[str]:
    """What a file defines: classes, functions, and methods by ``Class.method``; in C any word."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".c":
        return set(re.findall(r"\w+", text))
    found: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (
                part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
            )
            found |= {f"{node.name}.{name}" for name in inner}
    return found


def test_every_hop_of_the_architecture_page_is_in_the_code() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    hops = re.findall(r"`([\w/]+\.(?:py|c))`\s+`([\w.]+)`", page)
    assert len(hops) > 40
    missing = [(file, name) for file, name in hops if name not in defined(ROOT / "fastws" / file)]
    assert missing == []


def test_the_page_of_the_benchmarks_names_every_cell_and_every_variant() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [name for name in (*CELLS, *VARIANTS) if f"`{name}`" not in page] == []


def test_the_files_that_contributing_names_are_there() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b((?:fastws|tests|docs|bench|static)/[\w/]+\.(?:py|c|sh|md))\b", page))
    assert len(named) > 15
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_page_of_deploying_tells_what_each_counter_counts() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    table = "".join(line for line in page.splitlines() if line.startswith("| `"))
    assert [name for name in COUNTER_NAMES if f"`{name}`" not in table] == []
