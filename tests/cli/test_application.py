"""``fastws.Application`` under ``fastws serve``: hooks, background tasks and counters, as processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.helpers import PATIENCE, Child, fastws, running
from tests.cli.test_serve import get

pytestmark = pytest.mark.live

APP = """
import asyncio
import json
import os

import fastws


def counters(request):
    return fastws.Response(200, json.dumps(request.server.counters.as_dict()))


def tell(what):
    with open("told", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")


app = fastws.Application([fastws.Route("/counters", http=counters)])


@app.on_startup
async def begin(server):
    tell("startup")


@app.background(once=True)
async def produce(server):
    tell("once")
    try:
        await asyncio.sleep(3600)
    finally:
        tell("cancelled")


@app.background(once=False)
async def everywhere(server):
    tell("each")


@app.on_shutdown
async def end(server):
    await asyncio.sleep(0)
    tell("shutdown")


def no_database(server):
    raise LookupError("no database")


async def no_network(server):
    await asyncio.sleep(0)
    raise OSError("no network")


sync_fails = fastws.Application(app.routes, on_startup=[no_database])
async_fails = fastws.Application(app.routes, on_startup=[no_network])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def told(folder: Path) -> list[tuple[str, int]]:
    """What hooks and tasks have told so far, and the process of each."""
    path = folder / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def until(happened: Callable[[], object], server: Child) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if happened():
            return
        time.sleep(0.01)
    raise AssertionError(server.stderr())


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
@pytest.mark.parametrize(
    ("name", "hook", "error", "raises"),
    [
        ("sync_fails", "no_database", "LookupError: no database", 'raise LookupError("no database")'),
        ("async_fails", "no_network", "OSError: no network", 'raise OSError("no network")'),
    ],
)
def test_a_start_that_fails_is_exit_3_with_a_line_and_its_traceback(
    folder: Path, name: str, hook: str, error: str, raises: str, options: list[str]
) -> None:
    done = fastws("serve", f"app:{name}", "--port", 0, *options, cwd=folder)
    assert done.returncode == 3
    line = APP.splitlines().index(f"    {raises}") + 1
    where = f"{folder}/app.py, line {line}"
    (last,) = [text for text in done.stderr.splitlines() if text.startswith("fastws serve: ")]
    assert last == f"fastws serve: app:{name} cannot be served: on_startup {hook} failed: {error} ({where})"
    if not options:
        assert done.stderr.splitlines()[-1] == last
    assert f'  File "{folder}/app.py", line {line}, in {hook}' in done.stderr
    assert done.stderr.count("Traceback") <= (2 if options else 1), done.stderr


def test_hooks_and_tasks_of_one_process(folder: Path) -> None:
    with running(folder, "serve", "app:app", "--port", 0) as server:
        server.address()
        assert server.stop(signal.SIGTERM) == 0
    assert [what for what, _ in told(folder)] == ["startup", "once", "each", "cancelled", "shutdown"]
    assert "Traceback" not in server.stderr()


def test_the_counters_are_within_reach_of_a_route(folder: Path) -> None:
    with running(folder, "serve", "app:app", "--port", 0) as server:
        address = server.address()
        for answered in range(3):
            counters = json.loads(get(address, "/counters")[2])
            assert (counters["connections"], counters["http_responses"]) == (answered + 1, answered)
        assert server.stop() == 0


def test_once_runs_on_one_worker_and_moves_when_that_is_killed(folder: Path) -> None:
    def processes(kind: str) -> list[int]:
        return [pid for what, pid in told(folder) if what == kind]

    with running(folder, "serve", "app:app", "--port", 0, "--workers", 3) as server:
        server.address()
        until(lambda: processes("once") and len(processes("each")) == 3, server)
        (leader,) = processes("once")
        assert leader in processes("each")
        os.kill(leader, signal.SIGKILL)
        until(lambda: len(processes("once")) == 2 and len(processes("each")) == 4, server)
        successor = processes("once")[1]
        assert successor != leader and successor in processes("startup")
        assert server.stop(signal.SIGTERM) == 0
    assert processes("cancelled") == [successor]
    assert len(processes("once")) == 2
    assert sorted(processes("shutdown")) == sorted(set(processes("startup")) - {leader})
