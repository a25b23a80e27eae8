"""Runs a real nginx with the site of a page in front of a real ``fastws serve``."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fastws
from tests.cli.helpers import fastws as run_fastws
from tests.cli.helpers import running

if TYPE_CHECKING:
    from tests.docs.pages import Block
    from tests.docs.story import Story

__all__ = ["check_site"]

#: The site stands in an nginx that touches nothing outside of its folder.
MAIN = """\
{user}daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""
HOST = "chat.example.org"


def check_site(story: Story, block: Block) -> None:
    """The site as it stands, but for the places of certificate, socket and port."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        if os.environ.get("TESTS_REQUIRE_NGINX") == "1":
            pytest.fail("TESTS_REQUIRE_NGINX is set, but there is no nginx", pytrace=False)
        return
    folder = story.folder / f"nginx-{block.line}"
    folder.mkdir()
    made = run_fastws("cert", HOST, "--directory", folder)
    assert made.returncode == 0, made.stderr
    listen = re.search(r"listen (\d+)( ssl)?;", block.code)
    assert listen is not None
    port, tls = story.port(listen[1] + str(block.line)), listen[2] is not None
    code = block.code.replace(listen[0], f"listen 127.0.0.1:{port}{listen[2] or ''};")
    code = re.sub(r"/etc/letsencrypt/\S+/fullchain.pem", str(folder / "server.pem"), code)
    code = re.sub(r"/etc/letsencrypt/\S+/privkey.pem", str(folder / "server-key.pem"), code)
    code = code.replace("/run/fastws", str(folder))
    bind = ["--uds", folder / "fastws.sock"] if "unix:" in code else ["--port", story.port("8080")]
    config = folder / "nginx.conf"
    user = "user root;\n" if os.getuid() == 0 else ""
    config.write_text(MAIN.format(user=user, folder=folder, site=story.ported(code)))
    with running(folder, "serve", *bind) as server, proxying(nginx, folder, config):
        server.line("Serving on ")
        context = ssl.create_default_context(cafile=str(folder / "ca.pem")) if tls else None
        asyncio.run(converse(int(port), context))
        server.stop()
        check_log(server.stdout(), unix="unix:" in code)


@contextmanager
def proxying(nginx: str, folder: Path, config: Path) -> Iterator[None]:
    command = [nginx, "-p", str(folder), "-c", str(config)]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=10)
    assert tested.returncode == 0, tested.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
    errors = (folder / "error.log").read_text()
    assert not re.search(r"\[(?:error|crit|alert|emerg)\]", errors), errors


async def converse(port: int, context: ssl.SSLContext | None) -> None:
    """What a browser does through the proxy: a page, a WebSocket from its origin, an end with a code."""
    scheme, origin = ("wss", f"https://{HOST}:{port}") if context else ("ws", f"http://{HOST}:{port}")
    url = f"{scheme}://{HOST}:{port}"
    way = {"host": "127.0.0.1", "port": port, "ssl": context, "proxy": None}
    async with asyncio.timeout(20):
        while True:
            try:
                connection = await fastws.connect(f"{url}/echo", origin=origin, **way)
                break
            except OSError:
                await asyncio.sleep(0.02)
        for message in ("hello", bytes(100_000)):
            await connection.send(message)
            assert await connection.recv() == message
        assert await connection.ping() < 5
        await connection.close(4000, "enough")
        assert connection.close_code == 4000
        with pytest.raises(fastws.HandshakeRefused) as refused:
            await fastws.connect(f"{url}/echo", origin="https://elsewhere.example", **way)
        assert refused.value.response.status == 403
        # Its other messages are of 512 bytes at most; the close code comes through as well.
        async with fastws.connect(f"{url}/ws", **way) as ws:
            await ws.send("x" * 513)
            with pytest.raises(fastws.ConnectionClosedError) as closed:
                await ws.recv()
            assert closed.value.code == 1009
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=HOST if context else None
        )
        for _ in range(2):
            writer.write(
                f"GET /healthz HTTP/1.1\r\nHost: {HOST}:{port}\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(3) == b"ok\n"
        writer.close()
        await writer.wait_closed()
        await hear_events(port, context)


async def hear_events(port: int, context: ssl.SSLContext | None) -> None:
    """Server-sent events come one by one: no proxy waits for more of them."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=HOST if context else None
    )
    target = "/feeds/quotes?topic=quotes"
    head = f"GET {target} HTTP/1.1\r\nHost: {HOST}:{port}\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    for text in (b'{"hello":', b'"sync":', b'"snap":', b'"live":', b'"set":', b'"set":'):
        await reader.readuntil(text)
    writer.transport.abort()  # more of them are on their way


def check_log(log: str, *, unix: bool) -> None:
    """The server knows who asked nginx, and nobody can tell it another address."""
    lines = [line for line in log.splitlines() if "/healthz" in line or "/echo" in line]
    assert len(lines) >= 4
    for line in lines:
        assert " 127.0.0.1 " in line, line
    assert "9.9.9.9" not in log
