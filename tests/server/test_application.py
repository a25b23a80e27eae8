"""Hooks and background tasks of an application, in one server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import fastws
from fastws.server.server import Server

pytestmark = pytest.mark.live


async def echo(ws: fastws.WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def serving(app: fastws.Application) -> fastws.serve:
    return fastws.serve(app, "127.0.0.1", access_log=False)


async def test_hooks_run_in_order_and_back() -> None:
    told: list[Any] = []
    app = fastws.Application(echo)

    @app.on_startup
    async def first(server: fastws.Server) -> None:
        assert not server.sockets
        told.append(("first", server))

    @app.on_startup
    def second(server: fastws.Server) -> None:
        told.append(("second", server))

    app.on_shutdown(lambda server: told.append(("last", server)))

    @app.on_shutdown
    async def before(server: fastws.Server) -> None:
        told.append(("before", server))

    @app.background
    async def beside(server: fastws.Server) -> None:
        told.append(("beside", server))
        try:
            await asyncio.Event().wait()
        finally:
            told.append(("beside ended", server))

    for _ in range(2):  # another server may serve it too
        told.clear()
        async with serving(app) as server, fastws.connect(f"ws://127.0.0.1:{server.port}") as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
        names = ["first", "second", "beside", "beside ended", "before", "last"]
        assert told == [(name, server) for name in names]


async def test_a_hook_that_fails_is_one_line_and_ends_the_start() -> None:
    told: list[str] = []

    def broken(server: fastws.Server) -> None:
        raise LookupError("no database")

    app = fastws.Application(echo, on_startup=[broken], on_shutdown=[lambda server: told.append("ended")])
    with pytest.raises(
        fastws.StartupFailed, match=r"^on_startup \S*broken failed: LookupError: no database \("
    ):
        await serving(app)
    assert told == []


async def test_each_shutdown_hook_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    app = fastws.Application(echo, on_shutdown=[lambda server: told.append("ended")])

    @app.on_shutdown
    async def broken(server: fastws.Server) -> None:
        raise ValueError("broken")

    async with serving(app):
        pass
    assert told == ["ended"]
    assert [record.exc_info is not None for record in caplog.records if "broken" in record.message] == [True]


class Panic(BaseException):
    """As that of pyo3, which is no ``Exception``."""


def stopped(server: fastws.Server) -> None:
    raise asyncio.CancelledError


def panics(server: fastws.Server) -> None:
    raise Panic("no memory")


async def waits_for_another(server: fastws.Server) -> None:
    other = asyncio.ensure_future(asyncio.sleep(0))
    other.cancel()
    await other


@pytest.mark.parametrize("hook", [stopped, panics, waits_for_another])
async def test_a_hook_may_raise_anything(hook: Any, caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    with pytest.raises(fastws.StartupFailed, match=f"^on_startup {hook.__name__} failed: "):
        await serving(fastws.Application(echo, on_startup=[hook]))
    last: list[Any] = [lambda server: told.append("ended"), hook]
    async with serving(fastws.Application(echo, on_shutdown=last)):
        pass
    assert told == ["ended"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.message == f"on_shutdown {hook.__name__} failed" and record.exc_info is not None


async def test_a_start_that_is_cancelled_is_no_failure() -> None:
    async def waits(server: fastws.Server) -> None:
        await asyncio.Event().wait()

    async def start() -> None:
        await serving(fastws.Application(echo, on_startup=[waits]))

    task = asyncio.create_task(start())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def fails(server: fastws.Server) -> None:
    raise ValueError("no prices")


async def test_a_task_that_fails_ends_the_server(caplog: pytest.LogCaptureFixture) -> None:
    server = await serving(fastws.Application(echo, background=[fails]))
    with pytest.raises(SystemExit) as ended:
        await server.serve_forever()
    assert ended.value.code == 3
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.message == "background task fails failed"
    assert record.exc_info is not None


async def test_or_the_server_goes_on() -> None:
    app = fastws.Application(echo, background=[fails], lifespan_failure="continue")
    async with serving(app) as server:
        await asyncio.sleep(0)
        assert not server.application_failed.done()


async def test_once_is_where_the_server_leads() -> None:
    leads = True
    begun, ended = [], []
    app = fastws.Application(echo)

    @app.background
    async def once(server: fastws.Server) -> None:
        begun.append("once")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("once")

    @app.background(once=False)
    async def each(server: fastws.Server) -> None:
        begun.append("each")
        await asyncio.Event().wait()

    server = Server(app, fastws.Settings(), leads=False)
    async with server:
        await server.startup()
        await asyncio.sleep(0)
        assert (begun, server.is_leader) == (["each"], False)
        server.lead(leads)
        await asyncio.sleep(0)
        assert (begun, server.is_leader) == (["each", "once"], True)
        server.lead(not leads)
        server.lead(leads)  # the last run ends before the next begins
        assert begun.count("once") == 1
        for _ in range(8):
            await asyncio.sleep(0)
        assert (begun.count("once"), len(ended)) == (2, 1)
    assert len(ended) == 2


async def test_who_resigns_waits_for_once_tasks_and_nobody_cancels_them_twice() -> None:
    told: list[str] = []
    app = fastws.Application(echo)

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            told.append(name)

    @app.background
    async def once(server: fastws.Server) -> None:
        await work("once")

    @app.background(once=False)
    async def each(server: fastws.Server) -> None:
        await work("each")

    async with serving(app) as server:
        await asyncio.sleep(0)
        resigning = asyncio.create_task(server.resign())
        await asyncio.sleep(0)
        await server.resign()
        await resigning
        assert (told, server.is_leader) == (["once"], False)
        await server.resign()
        ends = [asyncio.create_task(server.shutdown()) for _ in range(2)]
        await asyncio.gather(*ends)
    assert told == ["once", "each"]


async def test_a_request_and_a_websocket_know_their_server() -> None:
    seen: list[Any] = []

    async def handler(ws: fastws.WebSocket) -> None:
        assert ws.request is not None
        seen.append(ws.request.server)

    async with serving(fastws.Application(handler)) as server:
        async with fastws.connect(f"ws://127.0.0.1:{server.port}") as ws:
            assert [message async for message in ws] == []
        assert seen == [server]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"on_startup": [lambda: None]}, TypeError),
        ({"on_shutdown": [None]}, TypeError),
        ({"background": [lambda server: None]}, TypeError),
        ({"lifespan_failure": "ignore"}, ValueError),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        fastws.Application(echo, **wrong)
