"""``fastws connect`` against a server that was not written here."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fastws.cli import connect as connect_command
from fastws.cli.connect import failure_text
from fastws.cli.dev_ca import ensure_authority, issue, subject_name
from tests.cli.helpers import Result, fastws, running

websockets = pytest.importorskip("websockets.asyncio.server")

pytestmark = [pytest.mark.live, pytest.mark.foreign]
Serve = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def foreign_server(handler: Serve, **options: Any) -> AsyncIterator[str]:
    """A server of the `websockets` library; its URL."""
    async with websockets.serve(handler, "127.0.0.1", 0, **options) as server:
        scheme = "wss" if options.get("ssl") else "ws"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def connect(*args: object, **options: Any) -> Result:
    return await asyncio.to_thread(fastws, "connect", *args, **options)


async def echo(ws: Any) -> None:
    async for message in ws:
        await ws.send(message)


async def test_lines_are_sent_and_replies_printed_before_it_closes_with_1000() -> None:
    codes = []

    async def slow_echo(ws: Any) -> None:
        async for message in ws:
            await asyncio.sleep(0.02)
            await ws.send(message)
        codes.append(ws.close_code)

    async with foreign_server(slow_echo) as url:
        result = await connect(url, stdin="hello\n\ncaf\xe9 \x1b[31m\nlast")
    assert (result.returncode, result.stdout) == (0, "hello\n\ncaf\xe9 \\x1b[31m\nlast\n")
    assert result.stderr == f"Connected to {url}. Ctrl-C closes.\n"
    assert codes == [1000]


async def test_replies_are_waited_for_however_far_away_the_server_is() -> None:
    """A relay that holds everything back for longer than the quiet that ends a conversation."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            loop.call_later(0.4, writer.write, data)
        loop.call_later(0.4, writer.close)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, on = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        await asyncio.gather(forward(reader, on), forward(back, writer))

    async with foreign_server(echo) as url, await asyncio.start_server(relay, "127.0.0.1", 0) as far:
        result = await connect(f"ws://127.0.0.1:{far.sockets[0].getsockname()[1]}", stdin="far\naway\n")
    assert (result.returncode, result.stdout) == (0, "far\naway\n")


async def test_a_server_that_is_never_quiet_is_left_at_the_end_of_the_input() -> None:
    async def ticker(ws: Any) -> None:
        for number in range(1000):
            await ws.send(str(number))
            await asyncio.sleep(0.05)

    async with foreign_server(ticker) as url:
        result = await connect(url, stdin="")
    assert result.returncode == 0 and 0 < result.stdout.count("\n") < 1000


async def test_a_reply_in_the_moment_of_the_timeout_does_not_keep_the_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connect_command, "CLOSE_SECONDS", 0.05)
    heard = asyncio.Event()

    class Answering:
        async def ping(self) -> float:
            return 0.0

    ticker = asyncio.create_task(tick(heard))
    async with asyncio.timeout(20):
        await connect_command.wait_for_replies(Answering(), heard)  # type: ignore[arg-type]
    ticker.cancel()


async def tick(heard: asyncio.Event) -> None:
    """Replies in every turn, so that one comes with the timeout too."""
    while True:
        heard.set()
        await asyncio.sleep(0)


async def test_binary_lines_are_binary_messages() -> None:
    async with foreign_server(echo) as url:
        result = await connect(url, "--binary", stdin="ab\n")
    assert result.stdout == "binary, 2 bytes: 61 62\n"


async def test_the_handshake_carries_what_was_asked_for() -> None:
    seen = {}

    async def look(ws: Any) -> None:
        seen.update(ws.request.headers.raw_items())
        await ws.send(ws.subprotocol)

    async with foreign_server(look, subprotocols=["b", "a"]) as url:
        options = [
            "--header",
            "X-Token: t",
            "--origin",
            "https://a.test",
            "--subprotocol",
            "a",
            "--subprotocol",
            "b",
        ]
        result = await connect(f"{url}/path", *options)
    chosen = result.stdout.strip()
    assert chosen in ("a", "b") and f"subprotocol {chosen}" in result.stderr
    assert (seen["X-Token"], seen["Origin"]) == ("t", "https://a.test")
    assert seen["Sec-WebSocket-Protocol"].replace(" ", "") == "a,b"


