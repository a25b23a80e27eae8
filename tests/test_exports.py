"""The public names, and what importing them costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastws

PUBLIC = {
    "ASGI", "Application", "Backoff", "BasicAuth", "BearerAuth", "BrokerUnavailable", "CloseCode",
    "Compression", "CompressionUse", "ConcurrencyError",
    "ConnectionClosed", "ConnectionClosedError", "ConnectionClosedOK", "FastWSError", "FlowState", "Fragment",
    "Handler",
    "HandshakeError", "Headers", "Hub", "InvalidURL", "Limits", "ProxyError", "Request",
    "HandshakeRefused", "Response", "Route", "SendStatus", "Server", "Settings", "SlowConsumerPolicy",
    "Feed", "FeedClient", "FeedError", "Grant", "Publication", "User", "anyone",
    "Ended", "Event", "Follower", "Gap", "Live", "Message", "Position", "Published", "RateLimit", "Removed",
    "Synced",
    "FeedFollower", "Member", "Presence", "follow",
    "JSONFormatter", "LineHandler", "RequestIdFilter", "current_request",
    "AsyncPublisher", "PublishError", "PublishPage", "Publisher", "publish_page",
    "Tickets", "jwt_auth", "session_auth", "starlette_session",
    "StartupFailed", "Static", "Timeouts", "WebSocket", "__version__", "basic_auth", "connect", "run",
    "serve", "serve_until_signal", "streaming", "subscriber", "token_auth", "is_retryable",
}  # fmt: skip


def test_the_names() -> None:
    assert set(fastws.__all__) == PUBLIC
    assert dir(fastws) == sorted(PUBLIC)
    assert len(fastws.__all__) == len(PUBLIC)


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastws.nothing  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    source = Path(fastws.__file__).read_text()
    (block,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen | {"__version__"} == PUBLIC


def test_modules_export_what_they_have() -> None:
    """``__all__`` of each module names only what is there."""
    for path in Path(fastws.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        named = {
            element.value
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for element in ast.walk(node.value)
            if isinstance(element, ast.Constant)
        }
        bound = {name.id for name in ast.walk(tree) if isinstance(name, ast.Name)} | {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        bound |= {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert named <= bound, path


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, fastws\n"
        "assert 'asyncio' not in sys.modules and 'h11' not in sys.modules\n"
        "ours = {name for name in sys.modules if name.startswith('fastws.')}\n"
        "assert ours <= {'fastws._version'}, ours\n"
        "fastws.Limits\n"
        "assert 'asyncio' not in sys.modules\n"
    )
    root = str(Path(fastws.__file__).parents[1])
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20, cwd=root, env={"PYTHONPATH": root})


#: What a name of the package may load beside the standard library and fastws itself.
NEEDED = {"cython_runtime", "h11", "wsproto"}
#: Not even when every name is used: they belong to the command line, the load generator and tests.
APART = {"apps", "cli", "loadgen", "testing"}


def test_using_every_name_loads_only_what_it_needs() -> None:
    """`import fastws` may take 60 ms more than `import asyncio`; that is a matter of what it loads."""
    code = (
        "import sys, asyncio\n"
        "before = set(sys.modules)\n"
        "import fastws\n"
        "for name in fastws.__all__: getattr(fastws, name)\n"
        "print(*(set(sys.modules) - before))\n"
    )
    root = str(Path(fastws.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=20, cwd=root, capture_output=True, text=True
    )
    loaded = run.stdout.split()
    tops = {name.split(".")[0] for name in loaded if not name.startswith("_")}
    assert tops - {"fastws"} - sys.stdlib_module_names <= NEEDED
    assert "ctypes.util" not in loaded, "it runs the compiler to find a library"
    assert {"ctypes", "orjson"}.isdisjoint(loaded), "they wait for who needs them"
    assert {"multiprocessing", "unittest", "http.server", "http.cookiejar"}.isdisjoint(loaded)
    parts = {name.split(".")[1] for name in loaded if name.startswith("fastws.")}
    assert parts.isdisjoint(APART)
    assert "connection" in parts
