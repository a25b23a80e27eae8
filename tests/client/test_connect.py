"""``fastws.connect``: what it asks, what it refuses, and what it leaves behind."""

from __future__ import annotations

import asyncio
import socket
import ssl
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

import fastws
from fastws.errors import HandshakeInterrupted
from tests.client.loops import both_loops
from tests.client.peers import Certificates, answer, answering, echo, fields, listening
from tests.kit import until
from tests.kit.process import open_files

pytestmark = pytest.mark.live


async def answer_with_fields(ws: fastws.WebSocket) -> None:
    assert ws.request is not None
    await ws.send_json(dict(ws.request.headers.items()))


@both_loops
async def test_credentials_and_cookies_are_sent() -> None:
    async with fastws.serve(answer_with_fields, "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with fastws.connect(
            url, auth=fastws.BasicAuth("me", "pass"), cookies={"a": "1", "b": "2"}, headers={"X-Mine": "yes"}
        ) as ws:
            sent = await ws.recv_json()
        assert sent["authorization"] == "Basic bWU6cGFzcw=="
        assert (sent["cookie"], sent["x-mine"]) == ("a=1; b=2", "yes")
        async with fastws.connect(url, auth=fastws.BearerAuth("abc.def==")) as ws:
            assert (await ws.recv_json())["authorization"] == "Bearer abc.def=="


@pytest.mark.parametrize("make", [lambda: fastws.BasicAuth("a:b", "c"), lambda: fastws.BasicAuth("a", "b\n")])
def test_credentials_that_cannot_be_sent(make: Any) -> None:
    with pytest.raises(ValueError):
        make()
    with pytest.raises(ValueError, match="no bearer token"):
        fastws.BearerAuth("two words")
    with pytest.raises(ValueError, match="cannot be a cookie"):
        fastws.connect("ws://a/", cookies={"a": "1; admin=1"})


def test_credentials_do_not_show() -> None:
    assert "secret" not in repr(fastws.BasicAuth("me", "secret")) + repr(fastws.BearerAuth("secret"))


@both_loops
async def test_a_jar_takes_cookies_and_gives_them_back() -> None:
    jar = CookieJar()
    routes = [
        fastws.Route(
            "/set", answer_with_fields, headers=[("Set-Cookie", "id=7; Path=/"), ("Set-Cookie", "b=x")]
        ),
        fastws.Route("/get", answer_with_fields),
    ]
    async with fastws.serve(routes, "127.0.0.1") as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with fastws.connect(f"{url}/set", cookies=jar) as ws:
            assert "cookie" not in await ws.recv_json()
        async with fastws.connect(f"{url}/get", cookies=jar) as ws:
            assert set((await ws.recv_json())["cookie"].split("; ")) == {"id=7", "b=x"}


@both_loops
async def test_a_refusal_carries_status_headers_and_body() -> None:
    talk = answering(answer(403, "X-Why: no", "Set-Cookie: seen=1", body=b"go away"))
    jar = CookieJar()
    async with listening(talk) as port:
        with pytest.raises(fastws.HandshakeRefused, match="status 403") as caught:
            await fastws.connect(f"ws://127.0.0.1:{port}/", cookies=jar)
    response = caught.value.response
    assert (response.status, response.body, response.headers["x-why"]) == (403, b"go away", "no")
    assert [cookie.name for cookie in jar] == ["seen"]


@both_loops
async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with fastws.serve(echo, unix=path), fastws.connect("ws://any.test/", unix=path) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


@both_loops
async def test_a_socket_of_ones_own_and_another_address() -> None:
    async with fastws.serve(echo, "127.0.0.1") as server:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.settimeout(0)
        async with fastws.connect("ws://any.test/", sock=sock) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
        with pytest.raises(ValueError, match="sock= can be used once"):
            async for _ in fastws.connect("ws://any.test/", sock=sock):
                raise AssertionError
        elsewhere = fastws.connect(
            "ws://any.test/", host="127.0.0.1", port=server.port, local_addr=("127.0.0.1", 0)
        )
        async with elsewhere as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"


