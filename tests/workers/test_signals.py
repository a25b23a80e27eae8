"""What ``fastws serve`` does at signals, alone and with workers: the same, seen from outside."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.cli.helpers import PATIENCE, Child, environment, fastws, get, running
from tests.workers.crowd import CLIENTS
from tests.workers.helpers import ask, opened, said, until
from tests.workers.processes import gone, pids, wait_gone

#: Each wait has its end; many of them may come to more than a test has by default.
pytestmark = [pytest.mark.live, pytest.mark.system, pytest.mark.timeout(180)]

BOTH = pytest.mark.parametrize("workers", [1, 2])


def of_workers(server: Child, workers: int) -> list[int]:
    return pids(server, workers) if workers > 1 else []


@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_clean_stop(tmp_path: Path, workers: int, number: int) -> None:
    with running(tmp_path, "serve", "--port", 0, "--workers", workers) as server:
        with opened(server.address()) as client:
            server.process.send_signal(number)
            frame = client.recv(100)
            assert frame[:1] == b"\x88" and frame[2:4] == (1001).to_bytes(2, "big")
            client.sendall(b"\x88\x82\0\0\0\0" + frame[2:4])
            assert client.recv(1) == b""
        assert server.process.wait(PATIENCE) == 0
        assert all(gone(pid) for pid in of_workers(server, workers))
    assert "Traceback" not in server.stderr()


@BOTH
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_all_at_once(tmp_path: Path, workers: int, number: int) -> None:
    patient = ["--timeout-graceful-shutdown", 600, "--timeout-close", 600, "--timeout-drain", 600]
    with running(tmp_path, "serve", "--port", 0, "--workers", workers, *patient) as server:
        with opened(server.address()) as client:
            server.process.send_signal(signal.SIGINT)
            assert client.recv(100)[:1] == b"\x88"  # which this client does not answer
            server.process.send_signal(number)
            assert server.process.wait(PATIENCE) == 128 + number
        for pid in of_workers(server, workers):
            wait_gone(pid)
    assert "Traceback" not in server.stderr()


@BOTH
def test_the_hang_up_of_the_terminal_is_a_clean_stop(tmp_path: Path, workers: int) -> None:
    ours, theirs = pty.openpty()
    err = tmp_path / "stderr"
    command = [sys.executable, "-m", "fastws", "serve", "--port", "0", "--workers", str(workers)]
    with err.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment(),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
    os.close(theirs)
    try:
        until(lambda: "Serving on" in err.read_text())
        # A SIGHUP while the terminal is there ends nothing.
        process.send_signal(signal.SIGHUP)
        until(lambda: "reload: done" in err.read_text() or "SIGHUP:" in err.read_text())
        os.close(ours)
        ours = -1
        assert process.wait(PATIENCE) == 0
        for pid in re.findall(r"\(pid (\d+)\) is ready", err.read_text()):
            assert gone(int(pid))
    finally:
        if ours >= 0:
            os.close(ours)
        if process.poll() is None:
            process.kill()
        process.wait(10)
    assert "Traceback" not in err.read_text()


@BOTH
def test_systemd_is_told(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(PATIENCE)
        options = ["--port", 0, "--workers", workers, "--timeout-drain", 0]
        with running(tmp_path, "serve", *options, NOTIFY_SOCKET=str(path)) as server:
            assert systemd.recv(200) == b"READY=1"
            assert get(server.address())[0] == 200
            server.process.send_signal(signal.SIGHUP)
            # systemd.service(5), Type=notify-reload.
            assert re.fullmatch(rb"RELOADING=1\nMONOTONIC_USEC=\d+", systemd.recv(200))
            assert systemd.recv(200) == b"READY=1"
            server.process.send_signal(signal.SIGTERM)
            assert systemd.recv(200) == b"STOPPING=1"
            assert server.process.wait(PATIENCE) == 0
            systemd.settimeout(0)
            with pytest.raises(BlockingIOError):
                systemd.recv(200)


def test_one_worker_more_and_one_fewer(tmp_path: Path) -> None:
    with running(tmp_path, "serve", "--port", 0, "--workers", 2, "--timeout-drain", 0) as server:
        address = server.address()
        pids(server, 2)
        server.process.send_signal(signal.SIGTTIN)
        pids(server, 3)
        workers = sorted(re.findall(r"worker (\d) \(pid (\d+)\) is ready", server.stderr()))
        first, second, third = (int(pid) for _, pid in workers)
        for wanted, left in ((2, third), (1, second)):
            server.process.send_signal(signal.SIGTTOU)
            until(said(server, f"{wanted} workers are wanted"))
            wait_gone(left)
        # The last one stays.
        server.process.send_signal(signal.SIGTTOU)
        until(said(server, "1 workers are wanted", 2))
        assert get(address)[0] == 200
        assert not gone(first)
        assert server.stop() == 0


def test_a_worker_that_leaves_says_so_first(tmp_path: Path) -> None:
    """Kept connections to it: their next response is the last, and `/healthz` says 503 in it."""
    options = ["--workers", 2, "--timeout-drain", 600, "--ws-ping-interval", 0]
    with running(tmp_path, "serve", "--port", 0, *options) as server:
        address = server.address()
        held = [opened(address) for _ in range(CLIENTS)]  # so that each worker has somebody to wait for
        host, port = address.removeprefix("http://").split(":")
        kept = [socket.create_connection((host, int(port)), PATIENCE) for _ in range(2)]
        for client in kept:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        old = pids(server, 2)
        server.process.send_signal(signal.SIGHUP)
        until(said(server, "connections are closed within", 2))
        for client in kept:
            answer = ask(client, close=False)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"Connection: close\r\n" in answer
            client.close()
        # The server as a whole is well.
        assert get(address)[0] == 200
        assert not any(gone(pid) for pid in old)
        for client in held:
            client.close()
        assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.stderr()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_does_not_wait_for_workers_that_leave_slowly(tmp_path: Path, number: int) -> None:
    options = ["--timeout-drain", 600, "--timeout-graceful-shutdown", 20, "--ws-ping-interval", 0]
    with running(tmp_path, "serve", "--port", 0, "--workers", 2, *options) as server:
        clients = [opened(server.address()) for _ in range(12)]
        server.process.send_signal(signal.SIGHUP)
        until(said(server, "reload: done"))
        server.process.send_signal(number)
        for client in clients:
            with client:
                client.settimeout(PATIENCE)
                frame = client.recv(100)
                assert frame[:1] == b"\x88"
                client.sendall(b"\x88\x82\0\0\0\0" + frame[2:4])
                assert client.recv(1) == b""
        assert server.process.wait(PATIENCE) == 0
    # Nobody had to be ended.
    assert "it is ended" not in server.stderr() and "Traceback" not in server.stderr()


@BOTH
def test_exit_codes(tmp_path: Path, workers: int) -> None:
    (tmp_path / "broken.py").write_text("import fastws\nraise ValueError('broken')\n")
    (tmp_path / "hook.py").write_text(
        "import fastws\n"
        "def fails(server):\n"
        "    raise ValueError('no database')\n"
        "app = fastws.Application([], on_startup=[fails])\n"
    )
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        for args, code, text in (
            (["broken:app", "--port", 0], 3, "broken"),
            (["hook:app", "--port", 0], 3, "no database"),
            (["hook:nothing", "--port", 0], 3, "nothing"),
            (["--port", port], 3, "it is in use by another program"),
            (["--port", 99999], 2, "--port"),
            (["hook:app", "--auth-token", ""], 2, "--auth-token is not empty"),
        ):
            result = fastws("serve", "--workers", workers, *args, cwd=tmp_path)
            assert (result.returncode, text in result.stderr.splitlines()[-1]) == (code, True), result.stderr
            # Only what the application itself has raised is told in full.
            assert "Traceback" not in result.stderr or text == "no database"
