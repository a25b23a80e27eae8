"""What a user may do wrong, or have done to him: a documented error, no hang, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import fastws
from tests.client.loops import both_loops
from tests.client.peers import Certificates, answer, answering, connected, echo, listening
from tests.kit import until
from tests.kit.process import open_files

pytestmark = pytest.mark.live

PATIENT = {"close": 0.2}


@contextlib.asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """Fails when a descriptor or a task is left; the loop has those of its own before."""
    await (await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)).__aexit__()
    before, tasks = open_files(), asyncio.all_tasks()
    async with asyncio.timeout(10):
        yield
        await until(lambda: open_files() <= before)
        await until(lambda: asyncio.all_tasks() <= tasks)


@both_loops
@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "http://a/",
        "ws://a:99999/",
        "ws://a b/",
        "ws://a%20b/",
        "ws://a..b/",
        f"ws://{'a' * 64}/",
        "ws://a/#top",
    ],
)
async def test_a_url_that_is_none(url: str) -> None:
    async with leaving_nothing():
        with pytest.raises(fastws.InvalidURL):
            await fastws.connect(url)
        with pytest.raises(fastws.InvalidURL):
            async for _ in fastws.connect(url):
                pytest.fail("connected")


@both_loops
async def test_a_proxy_that_refuses() -> None:
    async with leaving_nothing(), listening(answering(answer(403, body=b"not you"))) as port:
        for url in ("ws://server.test/", "wss://server.test/"):
            with pytest.raises(fastws.ProxyError) as caught:
                await fastws.connect(url, proxy=f"http://127.0.0.1:{port}")
            assert caught.value.response is not None
            assert (caught.value.response.status, caught.value.response.body) == (403, b"not you")
        # It stays as it is: not worth another try.
        with pytest.raises(fastws.ProxyError):
            async for _ in fastws.connect("ws://server.test/", proxy=f"http://127.0.0.1:{port}"):
                pytest.fail("connected")


@both_loops
async def test_a_certificate_that_does_not_verify(tls: Certificates) -> None:
    async with leaving_nothing(), fastws.serve(echo, "127.0.0.1", ssl=tls.server) as server:
        url = f"wss://127.0.0.1:{server.port}/"
        for options in ({}, {"ssl": tls.client, "server_hostname": "other.test"}):
            with pytest.raises(ssl.SSLCertVerificationError):
                await fastws.connect(url, **options)
            with pytest.raises(ssl.SSLCertVerificationError):
                async for _ in fastws.connect(url, **options):
                    pytest.fail("connected")


class Fails(fastws.Handler):
    """Raises in the callback of that name."""

    def __init__(self, name: str) -> None:
        setattr(self, name, self.fail)

    def fail(self, *_: Any) -> None:
        raise ZeroDivisionError("broken")


async def raises(ws: fastws.WebSocket) -> None:
    await ws.recv()
    raise ZeroDivisionError("broken")


failing = pytest.mark.parametrize(
    "handler", [raises, Fails("on_open"), Fails("on_message")], ids=["async", "on_open", "on_message"]
)


@both_loops
@failing
async def test_a_handler_of_the_server_that_raises(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with leaving_nothing(), connected(handler) as ws:
        ws.send_nowait("hello")
        with pytest.raises(fastws.ConnectionClosedError) as caught:
            await ws.recv()
        assert (caught.value.code, caught.value.reason, caught.value.by_peer) == (
            1011,
            "internal error",
            True,
        )
        assert caplog.text.count("ZeroDivisionError: broken") == 1


@both_loops
@failing
async def test_a_handler_of_the_client_that_raises(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[tuple[int | None, str | None]] = []

    async def greet(ws: fastws.WebSocket) -> None:
        await ws.send("hello")
        await ws.wait_closed()
        ended.append((ws.close_code, ws.close_reason))

    async with leaving_nothing(), connected(greet, handler=handler) as ws:
        await ws.wait_closed()
        await until(lambda: ended)
        assert ended == [(1011, "internal error")]
        assert caplog.text.count("ZeroDivisionError: broken") == 1


@both_loops
async def test_a_handler_that_blocks_the_loop_costs_time_but_no_connection() -> None:
    """Neither a write nor a pong is overdue because nobody could look whether it was there."""

    async def block(ws: fastws.WebSocket) -> None:
        async for message in ws:
            time.sleep(0.4)
            await ws.send(message)

    quick = {"ping_interval": 0.05, "ping_timeout": 0.1}
    async with leaving_nothing(), fastws.serve(block, "127.0.0.1", timeouts=quick) as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with fastws.connect(url, timeouts=quick) as one, fastws.connect(url, timeouts=quick) as two:
            for _ in range(2):
                await one.send("hello")
                assert await one.recv() == "hello"
            await two.send("still here")
            assert await two.recv() == "still here"


async def never(ws: fastws.WebSocket) -> None:
    await asyncio.Event().wait()


@both_loops
async def test_a_handler_that_never_returns_ends_with_its_server_or_client() -> None:
    async with leaving_nothing():
        server = await fastws.serve(never, "127.0.0.1")
        async with fastws.connect(f"ws://127.0.0.1:{server.port}/") as ws:
            await ws.send("hello")
        await server.shutdown(0.1)
    async with leaving_nothing(), fastws.serve(echo, "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with fastws.connect(url, handler=never, timeouts=PATIENT):
            pass
        async for _ in fastws.connect(url, handler=never, timeouts=PATIENT):
            break


@both_loops
async def test_a_handler_that_swallows_its_cancellation() -> None:
    """It cannot be ended; the server does not wait for it for ever."""
    release = asyncio.Event()

    async def stubborn(ws: fastws.WebSocket) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async with leaving_nothing():
        server = await fastws.serve(stubborn, "127.0.0.1")
        async with fastws.connect(f"ws://127.0.0.1:{server.port}/"):
            pass
        await server.shutdown(0.1)
        release.set()


Use = Callable[[fastws.WebSocket], Awaitable[object]]
LATE: dict[str, Use] = {
    "send": lambda ws: ws.send("late"),
    "send_json": lambda ws: ws.send_json(1),
    "fragments": lambda ws: ws.send(["la", "te"]),
    "recv": lambda ws: ws.recv(),
    "recv_json": lambda ws: ws.recv_json(),
    "recv_streaming": lambda ws: anext(ws.recv_streaming()),
    "ping": lambda ws: ws.ping(),
}


@both_loops
@pytest.mark.parametrize("use", LATE.values(), ids=LATE)
@pytest.mark.parametrize("code", [1000, 4000])
async def test_use_after_the_close(code: int, use: Use) -> None:
    async with leaving_nothing(), connected(echo) as ws:
        await ws.close(code, "done")
        kind = fastws.ConnectionClosedOK if code == 1000 else fastws.ConnectionClosedError
        with pytest.raises(kind) as caught:
            await use(ws)
        assert (caught.value.code, caught.value.reason, caught.value.by_peer) == (code, "done", False)
        assert ws.send_nowait("late") is ws.send_json_nowait(1) is fastws.SendStatus.CLOSED
        # Closing again does no harm, and the first code counts.
        await ws.close(4001)
        assert ws.close_code == code


@both_loops
async def test_two_readers_at_once() -> None:
    async with leaving_nothing(), connected(echo) as ws:
        first = asyncio.ensure_future(ws.recv())
        await asyncio.sleep(0)
        for second in (ws.recv, ws.recv_json, ws.__anext__):
            with pytest.raises(fastws.ConcurrencyError):
                await second()
        await ws.send("for the first")
        assert await first == "for the first"


@both_loops
async def test_what_cannot_be_sent() -> None:
    async with leaving_nothing(), connected(echo) as ws:
        for message in (1, None, {"a": 1}, object()):
            with pytest.raises(TypeError, match="a message is"):
                await ws.send(message)
            with pytest.raises(TypeError, match="a message is"):
                ws.send_nowait(message)
        with pytest.raises(TypeError):
            await ws.send_json(object())
        for code, reason in ((999, ""), (1005, ""), (1006, ""), (2999, ""), (5000, ""), (1000, "x" * 124)):
            with pytest.raises(ValueError):
                await ws.close(code, reason)
        await ws.send("nothing of it has harmed")
        assert await ws.recv() == "nothing of it has harmed"


@both_loops
async def test_two_shutdowns_at_once_and_one_that_is_cancelled() -> None:
    async with leaving_nothing():
        server = await fastws.serve(echo, "127.0.0.1")
        async with fastws.connect(f"ws://127.0.0.1:{server.port}/") as ws:
            await asyncio.gather(server.shutdown(), server.shutdown(), server.wait_closed())
            assert ws.closed
        await server.shutdown()
        server = await fastws.serve(echo, "127.0.0.1")
        deaf = await fastws.connect(f"ws://127.0.0.1:{server.port}/", timeouts=PATIENT)
        deaf.pause_reading()
        stopping = asyncio.ensure_future(server.shutdown(None))
        await asyncio.sleep(0.05)
        assert not stopping.done()
        stopping.cancel()
        await asyncio.wait([stopping])
        assert stopping.cancelled()
        await server.wait_closed()
        deaf.resume_reading()
        await deaf.wait_closed()