@both_loops
async def test_tls(tls: Certificates) -> None:
    async with fastws.serve(echo, "127.0.0.1", ssl=tls.server) as server:
        url = f"wss://127.0.0.1:{server.port}/"
        async with fastws.connect(url, ssl=tls.client) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await fastws.connect(url)
        with pytest.raises(ssl.SSLCertVerificationError):
            await fastws.connect(url, ssl=tls.client, server_hostname="other.test")


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(fastws.InvalidURL, match="ssl= goes with"):
        fastws.connect("ws://a/", ssl=ssl.create_default_context())
    with pytest.raises(ValueError, match="exclude one another"):
        fastws.connect("ws://a/", unix="/a", host="b")
    with pytest.raises(TypeError, match="nonsense"):
        fastws.connect("ws://a/", nonsense=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "url", ["", "http://a/", "ws:///", "ws://a:b/", "ws://a/#x", "ws://u:p@a/", "ws://[::1", "ws://\ud800/"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(fastws.InvalidURL):
        fastws.connect(url)


@both_loops
async def test_the_request_is_checked_before_anything_is_connected() -> None:
    with pytest.raises(ValueError, match="belongs to the handshake"):
        await fastws.connect("ws://127.0.0.1:1/", headers={"Upgrade": "h2c"})


@both_loops
async def test_callbacks() -> None:
    seen: list[object] = []
    done = asyncio.Event()

    class Client(fastws.Handler):
        def on_open(self, ws: fastws.WebSocket) -> None:
            ws.send_nowait("hello")

        def on_message(self, ws: fastws.WebSocket, message: str | bytes) -> None:
            seen.append(message)
            ws.close_nowait()

        def on_close(self, ws: fastws.WebSocket, code: int, reason: str) -> None:
            seen.append(code)
            done.set()

    async with fastws.serve(echo, "127.0.0.1") as server:
        ws = await fastws.connect(f"ws://127.0.0.1:{server.port}/", handler=Client)
        await done.wait()
        with pytest.raises(RuntimeError, match="on_message"):
            ws.recv_streaming()
        with pytest.raises(RuntimeError, match="on_message"):
            await ws.recv()
        await ws.wait_closed()
    assert seen == ["hello", 1000]


@both_loops
async def test_latency_is_measured() -> None:
    async with fastws.serve(echo, "127.0.0.1") as server:
        ws = await fastws.connect(f"ws://127.0.0.1:{server.port}/", timeouts={"ping_interval": 0.02})
        assert ws.latency is None
        await until(lambda: ws.latency is not None)
        assert ws.latency > 0
        await ws.close()


@both_loops
async def test_use_after_the_close_and_two_readers() -> None:
    async with fastws.serve(echo, "127.0.0.1") as server:
        async with fastws.connect(f"ws://127.0.0.1:{server.port}/") as ws:
            waiting = asyncio.ensure_future(ws.recv())
            await asyncio.sleep(0)
            with pytest.raises(fastws.ConcurrencyError):
                await ws.recv()
            await ws.send("hello")
            assert await waiting == "hello"
        with pytest.raises(fastws.ConnectionClosedOK):
            await ws.send("late")
        with pytest.raises(fastws.ConnectionClosedOK):
            await ws.recv()
        with pytest.raises(fastws.ConnectionClosedOK):
            await ws.ping()


@both_loops
async def test_a_server_that_hangs_up_and_one_that_says_nothing() -> None:

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(hang_up) as port:
        with pytest.raises(HandshakeInterrupted):
            await fastws.connect(f"ws://127.0.0.1:{port}/")
    # Now the loop has all descriptors of its own.
    before = open_files()
    async with listening(silent) as port:
        url = f"ws://127.0.0.1:{port}/"
        with pytest.raises(TimeoutError, match=r"no WebSocket within 0\.05 s"):
            await fastws.connect(url, open_timeout=0.05)
        for wait in (0.0, 0.001, 0.02):
            task = asyncio.ensure_future(_open(url))
            await asyncio.sleep(wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    # The server that hung up may have had one still open then.
    await until(lambda: open_files() <= before)


async def _open(url: str, **options: Any) -> fastws.WebSocket:
    return await fastws.connect(url, **options)


@both_loops
async def test_cancelled_at_any_step_it_leaves_nothing(tls: Certificates) -> None:
    """With TLS there are most steps; each turn of the loop is one place to be cancelled in."""
    async with fastws.serve(echo, "127.0.0.1", ssl=tls.server, access_log=False) as server:
        url = f"wss://localhost:{server.port}/"
        await (await _open(url, ssl=tls.client)).close()
        before = open_files()
        opened = 0
        for turns in range(0, 60, 2):
            task = asyncio.ensure_future(_open(url, ssl=tls.client))
            for _ in range(turns):
                await asyncio.sleep(0.0002)
            task.cancel()
            try:
                await (await task).close()
                opened += 1
            except asyncio.CancelledError:
                pass
        assert opened < 30
        await until(lambda: not server.connections and open_files() <= before)


@both_loops
async def test_the_fields_of_the_handshake() -> None:
    heads: list[str] = []
    async with listening(answering(answer(404), heads=heads)) as port:
        with pytest.raises(fastws.HandshakeRefused):
            await fastws.connect(
                f"ws://127.0.0.1:{port}/p?q", origin="https://app.test", subprotocols=["a", "b"]
            )
    sent = fields(heads[0])
    assert heads[0].startswith("GET /p?q HTTP/1.1\r\n")
    assert (sent["host"], sent["origin"]) == (f"127.0.0.1:{port}", "https://app.test")
    assert sent["sec-websocket-protocol"] == "a, b"


@both_loops
async def test_a_close_while_the_server_still_has_much_to_send() -> None:
    """The end of TCP follows when the socket has taken everything, not while it still reports that."""

    async def pour(ws: fastws.WebSocket) -> None:
        await ws.send(b"x" * 1_000_000)
        for _ in range(15):
            ws.send_nowait(b"x" * 1_000_000)
        await ws.wait_closed()

    limits = {"send_queue_bytes": 1 << 24}
    async with fastws.serve(pour, "127.0.0.1", limits=limits) as server:
        ws = await fastws.connect(f"ws://127.0.0.1:{server.port}/")
        assert len(await ws.recv()) == 1_000_000
        ws.pause_reading()
        await asyncio.sleep(0.05)
        await ws.close()
        assert ws.close_code == 1000
        await until(lambda: not server.connections)
