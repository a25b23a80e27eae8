"""What strangers send is kept within a bound: every cache of the sources says how much it holds."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastws
from tests.kit import ManualLoop, RawClient, Recorder

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


@pytest.mark.skipif(not hasattr(sys, "getunicodeinternedsize"), reason="Python 3.12 is the first to tell")
def test_nothing_that_a_client_sends_is_interned(loop: ManualLoop) -> None:
    def page(request: fastws.Request) -> fastws.Response:
        assert request.query_params and request.cookies and request.path_params and request.headers["x-a"]
        return fastws.Response(404)

    async def start() -> fastws.Server:
        route = fastws.Route("/{name}", Recorder(), http=page, subprotocols=["a"])
        return await fastws.serve(route, access_log=False)

    server = loop.run(start())

    def ask(number: int) -> None:
        name = f"name-{number}"
        target = f"/{name}?{name}={name * 200}"
        fields = [f"Cookie: {name}={name}", f"X-{name}: {name}", f"X-A: {name}", f"Origin: http://{name}"]
        client = RawClient(server, loop)
        client.get(target, *fields)
        loop.settle()
        client.get(target, *fields, method=name)
        client.transport.feed_eof()
        offers = [f"Sec-WebSocket-Protocol: a, {name}", f"Sec-WebSocket-Extensions: {name}"]
        other = RawClient(server, loop)
        assert other.upgrade(target, *fields[:3], *offers).status == 101
        other.text(name)
        other.close(4000, name)
        loop.settle()

    for number in range(20):
        ask(number)
    before = sys.getunicodeinternedsize()  # type: ignore[attr-defined]
    for number in range(100, 400):
        ask(number)
    assert sys.getunicodeinternedsize() - before < 30  # type: ignore[attr-defined]
