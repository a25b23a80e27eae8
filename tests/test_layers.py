"""The direction of imports: folders are layers, and a module imports only from its own folder and from those
that stand before it. Every import counts: inside of functions, for type checkers alone, and the ``cimport``
of a ``.pxd``. Among all modules there is no circle.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.rows import all_rows

ROOT = Path(__file__).parents[1] / "fastws"

#: From the bottom to the top. A name stands for a folder with all its modules, or for one module beside them.
LAYERS = [
    "_version", "errors", "json", "config", "logs", "log_output",
    "protocol.http", "protocol.websocket",
    "loop", "connection", "meters", "pubsub", "web", "client", "server", "asgi", "feed", "auth", "publish",
    "yjs", "apps", "workers", "observe",
    "testing", "loadgen", "cli",
]  # fmt: skip

#: Stand above all: the public names, and doors for what people have in their configuration.
DOORS = ["fastws", "fastws.__main__", "fastws.pytest_plugin", "fastws.uvicorn"]

#: What would tie the protocol to a loop, a socket, a clock or a log.
OUTSIDE_WORLD = {"asyncio", "logging", "select", "selectors", "socket", "ssl", "threading", "time", "uvloop"}


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


SOURCES: dict[str, list[Path]] = {}
for suffix in ("py", "pyi", "pxd", "c"):
    for path in sorted(ROOT.rglob(f"*.{suffix}")):
        SOURCES.setdefault(module_name(path), []).append(path)


def imports(path: Path) -> set[str]:
    """Absolute names of all that a file imports or cimports, modules and what is taken out of them."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".c":
        return set()
    if path.suffix == ".pxd":
        lines = re.findall(r"^from (\S+) cimport (.+)$", text, re.MULTILINE)
        return {f"{module}.{name.strip()}" for module, names in lines for name in names.split(",")}
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are written absolutely"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_of(names: set[str]) -> set[str]:
    """The modules of fastws among imported names, each of which may be a module or something in one."""
    return {
        known
        for name in names
        if name.split(".")[0] == "fastws"
        for known in [name if name in SOURCES else name.rpartition(".")[0]]
    }


GRAPH = {
    module: {other for other in modules_of(set().union(*map(imports, paths))) if other != module}
    for module, paths in SOURCES.items()
}


def layer(module: str) -> int | None:
    """The place of a module among the layers; None for one that no layer names."""
    if module in DOORS:
        return len(LAYERS)
    for number, name in enumerate(LAYERS):
        if module == f"fastws.{name}" or module.startswith(f"fastws.{name}."):
            return number
    # A folder of folders, which holds nothing itself.
    return 0 if module in {"fastws.protocol"} else None


def test_imports_are_seen_where_they_count(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text("""
import a.b as c, d
from fastws import hub
if TYPE_CHECKING:
    from fastws.server import serve
def function():
    try:
        import f
    except ImportError:
        import g
""")
    assert imports(source) == {"a.b", "d", "fastws.hub", "fastws.server.serve", "f", "g"}
    types = tmp_path / "module.pxd"
    types.write_text("cimport cython\nfrom fastws.loop.turn cimport Turn, settle\n")
    assert imports(types) == {"fastws.loop.turn.Turn", "fastws.loop.turn.settle"}


def test_every_module_has_a_layer_and_every_layer_modules() -> None:
    assert [module for module in SOURCES if layer(module) is None] == []
    assert set(range(len(LAYERS) + 1)) == {layer(module) for module in SOURCES}


def test_imports_point_down() -> None:
    with all_rows() as row:
        for module in SOURCES:
            with row(module):
                imports_point_down(module)


def imports_point_down(module: str) -> None:
    own = layer(module)
    assert own is not None
    for other in GRAPH[module]:
        its = layer(other)
        assert its is not None, f"it imports {other}, which is in no layer"
        # The public names come from every layer, so only who stands above all of it may use them.
        is_door = other in DOORS and own >= LAYERS.index("apps")
        assert its <= own or is_door, f"it imports {other}, which stands above it"


def test_no_circle() -> None:
    try:
        order = list(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
    assert set(order) == set(SOURCES)


PROTOCOL = [module for module in SOURCES if module.startswith("fastws.protocol.")]


def test_the_protocol_knows_no_outside_world() -> None:
    with all_rows() as row:
        for module in PROTOCOL:
            with row(module):
                named = {name.split(".")[0] for path in SOURCES[module] for name in imports(path)}
                assert named.isdisjoint(OUTSIDE_WORLD)


@pytest.mark.parametrize("engine", ["wsproto", None])
def test_importing_the_protocol_loads_no_outside_world(engine: str | None) -> None:
    """Not even through h11, wsproto or the standard library. (``time`` is part of the interpreter.)"""
    names = [module for module in PROTOCOL if SOURCES[module][0].suffix == ".py"]
    if engine is None:
        names.remove("fastws.protocol.websocket.engine_wsproto")
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


def test_no_class_has_more_than_300_lines_and_no_module_more_than_400() -> None:
    with all_rows() as row:
        for path in sorted(ROOT.rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            with row(path):
                assert text.count("\n") <= 400
                for node in ast.walk(ast.parse(text)):
                    if isinstance(node, ast.ClassDef):
                        assert node.end_lineno is not None
                        assert node.end_lineno - node.lineno < 300, node.name
