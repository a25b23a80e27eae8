"""What workers share: a message reaches the clients of all, and a producer runs on one."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.cli.helpers import Child, running
from tests.workers.crowd import CLIENTS, besieged, connected, limited, ready, said, until, url_of
from tests.workers.processes import pids

pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

PRODUCER = """
import asyncio
import os
import fastws

hub = fastws.Hub()

class Listener(fastws.Handler):
    __slots__ = ()
    def on_open(self, ws):
        ws.send_nowait(str(os.getpid()))
        hub.subscribe(ws, "numbers")

app = fastws.Application([fastws.Route("/", Listener())])

@app.background(once=True)
async def produce(server):
    number = 0
    while True:
        hub.publish("numbers", f"{os.getpid()} {number}")
        number += 1
        await asyncio.sleep(0.01)
"""


#: Notes when its task begins, and when it has ended some time after it was cancelled.
SLOW_TO_END = """
import asyncio
import os
import fastws

app = fastws.Application([])

def note(what):
    with open("notes", "a") as file:
        file.write(f"{what} {os.getpid()}\\n")

@app.background(once=True)
async def produce(server):
    note("begin")
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0.3)
        note("end")
"""


#: The broadcast example of docs/asgi.md, in FastAPI and in Starlette.
FASTAPI = """
import os
import fastws
from fastapi import FastAPI, WebSocket

app = FastAPI()
hub = fastws.Hub()

@app.websocket("/room/{name}")
async def room(websocket: WebSocket, name: str):
    await websocket.accept()
    await websocket.send_text(str(os.getpid()))
    with fastws.subscriber(websocket) as me:
        hub.subscribe(me, name)
        await websocket.send_text("in")
        async for text in websocket.iter_text():
            hub.publish(name, text)
"""


STARLETTE = """
import os
import fastws
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

hub = fastws.Hub()

async def room(websocket):
    await websocket.accept()
    await websocket.send_text(str(os.getpid()))
    with fastws.subscriber(websocket) as me:
        hub.subscribe(me, websocket.path_params["name"])
        await websocket.send_text("in")
        async for text in websocket.iter_text():
            hub.publish(websocket.path_params["name"], text)

app = Starlette(routes=[WebSocketRoute("/room/{name}", room)])
"""


@pytest.mark.parametrize(("package", "text"), [("fastapi", FASTAPI), ("starlette", STARLETTE)])
def test_the_clients_of_all_workers_hear_each_other(package: str, text: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    (tmp_path / "app.py").write_text(text)
    messages = 4

    async def siege(server: Child) -> None:
        clients = await connected(url_of(server, "/room/a"), CLIENTS, greetings=2)
        assert {client.worker for client in clients} == set(pids(server, 2))
        listening = [asyncio.create_task(client.listen()) for client in clients]
        for word in range(messages):
            for number, client in enumerate(clients):
                await client.ws.send(f"{number} {word}")
        for client in clients:
            await client.wait(partial(client.has_heard_all, range(CLIENTS), messages))
            for sender in range(CLIENTS):
                assert client.of(sender) == list(range(messages))
            await client.ws.close()
        await asyncio.wait(listening)

    besieged(tmp_path, siege, "app:app", "--port", 0, "--workers", 2)


def test_a_producer_runs_on_one_worker_and_moves_when_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PRODUCER)

    async def siege(server: Child) -> None:
        clients = await connected(url_of(server, "/"), CLIENTS)
        first, second = pids(server, 2)
        assert {client.worker for client in clients} == {first, second}
        listening = [asyncio.create_task(client.listen()) for client in clients]
        for client in clients:
            await client.wait(partial(client.has_heard_any, 10))
        (leader,) = {sender for client in clients for sender, _ in client.heard}
        os.kill(leader, signal.SIGKILL)
        (heir,) = {first, second} - {leader}
        for client, listens in zip(clients, listening, strict=True):
            if client.worker == leader:
                await asyncio.wait([listens])
                continue
            await client.wait(partial(client.has_heard_all, [heir], 10))
            assert not listens.done()
            for sender in (leader, heir):
                numbers = client.of(sender)
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert client.of(heir)[0] == 0
        await until(lambda: len(ready(server)) == 3)
        late = await connected(url_of(server, "/"), CLIENTS)
        assert {client.worker for client in late} == {heir, ready(server)[2]}
        listening += [asyncio.create_task(client.listen()) for client in late]
        for client in late:
            await client.wait(partial(client.has_heard_any, 10))
            assert {sender for sender, _ in client.heard} == {heir}
        for client in [*clients, *late]:
            await client.ws.close()
        await asyncio.wait(listening)

    besieged(tmp_path, siege, "app:app", "--port", 0, "--workers", 2)


def test_no_two_producers_run_at_the_same_time(tmp_path: Path) -> None:
    """One that takes its time to end keeps the next one waiting; one that is dead does not."""
    (tmp_path / "app.py").write_text(SLOW_TO_END)
    notes = tmp_path / "notes"

    def begins() -> list[str]:
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [line.split()[1] for line in lines if line.startswith("begin")]

    async def siege(server: Child) -> None:
        pids(server, 2)
        await until(begins)
        for reload in (1, 2):
            server.process.send_signal(signal.SIGHUP)
            await until(partial(said, server, "reload: done", reload))
            # One of the new workers, and it is the only one that begins.
            await until(lambda number=reload: len(begins()) > number)  # type: ignore[misc]
            assert int(begins()[reload]) in ready(server)[2 * reload :]
        os.kill(int(begins()[2]), signal.SIGKILL)
        await until(lambda: len(begins()) == 4)
        os.kill(int(begins()[3]), signal.SIGTERM)
        await until(lambda: len(begins()) == 5)

    with running(tmp_path, "serve", "app:app", "--port", 0, "--workers", 2, "--timeout-drain", 1) as server:
        limited(lambda: siege(server))
        assert server.stop() == 0
    expected = [f"{what} {pid}" for pid in begins() for what in ("begin", "end")]
    del expected[5]  # of the one that was killed
    assert notes.read_text().splitlines() == expected
    assert "Traceback" not in server.stderr()
