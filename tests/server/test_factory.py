"""``factory=True``: what is served is made by a function, plain or async."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Any

import pytest

import fastws
from fastws.server.run import serve_until_signal
from fastws.server.settings import settings_from
from tests.cli.helpers import environment
from tests.kit import ManualLoop

QUIET: dict[str, Any] = {"access_log": False, "timeouts": {"ping_interval": None}}


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def plain() -> list[fastws.Route]:
    return [fastws.Route("/", echo)]


async def later() -> fastws.Application:
    await asyncio.sleep(0)
    return fastws.Application(plain())


@pytest.mark.live
@pytest.mark.parametrize("factory", [plain, later, lambda: later(), lambda: echo])
async def test_serve(factory: Any) -> None:
    async with (
        fastws.serve(factory, "127.0.0.1", factory=True, **QUIET) as server,
        fastws.connect(f"ws://127.0.0.1:{server.port}") as ws,
    ):
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def test_what_it_raises_comes_as_it_is() -> None:
    async def fails() -> Any:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        await fastws.serve(fails, factory=True)
    with pytest.raises(TypeError, match="a handler is"):
        await fastws.serve(lambda: 5, factory=True)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], r"takes a function that returns what is served, not \[\]"),
        (fastws.Application([]), "takes a function"),
        (echo, r"the factory echo is called with \(\); it takes \(ws"),
    ],
)
async def test_what_is_no_factory(given: Any, said: str) -> None:
    for start in (fastws.serve, fastws.run):
        with pytest.raises((TypeError, RuntimeError), match=said if start is fastws.serve else "."):
            start(given, factory=True)
    with pytest.raises(TypeError, match=said):
        await serve_until_signal(given, [], settings_from(), factory=True)


def test_until_a_signal(loop: ManualLoop) -> None:
    task = loop.create_task(serve_until_signal(later, [{"port": 8000}], settings_from(**QUIET), factory=True))
    loop.settle()
    assert loop.network.listener(8000)
    loop.raise_signal(signal.SIGTERM)
    loop.settle()
    assert task.result() == 0


RUN = """
import asyncio, os, signal, sys
import fastws

def running():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return "no loop"
    return "a loop"

def stop(server):
    os.kill(os.getpid(), signal.SIGINT)

def plain():
    print(running())
    loop = asyncio.get_running_loop
    return fastws.Application([], on_startup=[lambda server: loop().call_soon(stop, server)])

async def later():
    return plain()

fastws.run({name}, port=0, announce=False, factory=True)
print("returned")
"""


@pytest.mark.live
@pytest.mark.parametrize(
    ("name", "where"), [("plain", "no loop"), ("later", "a loop"), ("lambda: later()", "a loop")]
)
def test_run(name: str, where: str) -> None:
    command = [sys.executable, "-c", RUN.replace("{name}", name)]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=20, check=False, text=True)
    assert (done.stdout, done.stderr, done.returncode) == (f"{where}\nreturned\n", "", 0)
