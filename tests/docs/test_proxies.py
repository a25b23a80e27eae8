"""HAProxy and Caddy with the configuration of ``docs/deploy.md``, in front of a real ``fastws serve``."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.helpers import fastws as run_fastws
from tests.cli.helpers import running
from tests.docs.nginx import HOST, converse
from tests.docs.pages import ROOT, Block, blocks_of
from tests.kit.ports import free_port

pytestmark = [pytest.mark.live, pytest.mark.system]

PAGE = ROOT / "docs" / "deploy.md"


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        variable = f"TESTS_REQUIRE_{name.upper()}"
        if os.environ.get(variable) == "1":
            pytest.fail(f"{variable} is set, but there is no {name}", pytrace=False)
        pytest.skip(f"{name} is not installed")
    return found


def blocks(language: str) -> list[Block]:
    return [block for block in blocks_of(PAGE) if block.language == language]


@pytest.fixture
def certified(tmp_path: Path) -> Path:
    """The folder, with a certificate of the site."""
    made = run_fastws("cert", HOST, "--directory", tmp_path)
    assert made.returncode == 0, made.stderr
    (tmp_path / "chat.pem").write_bytes(
        (tmp_path / "server.pem").read_bytes() + (tmp_path / "server-key.pem").read_bytes()
    )
    return tmp_path


@contextmanager
def proxy(command: list[str | Path], folder: Path, **env: str) -> Iterator[None]:
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **env})
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def check_log(log: str, ids: str | None) -> None:
    """The server knows who asked the proxy, and nobody can tell it another address."""
    lines = [json.loads(line) for line in log.splitlines()]
    asked = [line for line in lines if line.get("path") == "/echo" and line["event"] == "websocket"]
    assert asked
    for line in asked:
        assert re.fullmatch(r"127\.0\.0\.1(:\d+)?", line["peer"])
        if ids is not None:
            assert re.fullmatch(ids, line["request_id"]), line
    assert "9.9.9.9" not in log


UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def test_haproxy_with_the_certificate(certified: Path) -> None:
    haproxy, (block, _) = program("haproxy"), blocks("haproxy")
    port, inner = free_port(), free_port()
    code = block.code.replace("bind :443", f"bind 127.0.0.1:{port}").replace(
        "127.0.0.1:8080", f"127.0.0.1:{inner}"
    )
    serve_behind(
        haproxy, code.replace("/etc/haproxy/chat.pem", str(certified / "chat.pem")), certified, port, inner
    )


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_that_passes_tls_on(certified: Path, version: str) -> None:
    haproxy, (_, block) = program("haproxy"), blocks("haproxy")
    port, inner = free_port(), free_port()
    code = block.code.replace("bind :443", f"bind 127.0.0.1:{port}").replace(
        "127.0.0.1:8443", f"127.0.0.1:{inner}"
    )
    code = code.replace("send-proxy-v2", version)
    serve_behind(
        haproxy,
        code,
        certified,
        port,
        inner,
        "--proxy-protocol",
        "--no-proxy-headers",
        "--ssl-certfile",
        "chat.pem",
        ids=None,
    )


def serve_behind(
    haproxy: str, code: str, folder: Path, port: int, inner: int, *options: str, ids: str | None = UUID
) -> None:
    config = folder / "haproxy.cfg"
    config.write_text(code)
    tested = subprocess.run([haproxy, "-c", "-f", config], capture_output=True, text=True, timeout=10)
    assert tested.returncode == 0, tested.stderr
    with running(folder, "serve", "--port", inner, "--log-format", "json", *options) as server:
        server.line('{"time"')
        with proxy([haproxy, "-db", "-f", config], folder):
            context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
            asyncio.run(converse(port, context))
        assert server.stop() == 0
        check_log(server.stdout(), ids)


def test_caddy(certified: Path) -> None:
    caddy, (block,) = program("caddy"), blocks("caddyfile")
    port, inner = free_port(), free_port()
    code = block.code.replace("127.0.0.1:8080", f"127.0.0.1:{inner}")
    tls = f"tls {certified / 'server.pem'} {certified / 'server-key.pem'}"
    code = code.replace(f"{HOST} {{", f"https://{HOST}:{port} {{\n    bind 127.0.0.1\n    {tls}", 1)
    config = certified / "Caddyfile"
    # Nothing outside of the folder, and no port but ours.
    config.write_text(
        "{\n    admin off\n    auto_https disable_redirects\n    skip_install_trust\n}\n" + code
    )
    home = str(certified)
    with running(certified, "serve", "--port", inner, "--log-format", "json") as server:
        server.line('{"time"')
        command: list[str | Path] = [caddy, "run", "--adapter", "caddyfile", "--config", config]
        with proxy(command, certified, HOME=home, XDG_DATA_HOME=home, XDG_CONFIG_HOME=home):
            asyncio.run(converse(port, ssl.create_default_context(cafile=str(certified / "ca.pem"))))
        assert server.stop() == 0
        check_log(server.stdout(), UUID)
