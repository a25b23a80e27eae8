"""A hub that starts and closes with an ASGI application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette

import fastws


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_a_hub_starts_and_closes_with_its_application(framework: Any, tmp_path: Path) -> None:
    hub = fastws.Hub(broker=f"bus:{tmp_path}/bus")
    app = framework(lifespan=hub.lifespan)

    async def room(websocket: WebSocket) -> None:
        await websocket.accept()
        with fastws.subscriber(websocket) as me:
            hub.subscribe(me, "room")
            await websocket.send_text("here")
            await websocket.receive_text()

    app.router.add_websocket_route("/", room)
    async with (
        fastws.serve(fastws.ASGI(app, lifespan="on"), "127.0.0.1", access_log=False) as server,
        fastws.connect(f"ws://127.0.0.1:{server.port}/") as ws,
    ):
        assert members(tmp_path), "the bus has not started"
        assert await ws.recv() == "here"
        hub.publish("room", "hello")
        assert await ws.recv() == "hello"
        await ws.send("bye")
    assert not members(tmp_path), "the bus goes on"


def members(folder: Path) -> list[Path]:
    return [path for path in (folder / "bus").iterdir() if path.is_socket()]


async def test_a_hub_that_cannot_start_is_a_failed_startup(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    hub = fastws.Hub(broker=f"bus:{tmp_path}/file")
    app = fastws.ASGI(FastAPI(lifespan=hub.lifespan), lifespan="on")
    with pytest.raises(fastws.StartupFailed, match="is no directory"):
        async with fastws.serve(app, "127.0.0.1", access_log=False):
            pass
