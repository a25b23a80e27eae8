"""``fastws serve --workers 2`` as processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from fastws import connect
from tests.cli.helpers import fastws, get, running
from tests.workers.processes import gone, pids, wait_gone

pytestmark = pytest.mark.live


def test_a_killed_worker_is_replaced_and_a_reload_reads_the_application_again(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    text = "import fastws\nroutes = [fastws.Route('/', http=lambda request: fastws.Response(200, '{}'))]\n"
    app.write_text(text.format("one"))
    args = ["app:routes", "--port", 0, "--workers", 2, "--timeout-drain", 0]
    with running(tmp_path, "serve", *args, PYTHONDONTWRITEBYTECODE="1") as server:
        address = server.address()
        first, _ = pids(server, 2)
        os.kill(first, signal.SIGKILL)
        pids(server, 3)
        assert get(address, "/")[2] == b"one"
        app.write_text(text.format("two"))
        server.process.send_signal(signal.SIGHUP)
        for pid in pids(server, 5)[:3]:
            wait_gone(pid)
        assert get(address, "/")[2] == b"two"
        assert server.stop() == 0
        for pid in pids(server, 5):
            assert gone(pid)
    assert "Traceback" not in server.stderr()
    assert server.stderr().count("Serving on") == 1
    assert "[" in server.stdout()


def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0, "--workers", 2) as server:
        server.address()
        server.process.kill()
        for pid in pids(server, 2):
            wait_gone(pid)


@pytest.mark.parametrize(
    ("code", "line"),
    [("import nothing_of_that_name", "cannot import app"), ("raise SystemExit(7)", "SystemExit: 7")],
)
def test_an_application_that_cannot_start_is_one_line(code: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(code + "\n")
    result = fastws("serve", "app:routes", "--port", 0, "--workers", 2, cwd=tmp_path)
    assert result.returncode == 3
    assert line in result.stderr and "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "-1", "1000", "x"])
def test_a_wrong_number_is_wrong_usage(count: str) -> None:
    result = fastws("serve", f"--workers={count}")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "--workers" in result.stderr
    result = fastws("serve", WEB_CONCURRENCY=count)
    assert result.returncode == 2 and "WEB_CONCURRENCY" in result.stderr


def test_hup_does_a_single_process_no_harm(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0) as server:
        address = server.address()
        server.process.send_signal(signal.SIGHUP)
        assert get(address)[0] == 200
        assert server.stop() == 0
    assert "SIGHUP" in server.stderr()


def test_options_that_need_a_supervisor_are_named_where_there_is_none(tmp_path: Path) -> None:
    options = ["--worker-max-rss", 1, "--max-lifetime", 100]
    with running(tmp_path, "serve", "--port", 0, *options) as server:
        assert get(server.address())[0] == 200
        assert server.stop() == 0
    assert "no effect: --max-lifetime, --worker-max-rss" in server.stderr()


async def heard_by_all(url: str, clients: int, messages: int) -> list[list[str | bytes]]:
    """What each of so many clients hears of what all of them say in turn."""
    async with contextlib.AsyncExitStack() as stack:
        connected = [await stack.enter_async_context(connect(url)) for _ in range(clients)]
        for number in range(messages):
            await connected[number % clients].send(f"{number % clients} {number:03}")
        return [[await ws.recv() for _ in range(messages)] for ws in connected]


def test_a_message_reaches_the_clients_of_all_workers_in_order(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0, "--workers", 3) as server:
        pids(server, 3)
        url = server.address().replace("http", "ws") + "/broadcast"
        heard = asyncio.run(heard_by_all(url, clients=40, messages=120))
        accepted = set(re.findall(r"^\S+ \S+ \[(\d)\] ", server.stdout(), re.MULTILINE))
    assert accepted == {"1", "2", "3"}
    for each in heard:
        assert sorted(map(str, each), key=lambda text: text.split()[1]) == [
            f"{number % 40} {number:03}" for number in range(120)
        ]
        for sender in range(40):
            own = [str(text) for text in each if str(text).split()[0] == str(sender)]
            assert own == sorted(own)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_proxy_header_comes_before_all_else(tmp_path: Path, workers: int) -> None:
    with running(tmp_path, "serve", "--port", 0, "--workers", workers, "--proxy-protocol") as server:
        host, port = server.address().removeprefix("http://").split(":")
        for header in (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n", b""):
            with socket.create_connection((host, int(port)), 10) as client:
                client.sendall(header + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b"" if not header else client.makefile("rb").read()
                assert answer.endswith(b"ok\n") == bool(header)
                if not header:
                    with contextlib.suppress(ConnectionResetError):
                        assert client.recv(1) == b""
    assert '203.0.113.7:4711 "GET /healthz HTTP/1.1" 200' in server.stdout()
    assert "is closed: it begins with no PROXY header" in server.stderr()
