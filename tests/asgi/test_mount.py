"""What requests and WebSockets are told of the application: a route has it, and uvicorn adds to it."""

from __future__ import annotations

import logging
from typing import Any

import fastws
from fastws.asgi.mount import Mount


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def test_a_route_has_a_mount() -> None:
    mount = fastws.ASGI(app, root_path="/api/").mount
    assert (mount.app, mount.root_path, mount.state) == (app, "/api", {})
    assert mount.log.name == "fastws.error"
    assert mount.extra_headers() == []


def test_a_server_of_its_own_gives_state_and_log() -> None:
    state, log = {"database": 1}, logging.getLogger("uvicorn.error")
    mount = Mount(app, state=state, log=log)
    assert mount.state is state
    assert mount.log is log
