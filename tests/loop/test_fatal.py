"""``KeyboardInterrupt`` and ``SystemExit`` out of an application end the process, on either loop."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.helpers import environment

pytestmark = pytest.mark.live

PROGRAM = """
import asyncio
import sys

import fastws

exception, kind, loop = sys.argv[1:]


def fails(*_):
    raise KeyboardInterrupt if exception == "KeyboardInterrupt" else SystemExit(7)


async def fails_later(*_):
    fails()


class OnOpen(fastws.Handler):
    on_open = fails


class AsyncOnOpen(fastws.Handler):
    on_open = fails_later


class OnMessage(fastws.Handler):
    def on_open(self, ws):
        pass

    on_message = fails


async def handler(ws):
    await ws.recv()
    fails()


APPS = {
    "page": fastws.Route("/", http=fails),
    "page later": fastws.Route("/", http=fails_later),
    "authorize": fastws.Route("/", OnMessage(), authorize=fails),
    "authorize later": fastws.Route("/", OnMessage(), authorize=fails_later),
    "on_open": OnOpen(),
    "on_open later": AsyncOnOpen(),
    "on_message": OnMessage(),
    "coroutine": handler,
    "asgi": fastws.ASGI(fails_later, lifespan="off"),
}


async def main():
    # No block to leave: a shutdown would wait for the client, which stays.
    server = await fastws.serve(APPS[kind], "127.0.0.1")
    if "page" in kind or kind == "asgi":
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    else:
        client = asyncio.create_task(talk(server.port))
    await asyncio.sleep(30)


async def talk(port):
    async with fastws.connect(f"ws://127.0.0.1:{port}/") as ws:
        await ws.send("x")
        await asyncio.sleep(30)


if loop == "uvloop":
    import uvloop

    factory = uvloop.new_event_loop
else:
    factory = asyncio.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""

CASES = [
    *(
        (kind, "SystemExit", 7)
        for kind in ("page", "page later", "authorize", "on_message", "on_open later", "asgi")
    ),
    ("page", "KeyboardInterrupt", -2),
]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(("kind", "exception", "status"), CASES)
def test_it_ends_the_process(kind: str, exception: str, status: int, loop: str) -> None:
    pytest.importorskip(loop)
    command = [sys.executable, "-c", PROGRAM, exception, kind, loop]
    done = subprocess.run(command, capture_output=True, env=environment(), timeout=20, check=False)
    assert done.returncode == status, done.stderr.decode()
