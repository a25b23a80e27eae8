"""``fastws serve`` as a process: it starts, says where, serves, and stops as told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fastws.cli.main import main
from tests.cli.helpers import environment, get, running

pytestmark = pytest.mark.live

UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_port_0_prints_a_port_that_answers_and_sigterm_is_exit_0(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0) as server:
        address = server.address()
        assert address.startswith("http://127.0.0.1:") and not address.endswith(":0")
        status, headers, _ = get(address)
        assert (status, headers["x-server"]) == (200, "fastws")
        for page in ("/", "/chat"):
            status, headers, body = get(address, page)
            assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert b"<html" in body
        assert server.stop() == 0
    assert "Traceback" not in server.stderr()


def test_the_access_log_goes_to_stdout_and_can_be_silenced(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0) as server:
        get(server.address(), "/nowhere")
        assert server.stop(signal.SIGINT) == 0
    assert '"GET /nowhere HTTP/1.1" 404' in server.stdout()
    assert "nowhere" not in server.stderr()
    with running(tmp_path, "serve", "--port", 0, "--no-access-log", "--log-level", "error") as server:
        get(server.address(), "/nowhere")
        assert server.stop() == 0
    assert server.stdout() == ""
    assert server.stderr() == f"{server.line('Serving on')}\n"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_with_what_fastws_cert_made(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    assert main(["cert", "--directory", str(tmp_path / "certs")]) == 0
    files = ["--ssl-certfile", "certs/server.pem", "--ssl-keyfile", "certs/server-key.pem"]
    with running(tmp_path, "serve", "--port", 0, "--host", "localhost", "--loop", loop, *files) as server:
        address = server.address()
        assert address.startswith("https://localhost:")
        assert get(address, cafile=tmp_path / "certs" / "ca.pem")[0] == 200
        assert server.stop() == 0


def test_options_come_from_the_environment_too(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_text("from the environment")
    env = {
        "FASTWS_PORT": "0",
        "FASTWS_STATIC": "/files=site",
        "FASTWS_HEADER": "X-Server: mine\nX-Other: two words",
        "FASTWS_ACCESS_LOG": "no",
    }
    with running(tmp_path, "serve", **env) as server:
        status, headers, body = get(server.address(), "/files/a.txt")
        assert (status, body) == (200, b"from the environment")
        assert (headers["x-server"], headers["x-other"]) == ("mine", "two words")
        assert server.stop() == 0
    assert server.stdout() == ""


def test_a_persons_own_routes_with_a_static_folder_beside(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import fastws\n"
        "def page(request):\n"
        "    return fastws.Response(200, 'own page')\n"
        "def make():\n"
        "    return [fastws.Route('/own', http=page)]\n"
    )
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "x.txt").write_text("x")
    args = ["shop:make", "--factory", "--static", "public", "--port", 0]
    with running(tmp_path, "serve", *args) as server:
        assert get(server.address(), "/own")[2] == b"own page"
        assert get(server.address(), "/static/x.txt")[2] == b"x"
        assert get(server.address(), "/chat")[0] == 404
        assert server.stop() == 0


def test_several_binds_each_have_a_line(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket() as inherited:
        inherited.bind(("127.0.0.1", 0))
        port, number = inherited.getsockname()[1], inherited.fileno()
        args = ["--bind", "127.0.0.1:0", "--uds", path, "--fd", number]
        with running(tmp_path, "serve", *args, pass_fds=(number,)) as server:
            assert get(server.address())[0] == 200
            server.line(f"Serving on unix:{path} ")
            server.line(f"Serving on http://127.0.0.1:{port} ")
            assert get(f"http://127.0.0.1:{port}")[0] == 200
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert server.stop() == 0
    assert not path.exists()


def test_the_unix_socket_of_the_next_server_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    others = [tmp_path / "first", tmp_path / "second"]
    for folder in others:
        folder.mkdir()
    with running(others[0], "serve", "--uds", path, "--timeout-close", 60) as first:
        first.line("Serving on ")
        with socket.socket(socket.AF_UNIX) as stalled:
            stalled.connect(str(path))
            stalled.sendall(UPGRADE)
            assert stalled.recv(4096).startswith(b"HTTP/1.1 101 ")
            first.process.send_signal(signal.SIGTERM)
            assert stalled.recv(4096)[:2] == b"\x88\x0c"  # close 1001, which nobody answers
            with running(others[1], "serve", "--uds", path) as second:
                second.line("Serving on ")
                stalled.close()
                assert first.process.wait(15) == 0
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                assert second.stop() == 0
    assert not path.exists()


def test_no_client_writes_a_line_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "async def handler(ws):\n"
        "    path = ws.request.path\n"
        "    raise ValueError('no room ' + path) from KeyError(path)\n"
    )
    with running(tmp_path, "serve", "app:handler", "--port", 0) as server:
        parts = urlsplit(server.address())
        with socket.create_connection((parts.hostname or "", parts.port or 0), 5) as client:
            client.sendall(UPGRADE.replace(b"/echo", b"/x%0a21:00:00%20info%20admin%20%1b[31m%c2%9b"))
            assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
            server.line("    21:00:00 info")
        assert server.stop() == 0
        assert "ValueError: no room /x" in server.stderr()
        assert not any(line.startswith("21:00:00") for line in server.stderr().splitlines())
        assert "\x1b" not in server.stderr() and "\x9b" not in server.stderr()


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0, "--timeout-graceful-shutdown", 60) as server:
        parts = urlsplit(server.address())
        assert parts.hostname is not None and parts.port is not None
        with socket.create_connection((parts.hostname, parts.port), 5) as stalled:
            stalled.sendall(UPGRADE)
            assert stalled.recv(4096).startswith(b"HTTP/1.1 101 ")
            server.process.send_signal(signal.SIGTERM)
            assert stalled.recv(4096)[:2] == b"\x88\x0c"  # close 1001 "going away", which nobody answers
            assert server.stop(signal.SIGINT) == 128 + signal.SIGINT


def test_stdout_that_nobody_reads_any_more_does_no_harm(tmp_path: Path) -> None:
    """``fastws serve | head -1`` must not fill stderr with tracebacks."""
    source, sink = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastws", "serve", "--port", "0"],
        stdout=sink,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    os.close(sink)
    os.close(source)
    try:
        assert process.stderr is not None
        address = process.stderr.readline().split()[2]
        assert [get(address)[0] for _ in range(3)] == [200, 200, 200]
        process.terminate()
        rest = process.communicate(timeout=10)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in rest
