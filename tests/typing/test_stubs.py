"""The stubs of the modules in C name what is in them, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fastws

ROOT = Path(fastws.__file__).parent
STUBS = sorted(ROOT.rglob("*.pyi"))


def public(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith("_")}


def methods(node: ast.ClassDef) -> set[str]:
    functions = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    return functions | {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }


def test_every_module_in_c_has_one() -> None:
    files = ROOT.rglob("_*.c")
    # The further files of a module have none.
    sources = {path.with_suffix("") for path in files if f"PyInit_{path.stem}(" in path.read_text()}
    assert sources == {path.with_suffix("") for path in STUBS} != set()


@pytest.mark.parametrize("stub", STUBS, ids=[path.stem for path in STUBS])
def test_a_stub_names_what_is_there(stub: Path) -> None:
    name = ".".join(stub.relative_to(ROOT.parent).with_suffix("").parts)
    module = pytest.importorskip(name, reason=f"{name} is not built", exc_type=ImportError)
    tree = ast.parse(stub.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    constants = {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert public(set(vars(module))) == public(functions | constants | set(classes))
    for name, node in classes.items():
        assert public(set(vars(getattr(module, name)))) == public(methods(node)), name
