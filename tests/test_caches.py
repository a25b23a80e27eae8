"""What strangers send is kept within a bound: every cache of the sources says how much it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import fastws

ROOT = Path(fastws.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
#: Entries of a cache at most.
MAX_ENTRIES = 256


def caches(tree: ast.AST) -> Iterator[tuple[str, int | None]]:
    """The decorators and calls that keep what they are given: the name, and the bound where there is one."""
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        name = getattr(node, "attr", getattr(node, "id", None))
        if name == "lru_cache" and isinstance(node, (ast.Attribute, ast.Name)):
            call = called.get(id(node))
            bounds = [each.value for each in call.keywords if each.arg == "maxsize"] if call else []
            value = bounds[0].value if bounds and isinstance(bounds[0], ast.Constant) else None
            yield name, value if isinstance(value, int) else None
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in {("functools", "cache"), ("sys", "intern")}:
                yield f"{node.value.id}.{node.attr}", None
        elif isinstance(node, ast.ImportFrom) and node.module in ("functools", "sys"):
            for alias in node.names:
                if alias.name in ("cache", "intern"):
                    yield f"{node.module}.{alias.name}", None


def test_caches_are_seen() -> None:
    tree = ast.parse("""
import functools, sys
from functools import cache
@functools.lru_cache
def a(x): ...
@lru_cache(maxsize=None)
def b(x): ...
@lru_cache(maxsize=9)
def c(x): ...
sys.intern(x)
functools.cache(c)
""")
    assert sorted(caches(tree), key=str) == [
        ("functools.cache", None),
        ("functools.cache", None),
        ("lru_cache", 9),
        ("lru_cache", None),
        ("lru_cache", None),
        ("sys.intern", None),
    ]


def test_every_cache_has_a_bound() -> None:
    found = {path: list(caches(ast.parse(path.read_text(encoding="utf-8")))) for path in SOURCES}
    assert sum(map(len, found.values())) > 0
    unbounded = {
        str(path.relative_to(ROOT)): each
        for path, all_of_it in found.items()
        for each in all_of_it
        if each[1] is None or each[1] > MAX_ENTRIES
    }
    assert unbounded == {}


def test_no_text_is_interned_in_c() -> None:
    # Python 3.12 made interned texts immortal.
    files = sorted(ROOT.rglob("*.c"))
    assert files
    assert [path.name for path in files if "InternInPlace" in path.read_text(encoding="utf-8")] == []
