"""Every block of docs/asgi.md runs as it stands there."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fastws
from tests.cli.helpers import environment

pytestmark = pytest.mark.live

PAGE = (Path(__file__).parents[2] / "docs" / "asgi.md").read_text(encoding="utf-8")
CHAT, EMBEDDED, AIOHTTP = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment(), stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


async def client(port: int, path: str) -> fastws.WebSocket:
    """A client, as soon as the server is up."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await fastws.connect(f"ws://127.0.0.1:{port}{path}")
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)


def post(url: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as response:
        body: bytes = response.read()
        return body


def test_there_is_a_command_for_each_way() -> None:
    assert [command.split()[0] for command in COMMANDS] == ["fastws", "uvicorn"]


@pytest.mark.parametrize("command", [*COMMANDS, "uvicorn chat:app"])
async def test_the_chat_room(command: str, tmp_path: Path, unused_tcp_port: int) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    port = unused_tcp_port
    with started(["-m", *shlex.split(command), "--port", str(port)], tmp_path):
        ann = await client(port, "/room/one")
        await ann.send("here")
        assert await ann.recv() == "here"
        async with fastws.connect(f"ws://127.0.0.1:{port}/room/one") as bob:
            await bob.send("hello")
            assert [await ann.recv(), await bob.recv()] == ["hello", "hello"]
            assert await asyncio.to_thread(post, f"http://127.0.0.1:{port}/room/one?text=news") == b"2"
            assert [await ann.recv(), await bob.recv()] == ["news", "news"]
        await ann.close()


async def test_in_a_program_of_your_own(tmp_path: Path, unused_tcp_port: int) -> None:
    port = unused_tcp_port
    with started(["-c", EMBEDDED.replace("8765", str(port))], tmp_path):
        ws = await client(port, "/echo")
        await ws.send("hello")
        assert await ws.recv() == "hello"
        await ws.close()
        page = await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/")
        with page:
            assert page.read() == b"Hello from Starlette"


async def test_aiohttp(tmp_path: Path, unused_tcp_port: int) -> None:
    port = unused_tcp_port
    with started(["-c", AIOHTTP.replace("8765", str(port))], tmp_path):
        ann = await client(port, "/")
        async with fastws.connect(f"ws://127.0.0.1:{port}/") as bob:
            async with asyncio.timeout(10):
                message = None
                while message is None:
                    await bob.send("hello")
                    try:
                        message = await asyncio.wait_for(ann.recv(), 0.2)
                    except TimeoutError:
                        continue
            assert message == "hello"
        await ann.close()
