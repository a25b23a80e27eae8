"""The start and the end of an ASGI application, in a server and alone."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

import fastws
from fastws.asgi.lifespan import Lifespan
from tests.kit import until

pytestmark = pytest.mark.live


class App:
    """Says ``answers`` to the events of its lifespan; an exception is raised instead."""

    def __init__(self, *answers: Any, rest: float = 0) -> None:
        self.answers = list(answers)
        self.events: list[str] = []
        self.rest = rest

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            state = scope["state"].get("name", "nothing")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": state.encode()})
            return
        scope["state"]["name"] = "of the lifespan"
        for answer in self.answers:
            self.events.append((await receive())["type"])
            await asyncio.sleep(self.rest)
            if isinstance(answer, Exception):
                raise answer
            await send(answer)


COMPLETE = {"type": "lifespan.startup.complete"}
ENDED = {"type": "lifespan.shutdown.complete"}
BOTH = ["lifespan.startup", "lifespan.shutdown"]


async def body(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


async def test_started_before_and_ended_behind_the_server() -> None:
    app = App(COMPLETE, ENDED)
    for _ in range(2):  # a server may be started again with it
        app.events.clear()
        asgi = fastws.ASGI(app)
        async with fastws.serve(asgi, "127.0.0.1", access_log=False) as server:
            assert app.events == BOTH[:1]
            assert await body(server.port) == b"of the lifespan"
        assert app.events == BOTH
    assert asyncio.all_tasks() == {asyncio.current_task()}


#: What Starlette says of a task group that has lost a task.
GROUP = traceback.format_exception(ExceptionGroup("tasks", [ValueError("no feed")]))


async def test_an_application_serves_one_server_at_a_time() -> None:
    asgi = fastws.ASGI(App(COMPLETE, ENDED))
    async with fastws.serve(asgi, "127.0.0.1"):
        with pytest.raises(RuntimeError, match="served already"):
            await fastws.serve(asgi, "127.0.0.1")


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (App({"type": "lifespan.startup.failed", "message": "Traceback:\n line\nno base\n"}), "no base"),
        (
            App({"type": "lifespan.startup.failed", "message": "".join(GROUP)}),
            "to start: ValueError: no feed$",
        ),
        (App({"type": "lifespan.startup.failed"}), "failed to start"),
    ],
)
async def test_a_failed_startup(app: App, said: str) -> None:
    with pytest.raises(fastws.StartupFailed, match=said):
        await fastws.serve(fastws.ASGI(app), "127.0.0.1")
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("app", [App(ValueError("what is that?")), App()], ids=["raises", "returns"])
async def test_an_application_without_a_lifespan(app: App) -> None:
    async with fastws.serve(fastws.ASGI(app), "127.0.0.1", access_log=False) as server:
        assert await body(server.port) == b"of the lifespan"
    with pytest.raises(fastws.StartupFailed, match="has no lifespan"):
        await fastws.serve(fastws.ASGI(app, lifespan="on"), "127.0.0.1")


async def test_off() -> None:
    app = App(COMPLETE, ENDED)
    async with fastws.serve(fastws.ASGI(app, lifespan="off"), "127.0.0.1", access_log=False) as server:
        assert await body(server.port) == b"nothing"
    assert app.events == []


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (ValueError("meant to"), "ValueError: meant to"),
        ({"type": "lifespan.shutdown.failed", "message": "still busy"}, "in its shutdown: still busy"),
        ({"type": "lifespan.shutdown.failed"}, "in its shutdown: it says no more"),
        ({"type": "lifespan.startup.complete"}, "not due now"),
    ],
)
async def test_a_failed_shutdown_is_logged(end: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    async with fastws.serve(fastws.ASGI(App(COMPLETE, end)), "127.0.0.1"):
        pass
    assert said in caplog.text


async def test_a_shutdown_that_never_ends_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    app = App(COMPLETE, ENDED)
    lifespan = Lifespan(app, "on", {})
    await lifespan.startup()
    app.rest = 100
    await lifespan.shutdown(0.05)
    await lifespan.shutdown(0.05)  # twice does no harm
    assert "cancelled" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_startup_that_is_cancelled_leaves_nothing() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await fastws.serve(fastws.ASGI(App(COMPLETE, rest=100)), "127.0.0.1")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_address_that_cannot_be_had_ends_the_application() -> None:
    app = App(COMPLETE, ENDED)
    async with fastws.serve(fastws.ASGI(App()), "127.0.0.1") as server:
        with pytest.raises(OSError):
            await fastws.serve(fastws.ASGI(app), "127.0.0.1", server.port)
    assert app.events == BOTH


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"app": 1}, TypeError),
        ({"app": App(), "lifespan": "maybe"}, ValueError),
        ({"app": App(), "root_path": "api"}, ValueError),
    ],
)
def test_what_fits_nothing(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        fastws.ASGI(**options)


class GroupApp(App):
    """Its lifespan has a task group, of which a task fails when ``fail`` is set; Starlette's tells so."""

    def __init__(self, *, tells: bool) -> None:
        super().__init__()
        self.fail = asyncio.Event()
        self.tells = tells

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await super().__call__(scope, receive, send)
            return
        await receive()
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self._work())
                await send(COMPLETE)
                await receive()
                work.cancel()
        except BaseException:
            if self.tells:
                await send({"type": "lifespan.shutdown.failed", "message": "Traceback\n  ValueError: lost"})
            raise
        await send(ENDED)

    async def _work(self) -> None:
        await self.fail.wait()
        raise ValueError("lost")


class TestAFailureWhileItIsServed:
    @pytest.mark.parametrize("tells", [False, True])
    async def test_it_is_logged_at_once_and_ends_the_server(
        self, tells: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = GroupApp(tells=tells)
        server = await fastws.serve(fastws.ASGI(app), "127.0.0.1", access_log=False)
        app.fail.set()
        with pytest.raises(SystemExit) as ended:
            await server.serve_forever()
        assert ended.value.code == 3
        (record,) = caplog.records
        assert "failed while it was served" in record.getMessage()
        assert "ValueError: lost" in caplog.text

    async def test_unless_told_otherwise(self, caplog: pytest.LogCaptureFixture) -> None:
        app = GroupApp(tells=True)
        asgi = fastws.ASGI(app, lifespan_failure="continue")
        async with fastws.serve(asgi, "127.0.0.1", access_log=False) as server:
            app.fail.set()
            await until(lambda: caplog.records)
            assert not server.application_failed.done()
            assert await body(server.port) == b"nothing"
        assert len(caplog.records) == 1

    async def test_a_stop_is_no_failure(self, caplog: pytest.LogCaptureFixture) -> None:
        async with fastws.serve(fastws.ASGI(GroupApp(tells=True)), "127.0.0.1"):
            pass
        assert caplog.records == []

    def test_what_cannot_be(self) -> None:
        with pytest.raises(ValueError, match="lifespan_failure is one of stop, continue"):
            fastws.ASGI(App(), lifespan_failure="ignore")