async def test_interval_sends_the_time_and_ctrl_c_closes_with_1000(tmp_path: Path) -> None:
    got: list[str] = []
    codes = []

    async def note(ws: Any) -> None:
        async for message in ws:
            got.append(message)
            await ws.send(f"reply {len(got)}")
        codes.append(ws.close_code)

    async with foreign_server(note) as url:
        with running(tmp_path, "connect", url, "--interval", 0.05) as client:
            await asyncio.to_thread(client.line, "reply 3")
            assert await asyncio.to_thread(client.stop, signal.SIGINT) == 0
    times = [datetime.fromisoformat(text) for text in got]
    assert times == sorted(times) and times[0].tzinfo is not None
    assert codes == [1000]
    assert client.stderr().count("\n") == 1, "no traceback, no complaint"


async def test_an_interrupt_waits_one_second_at_most_for_the_server(tmp_path: Path) -> None:
    """The server answers the handshake and then never again, not even the close."""
    accepted = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n"
    )

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from websockets.utils import accept_key

        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key")
        )
        writer.write(accepted % accept_key(key).encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with running(tmp_path, "connect", url, "--interval", 5) as client:
            await asyncio.to_thread(client.line, "Connected")
            before = time.monotonic()
            assert await asyncio.to_thread(client.stop, signal.SIGINT) == 0
            assert time.monotonic() - before > 0.9


@pytest.mark.parametrize(
    ("code", "why", "status", "line"),
    [
        (1000, "", 0, "The server closed with 1000."),
        (1001, "away", 0, "The server closed with 1001 away."),
        (1011, "bro\u202eken", 1, "The server closed with 1011 bro\\u202eken."),
    ],
)
async def test_the_servers_close_is_told(code: int, why: str, status: int, line: str, tmp_path: Path) -> None:
    async def close(ws: Any) -> None:
        await ws.close(code, why)

    source, sink = os.pipe()  # an input that does not end
    try:
        async with foreign_server(close) as url:
            with running(tmp_path, "connect", url, stdin=source) as client:
                assert await asyncio.to_thread(client.process.wait, 10) == status
                assert client.stderr().splitlines()[-1] == line
    finally:
        os.close(source)
        os.close(sink)


async def test_a_connection_that_is_lost_is_exit_1(tmp_path: Path) -> None:
    async def cut(ws: Any) -> None:
        ws.transport.abort()

    async with foreign_server(cut) as url:
        with running(tmp_path, "connect", url, "--interval", 5) as client:
            assert await asyncio.to_thread(client.process.wait, 10) == 1
    assert client.stderr().splitlines()[-1] == "The connection was lost."


async def test_a_server_that_is_not_there_is_exit_1_with_the_reason() -> None:
    for host in ("127.0.0.1", "localhost"):
        result = await connect(f"ws://{host}:1/")
        assert result.returncode == 1
        assert result.stderr == f"fastws connect: cannot connect to ws://{host}:1/: Connection refused\n"
    result = await connect("ws://no-such-host.invalid/")
    assert result.returncode == 1 and "cannot connect to ws://no-such-host.invalid/: " in result.stderr
    assert result.stderr.count("\n") == 1


async def test_a_refused_upgrade_is_exit_1_with_the_status() -> None:
    async with foreign_server(echo, origins=["https://allowed.test"]) as url:
        result = await connect(url, "--origin", "https://other.test")
    assert result.returncode == 1
    assert "the server refused the upgrade with status 403" in result.stderr


async def test_tls_is_verified_unless_told_otherwise(tmp_path: Path) -> None:
    issued = issue(ensure_authority(tmp_path), tmp_path, [subject_name("127.0.0.1")], 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certfile, issued.keyfile)
    async with foreign_server(echo, ssl=context) as url:
        refused = await connect(url, stdin="x\n")
        trusted = await connect(url, "--ssl-ca-certs", tmp_path / "ca.pem", stdin="x\n")
        insecure = await connect(url, "--insecure", stdin="x\n")
        plain = await connect(url.replace("wss:", "ws:"), stdin="x\n")
    assert refused.returncode == 1 and "its certificate is not trusted: " in refused.stderr
    assert (trusted.returncode, trusted.stdout) == (0, "x\n")
    assert (insecure.returncode, insecure.stdout) == (0, "x\n")
    assert plain.returncode == 1 and plain.stderr.count("\n") == 2 - plain.stderr.startswith("fastws connect")


def test_reasons_are_in_the_words_of_the_system() -> None:
    both = OSError(
        "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] Connect call failed"
    )
    assert failure_text(both) == "Connection refused"
    assert failure_text(TimeoutError()) == "it did not answer in time"
    assert failure_text(ssl.SSLError(1, "x")).startswith("TLS failed: ")
