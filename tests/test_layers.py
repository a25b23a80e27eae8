"""The direction of imports: a module imports only from its own layer and from lower ones.

Imports inside of functions count too; those for type checkers alone do not, for they bind nothing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "fastws"

#: A package stands for all of its modules.
LAYERS = [
    {"_version", "_build", "_fanin", "_fanout", "direct", "errors", "config", "credentials", "logs"}
    | {"dates", "descriptors", "json", "memory", "origins", "urls"},
    {"protocol"},
    {"context", "cookies", "dialing", "driver", "outbox", "flusher", "inbox", "keepalive", "parts", "poller"}
    | {"reconnect", "redirects", "waiter"},
    {"addresses", "auth", "hub", "websocket", "routes", "static_files", "proxies", "tunnels", "ways"},
    {"handlers", "settings", "stream_handlers"},
    {"connection"},
    {"body_pump", "serving", "server", "opening", "client", "upgrades"},
    {"apps", "asgi", "loadgen", "testing", "uvicorn"},
    {"cli", "__main__", "pytest_plugin"},
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}

#: What would tie the protocol to a loop, a socket, a clock or a log.
OUTSIDE_WORLD = {"asyncio", "logging", "select", "selectors", "socket", "ssl", "threading", "time", "uvloop"}

MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py"
}


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(node: ast.AST, *, within_functions: bool = True) -> set[str]:
    """Absolute names of all that is imported at run time, modules and what is taken out of them."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            found |= {alias.name for alias in child.names}
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "imports are written absolutely"
            found |= {f"{child.module}.{alias.name}" for alias in child.names}
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not within_functions:
            continue
        elif is_for_type_checkers(child):
            assert isinstance(child, ast.If)
            otherwise = ast.Module(body=child.orelse, type_ignores=[])
            found |= imports(otherwise, within_functions=within_functions)
        else:
            found |= imports(child, within_functions=within_functions)
    return found


def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def layer(name: str) -> int | None:
    """The layer of a dotted name inside the package; None for names of the package itself."""
    return LAYER_OF.get(name.split(".")[1])


def test_imports_are_seen_where_they_count() -> None:
    source = """
import a.b as c, d
from fastws import hub
from fastws.config import Limits
if TYPE_CHECKING:
    from fastws.server import serve
else:
    import e
def function():
    try:
        import f
    except ImportError:
        import g
"""
    seen = {"a.b", "d", "e", "fastws.hub", "fastws.config.Limits"}
    assert imports(ast.parse(source)) == seen | {"f", "g"}
    assert imports(ast.parse(source), within_functions=False) == seen


def test_every_module_has_a_layer() -> None:
    assert [module for module in MODULES if layer(module) is None] == []
    found = {module.split(".")[1] for module in MODULES} | {
        path.name.split(".")[0] for path in ROOT.glob("*.pyi")
    }
    assert set(LAYER_OF) <= found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    own = layer(module)
    assert own is not None
    for name in imports(parsed(module)):
        if name.split(".")[0] != "fastws":
            continue
        if name == "fastws" or layer(name) is None:
            # The public names come from every layer, so only who stands above all may use them.
            assert own >= LAYER_OF["apps"], f"{module} imports {name}, which loads what is above it"
            continue
        other = layer(name)
        assert other is not None
        assert other <= own, f"{module} (layer {own}) imports {name} (layer {other})"


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("fastws.protocol.")])
def test_the_protocol_knows_no_outside_world(module: str) -> None:
    assert {name.split(".")[0] for name in imports(parsed(module))}.isdisjoint(OUTSIDE_WORLD)


def test_no_cycles() -> None:
    def modules(names: set[str]) -> set[str]:
        return {known for name in names for known in (name, name.rpartition(".")[0]) if known in MODULES}

    graph = {
        module: modules(imports(parsed(module), within_functions=False)) - {module} for module in MODULES
    }
    order = list(TopologicalSorter(graph).static_order())
    assert set(order) == set(MODULES)


@pytest.mark.parametrize("engine", ["wsproto", None])
def test_importing_the_protocol_loads_no_outside_world(engine: str | None) -> None:
    """Not even through h11, wsproto or the standard library. (``time`` is part of the interpreter.)"""
    names = [module for module in MODULES if module.startswith("fastws.protocol.")]
    if engine is None:
        names.remove("fastws.protocol.engine_wsproto")
    script = f"import sys, {', '.join(names)}; print(*sys.modules)"
    environment = {} if engine is None else {"FASTWS_ENGINE": engine}
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout.split()
    assert set(names) <= set(loaded)
    assert (OUTSIDE_WORLD - {"time", "threading"}).isdisjoint(loaded)
