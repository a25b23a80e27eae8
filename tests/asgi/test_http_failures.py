"""HTTP applications that break the rules, fail or are cancelled, and clients that leave."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import fastws
from fastws.asgi.scope import ClientDisconnected
from tests.asgi.served import BODY, START, App, Client, sending, served
from tests.kit import until


async def raising(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("meant to")


async def panicking(scope: Any, receive: Any, send: Any) -> None:
    raise BaseException("as pyo3's PanicException")


async def cancelled(scope: Any, receive: Any, send: Any) -> None:
    task = asyncio.ensure_future(asyncio.sleep(3600))
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


class TestBadApplications:
    @pytest.mark.parametrize(
        "app",
        [
            raising,
            panicking,
            cancelled,
            sending(),
            sending(START),
            sending(BODY),
            sending({"type": "websocket.accept"}),
            sending({**START, "status": 101}),
            sending({**START, "status": 700}),
            sending({**START, "headers": [(b"x", b"a\r\nb: c")]}),
            sending(START, START),
            sending(START, {**BODY, "body": "text"}),
            sending({**START, "headers": [(b"content-length", b"5"), (b"content-length", b"6")]}, BODY),
            sending({**START, "headers": [(b"content-length", b"9")]}, {**BODY, "more_body": False}),
            sending({**START, "headers": [(b"content-length", b"0")]}, BODY),
        ],
        ids=["raises", "panics", "cancelled", "returns", "no-body", "no-start", "wrong-type"]
        + ["interim", "invalid", "splits", "twice", "str", "lengths", "short", "long"],
    )
    async def test_500_where_nothing_is_out(self, app: App, caplog: pytest.LogCaptureFixture) -> None:
        async with served(app, lifespan="off") as client:
            for _ in range(2):
                client.ask()
                status, headers = await client.head()
                assert status == 500
                await client.exactly(int(headers["content-length"]))
        assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 2

    @pytest.mark.parametrize(
        "app",
        [
            sending(START, BODY),
            sending({**START, "headers": [(b"content-length", b"5")]}, BODY, {**BODY, "more_body": False}),
            sending({**START, "headers": [(b"content-length", b"2")]}, BODY, {**BODY, "body": b"too long"}),
        ],
        ids=["returns", "short", "long"],
    )
    async def test_cut_where_something_is(self, app: App, caplog: pytest.LogCaptureFixture) -> None:
        async with served(app, lifespan="off") as client:
            client.ask()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await client.head()
                await client.exactly(8)
        assert any("ASGI application" in record.message for record in caplog.records)

    async def test_sending_after_the_end_is_an_error_of_the_application(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with served(sending(START, {**BODY, "more_body": False}, BODY), lifespan="off") as client:
            client.ask()
            assert (await client.head())[0] == 200
            assert await client.exactly(1) == b"x"
        assert "after the response was complete" in caplog.text


class FrameworkDisconnect(Exception):
    """As ``starlette.requests.ClientDisconnect``."""


class TestAClientThatLeaves:
    """In the middle of a streamed response: the application ends, and only the access log tells."""

    @pytest.mark.parametrize("end", ["close", "abort"])
    @pytest.mark.parametrize("kind", ["waits", "obeys", "sends", "raises", "group", "cancels", "ends"])
    async def test_silence(self, kind: str, end: str, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            assert scope["asgi"]["spec_version"] == "2.3"
            await receive()
            await send({**START, "headers": [(b"x", b"y")]})
            await send(BODY)
            if kind == "sends":
                while True:
                    await send(BODY)
                    await asyncio.sleep(0.001)
            assert (await receive())["type"] == "http.disconnect"
            if kind == "raises":
                raise FrameworkDisconnect
            if kind == "group":
                raise ExceptionGroup("a task group", [FrameworkDisconnect(), ClientDisconnected()])
            if kind == "cancels":
                raise asyncio.CancelledError
            if kind == "ends":
                await send({**BODY, "more_body": False})

        caplog.set_level(logging.INFO)
        asgi = fastws.ASGI(app, lifespan="off")
        async with fastws.serve(asgi, "127.0.0.1", timeouts={"close": 3600}) as server:
            client = Client(*await asyncio.open_connection("127.0.0.1", server.port))
            client.ask("/stream")
            await client.head()
            await client.exactly(6)
            client.writer.close() if end == "close" else client.writer.transport.abort()
            await until(lambda: not asgi.tasks and not server.connections)
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("fastws.access", logging.INFO)
        assert '"GET /stream HTTP/1.1" 200' in record.getMessage()

    async def test_one_that_sends_without_a_pause_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where the write itself finds the client gone, the loop has had no turn to tell of it."""
        gone = asyncio.Event()
        pieces = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal pieces
            await send(START)
            await send(BODY)
            await gone.wait()
            while pieces < 100_000:
                pieces += 1
                await send({**BODY, "body": b"x" * 1000})

        async with served(app, lifespan="off") as client:
            client.ask()
            await client.head()
            client.writer.transport.abort()
            while client.writer.transport.get_extra_info("socket").fileno() >= 0:
                await asyncio.sleep(0)
            gone.set()
        assert pieces < 1000
        assert not caplog.records

    @pytest.mark.system
    async def test_an_endless_answer_to_head_leaves_the_loop_its_turns(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send(START)
            while True:
                await send(BODY)

        async with served(app, lifespan="off") as client:
            client.ask(method="HEAD")
            await client.head()
            client.writer.transport.abort()

    async def test_a_fault_is_still_told(self, caplog: pytest.LogCaptureFixture) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send(START)
            await send(BODY)
            await receive()
            raise ValueError("meant to")

        async with served(app, lifespan="off") as client:
            client.ask()
            await client.head()
            client.writer.transport.abort()
            await asyncio.sleep(0.05)
        assert "meant to" in caplog.text
