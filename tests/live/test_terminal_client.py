"""``fastws connect --interval``, the tutorial's client, against servers that were not written here."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from tests.cli.helpers import environment
from tests.kit import until
from tests.live import raw
from tests.live.foreign_servers import SERVERS, open_server

pytestmark = [pytest.mark.live, pytest.mark.foreign]


@contextlib.asynccontextmanager
async def terminal_client(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run ``fastws connect URL --interval 0.1``."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "fastws", "connect", url, "--interval", "0.1"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        async with asyncio.timeout(15):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("library", SERVERS)
async def test_the_client_sends_the_time(library: str, request: pytest.FixtureRequest) -> None:
    node = request.getfixturevalue("node") if library == "ws" else None
    async with open_server(library, None, node) as server, terminal_client(server.url) as process:
        assert process.stdout is not None
        times = [datetime.fromisoformat((await process.stdout.readline()).decode().strip()) for _ in range(3)]
        assert times == sorted(times)
        assert abs((datetime.now().astimezone() - times[-1]).total_seconds()) < 5
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        assert await server.closed() == 1000


async def test_the_client_says_why_it_cannot_connect() -> None:
    # Port 1 is privileged, and nobody listens there.
    async with terminal_client("ws://127.0.0.1:1/") as process:
        out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert re.fullmatch(r"fastws connect: cannot connect to ws://127.0.0.1:1/: \S.*\n", err.decode())


async def test_the_client_does_not_wait_for_ever() -> None:
    """A server that leaves the close without an answer."""
    received = bytearray()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)
        assert key is not None
        writer.write(raw.accepted(key[1].decode()))
        while data := await reader.read(4096):
            received.extend(data)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with terminal_client(f"ws://127.0.0.1:{port}/") as process:
            await until(lambda: received)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
    last = received[-8:]
    assert last[:2] == b"\x88\x82"
    assert raw.masked(bytes(last[6:]), bytes(last[2:6])) == (1000).to_bytes(2, "big")
