"""``fastws serve --factory`` as a process: plain and async, in one process and in workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.cli.helpers import PATIENCE, Child, fastws, running
from tests.cli.test_serve import get

pytestmark = pytest.mark.live

APP = """
import asyncio
import sys

import fastws


async def routes():
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()

    def page(request):
        return fastws.Response(200, "the same" if asyncio.get_running_loop() is loop else "another")

    return [fastws.Route("/", http=page)]


def later():
    return routes()


async def application():
    def started(server):
        print("started", flush=True)

    return fastws.Application(await routes(), on_startup=[started])


async def asgi():
    loop = asyncio.get_running_loop()

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        same = asyncio.get_running_loop() is loop
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the same" if same else b"another"})

    return app


async def nonsense():
    return 5


async def fails():
    raise LookupError("no database")


async def twice():
    return routes()


async def hangs():
    print("hangs", flush=True)
    await asyncio.sleep(3600)


def blocks():
    import time

    print("hangs", flush=True)
    time.sleep(3600)
"""

WORKERS = ["--workers", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, []) for name in ("routes", "later", "application", "asgi")),
        *((name, WORKERS) for name in ("application", "asgi")),
        ("routes", ["--reload"]),
        ("routes", ["--loop", "asyncio"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_it_is_awaited_on_the_loop_that_serves(folder: Path, name: str, options: list[str]) -> None:
    if "--reload" in options:
        pytest.importorskip("watchfiles")
    args = [f"app:{name}", "--factory", "--port", 0, *options]
    with running(folder, "serve", *args, PYTHONDONTWRITEBYTECODE="1") as server:
        assert get(server.address(), "/")[2] == b"the same"
        assert server.stop() == 0
    assert "Traceback" not in server.stderr() and "Warning" not in server.stderr()
    assert server.stdout().count("started") == (name == "application") * (2 if options == WORKERS else 1)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nonsense", "app:nonsense cannot be served: a handler is a fastws.Handler or an `async def"),
        ("fails", "--factory: app:fails() failed: LookupError: no database ({folder}/app.py, line {number})"),
        ("twice", "--factory: what app:twice() returns is to be awaited twice"),
        ("absent", "app has no attribute 'absent'"),
    ],
)
@pytest.mark.parametrize("options", [[], WORKERS], ids=["one process", "workers"])
def test_one_that_fails_is_one_line_and_exit_3(
    folder: Path, name: str, line: str, options: list[str]
) -> None:
    done = fastws("serve", f"app:{name}", "--factory", "--port", 0, *options, cwd=folder)
    assert done.returncode == 3
    (said,) = done.stderr.splitlines()
    number = APP.splitlines().index('    raise LookupError("no database")') + 1
    assert said.startswith("fastws serve: " + line.format(folder=folder, number=number))


@pytest.mark.parametrize("name", ["routes", "later"])
def test_what_fails_beside_it_is_one_line_too(folder: Path, name: str) -> None:
    args = [f"app:{name}", "--factory", "--port", 0, "--host", "203.0.113.7"]
    done = fastws("serve", *args, cwd=folder)
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        "fastws serve: cannot listen on 203.0.113.7:0: this machine has no such address"
    ]


@pytest.mark.parametrize(
    ("name", "options", "number", "status"),
    [
        ("hangs", [], signal.SIGINT, 130),
        ("blocks", [], signal.SIGINT, 130),
        ("hangs", [], signal.SIGTERM, -signal.SIGTERM),
        ("hangs", WORKERS, signal.SIGINT, 0),
        ("hangs", WORKERS, signal.SIGTERM, 0),
    ],
)
def test_one_that_hangs_is_ended_by_a_signal(
    folder: Path, name: str, options: list[str], number: int, status: int
) -> None:
    with running(folder, "serve", f"app:{name}", "--factory", "--port", 0, *options) as server:
        server.line("hangs")
        assert server.stop(number) == status
    assert "Traceback" not in server.stderr()


def test_a_reload_whose_factory_fails_keeps_the_workers(folder: Path) -> None:
    args = ["app:routes", "--factory", "--port", 0, *WORKERS, "--timeout-drain", 0]
    with running(folder, "serve", *args, PYTHONDONTWRITEBYTECODE="1") as server:
        address = server.address()
        (folder / "app.py").write_text(APP.replace("async def routes():", "async def routes(needed):"))
        os.kill(server.process.pid, signal.SIGHUP)
        said(server, "the new worker cannot start, so the 2 that serve stay: --factory: app:routes() failed")
        assert get(address, "/")[2] == b"the same"
        assert server.stop() == 0


def said(server: Child, text: str) -> None:
    """Wait until stderr has the text."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if text in server.stderr():
            return
        time.sleep(0.01)
    raise AssertionError(server.stderr())
